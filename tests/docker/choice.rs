//! Which kind is chosen, and what is said when there is none.

use hermitcrab::config::{BrokerTransport, SandboxChoice, Settings};
use hermitcrab::sandbox::{SandboxError, SandboxKind, select};

const NOWHERE: &str = "unix:///nowhere/docker.sock";

#[tokio::test]
async fn the_first_kind_that_works_is_chosen() {
    use SandboxChoice::{Auto, Bubblewrap, Docker};
    for (choice, docker_host, expected) in [
        (Auto, None, SandboxKind::Docker),
        (Docker, None, SandboxKind::Docker),
        (Bubblewrap, None, SandboxKind::Bubblewrap),
        (Auto, Some(NOWHERE), SandboxKind::Bubblewrap),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut settings = Settings::defaults(home.path());
        settings.sandbox.choice = choice;
        settings.sandbox.docker_host = docker_host.map(str::to_owned);
        let (sandbox, strength) = select::choose(&settings).await.unwrap();
        assert_eq!(sandbox.kind(), expected, "{choice:?} {docker_host:?}");
        assert!(strength.socket);
        assert!(strength.description.contains("ubble") == (expected == SandboxKind::Bubblewrap));
    }
}

#[tokio::test]
async fn a_docker_that_is_passed_over_for_want_of_an_image_is_told_of() {
    let home = tempfile::tempdir().unwrap();
    let mut settings = Settings::defaults(home.path());
    settings.sandbox.image = "hermitcrab-nowhere:1".to_owned();
    let (sandbox, strength) = select::choose(&settings).await.unwrap();
    assert_eq!(sandbox.kind(), SandboxKind::Bubblewrap);
    let told = strength.weaknesses.iter().any(|said| said.contains("hermitcrab-nowhere:1"));
    assert!(told, "{:?}", strength.weaknesses);
}

#[tokio::test]
async fn a_transport_can_be_forced() {
    let home = tempfile::tempdir().unwrap();
    let mut settings = Settings::defaults(home.path());
    settings.sandbox.broker = BrokerTransport::Exec;
    let (sandbox, strength) = select::choose(&settings).await.unwrap();
    assert_eq!((sandbox.kind(), strength.socket), (SandboxKind::Docker, false));
    settings.sandbox.choice = SandboxChoice::Bubblewrap;
    let Err(error) = select::choose(&settings).await else { panic!("bubblewrap has no exec") };
    assert!(matches!(error, SandboxError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_missing_is_said_with_what_mends_it() {
    let home = tempfile::tempdir().unwrap();
    let mut settings = Settings::defaults(home.path());
    settings.sandbox.choice = SandboxChoice::Docker;
    settings.sandbox.docker_host = Some(NOWHERE.to_owned());
    let Err(error) = select::choose(&settings).await else { panic!("there is nothing there") };
    let SandboxError::Unavailable { reason, mend } = error else { panic!("{error:?}") };
    assert!(reason.contains("/nowhere/docker.sock") && !mend.is_empty(), "{reason}; {mend}");
}
