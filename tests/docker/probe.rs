//! The probe tries a real sandbox and believes nothing else.

use hermitcrab::sandbox::contract::Stage;
use hermitcrab::sandbox::{SandboxError, SandboxKind};

use crate::place::Place;

#[tokio::test]
async fn both_kinds_are_as_strong_as_declared() {
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let place = Place::new(kind);
        let sandbox = place.open().await.unwrap();
        let strength = sandbox.probe().await.unwrap();
        assert!(strength.socket, "{strength:?}");
        assert!(sandbox.list().await.unwrap().is_empty(), "nothing is left of the trial");
        let left = std::fs::read_dir(place.home().join("store/probe")).unwrap().count();
        assert_eq!(left, 0);
    }
}

#[tokio::test]
async fn an_image_that_is_missing_is_named_with_what_mends_it() {
    let mut place = Place::new(SandboxKind::Docker);
    place.image = "hermitcrab.invalid/nothing:1".to_owned();
    let Err(error) = place.open().await.unwrap().probe().await else { panic!("there is no image") };
    let SandboxError::NoImage { image, mend, .. } = error else { panic!("{error:?}") };
    assert_eq!(image, place.image);
    assert_eq!(mend, format!("docker pull {image}"));
}
