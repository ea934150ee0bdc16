//! The default image: built by the gateway itself when it is missing.

use hermitcrab::sandbox::docker::DockerSandbox;
use hermitcrab::sandbox::{Exit, SandboxError, SandboxKind};
use std::process::Command;

use crate::place::Place;

#[tokio::test]
async fn a_missing_default_image_is_built() {
    let mut place = Place::new(SandboxKind::Docker);
    place.image = format!("hermitcrab-agent:test-{:x}", fastrand::u64(..));
    let docker =
        DockerSandbox::connect(&place.endpoints, place.install(), &place.image).await.unwrap();
    docker.ensure_image().await.unwrap();
    let script = "for tool in bash curl git jq python3 rg sed awk; do type $tool || exit 1; done; test $(whoami) = agent";
    let (_, exit) = place.run(script).await;
    let removed = Command::new("docker").args(["rmi", &place.image]).output().unwrap();
    assert_eq!(exit, Exit::Code(0));
    assert!(removed.status.success());
}

#[tokio::test]
async fn another_image_that_cannot_be_pulled_is_named() {
    let place = Place::new(SandboxKind::Docker);
    let image = "127.0.0.1:9/nothing";
    let docker = DockerSandbox::connect(&place.endpoints, place.install(), image).await.unwrap();
    let error = docker.ensure_image().await.unwrap_err();
    let SandboxError::NoImage { mend, .. } = error else { panic!("{error:?}") };
    assert_eq!(mend, "docker pull 127.0.0.1:9/nothing");
}
