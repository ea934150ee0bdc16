//! Sandboxes that cannot be stopped: each keeps its place and its run until it is gone, and nothing else.

use std::sync::Arc;

use hermitcrab::gateway::Options;
use hermitcrab::model::SandboxKind;
use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::{Call, FakeSandbox};
use serde_json::json;
use tokio::sync::Notify;

use super::{
    Inhouse, answer, bounds, done, home, input, leave, left_behind, obliging, short, starts,
};

/// Waits for so many more attempts to stop a sandbox.
async fn stops(sandbox: &FakeSandbox, more: usize) {
    let count = |calls: &[Call]| calls.iter().filter(|call| matches!(call, Call::Stop(..))).count();
    let most = count(&sandbox.calls()) + more;
    sandbox.until(|calls| count(calls) >= most).await;
}

async fn one_slot(sandbox: FakeSandbox) -> Inhouse {
    let options = Options { bounds: bounds(), ..Options::default() };
    Inhouse::start_in(home("MAX_CONCURRENT_CONTAINERS=1\n"), sandbox, options).await
}

/// However long it takes: a daemon may be away for hours.
#[tokio::test]
async fn a_run_is_tried_again_when_its_sandbox_is_gone_and_not_before() {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), |_inside| async { Exit::Code(1) });
    sandbox.always(obliging);
    sandbox.stubborn();
    let inhouse = one_slot(sandbox.clone()).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    stops(&sandbox, 9).await;
    assert_eq!(starts(&sandbox), 1);
    let status = inhouse.json(&["status", "--json"]).await;
    let stuck = status["live"]["stuck"][0].as_str().unwrap();
    assert!(stuck.contains("of main may still live"), "{stuck}");
    let told = terminal.next_of("waiting").await.unwrap();
    assert!(told["reason"].as_str().unwrap().contains("may still live"), "{told}");
    sandbox.obedient();
    assert_eq!(answer(&mut terminal).await, "answer of run 2");
    let status = inhouse.json(&["status", "--json"]).await;
    assert_eq!(status["live"]["stuck"], json!([]));
    inhouse.gateway.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_is_not_tried_again_before_what_began_is_gone() {
    let sandbox = FakeSandbox::new();
    // Nothing was announced, so the start fails.
    sandbox.stubborn();
    let inhouse = one_slot(sandbox.clone()).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    stops(&sandbox, 9).await;
    assert_eq!(starts(&sandbox), 1);
    sandbox.always(obliging);
    sandbox.obedient();
    assert_eq!(answer(&mut terminal).await, "answer of run 2");
    inhouse.gateway.stop().await;
}

/// The one who waits for the place of a warm sandbox may leave before that has ended.
#[tokio::test]
async fn a_cancel_during_an_eviction_leaves_no_sandbox_beyond_the_slots() {
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let inhouse = one_slot(sandbox.clone()).await;
    inhouse.add_group("family").await;
    let mut main = inhouse.terminal().await;
    main.say("m1", "hello").await.unwrap();
    assert_eq!(answer(&mut main).await, "answer of run 1");
    sandbox.stubborn();
    let mut family = inhouse.terminal_of("family").await;
    family.say("f1", "hello").await.unwrap();
    stops(&sandbox, 1).await;
    family.send(json!({ "type": "cancel" })).await.unwrap();
    assert_eq!(answer(&mut family).await, "Stopped.");
    family.say("f2", "hello").await.unwrap();
    family.next_of("working").await.unwrap();
    stops(&sandbox, 9).await;
    assert_eq!((starts(&sandbox), sandbox.there().len()), (1, 1));
    sandbox.obedient();
    assert_eq!(answer(&mut family).await, "answer of run 3");
    assert_eq!(sandbox.there().len(), 1);
    inhouse.gateway.stop().await;
    assert_eq!(sandbox.there(), []);
}

/// It was made as things were then: its mounts may have been taken back, its agent-runner is the old one.
#[tokio::test]
async fn an_adopted_sandbox_is_good_for_its_run_and_for_no_other() {
    let sandbox = FakeSandbox::new();
    let go_on = Arc::new(Notify::new());
    let told = go_on.clone();
    sandbox.expect(&"main".parse().unwrap(), move |inside| {
        let told = told.clone();
        async move {
            let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
            told.notified().await;
            leave(&inside.ipc(), "done.json", &done(run, "adopted", None));
            std::future::pending::<Exit>().await
        }
    });
    sandbox.always(obliging);
    let options = || Options { bounds: bounds(), patience: short(), ..Options::default() };
    let home = left_behind(&sandbox, options()).await;
    sandbox.unavailable(None);
    let [adopted] = sandbox.there().try_into().unwrap();

    let inhouse = Inhouse::start_in(home, sandbox.clone(), options()).await;
    go_on.notify_one();
    let mut terminal = inhouse.terminal().await;
    assert_eq!(answer(&mut terminal).await, "adopted");
    terminal.say("m2", "hello").await.unwrap();
    assert_eq!(answer(&mut terminal).await, "answer of run 2");
    assert!(!sandbox.there().contains(&adopted));
    inhouse.gateway.stop().await;
}

/// Another kind knows nothing of it, and its word that there is no such sandbox means nothing.
#[tokio::test]
async fn a_run_waits_for_the_kind_that_made_its_sandbox_and_others_go_on() {
    let docker = FakeSandbox::new();
    docker.pretend(SandboxKind::Docker);
    docker.always(|_inside| std::future::pending::<Exit>());
    let options = || Options { bounds: bounds(), patience: short(), ..Options::default() };
    let inhouse = Inhouse::start_in(home(""), docker.clone(), options()).await;
    inhouse.add_group("family").await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    docker.until(|calls| calls.iter().any(|call| matches!(call, Call::Start(_)))).await;
    let home = inhouse.leave_behind().await;

    let here = FakeSandbox::new();
    here.always(obliging);
    let elsewhere = Some(Arc::new(docker.clone()) as _);
    let options = Options { elsewhere, ..options() };
    let inhouse = Inhouse::start_in(home, here.clone(), options).await;
    let mut family = inhouse.terminal_of("family").await;
    family.say("f1", "hello").await.unwrap();
    assert_eq!(answer(&mut family).await, "answer of run 2");
    stops(&docker, 9).await;
    assert_eq!((starts(&here), docker.there().len()), (1, 1));
    let mut terminal = inhouse.terminal().await;
    let told = terminal.next_of("waiting").await.unwrap();
    assert!(told["reason"].as_str().unwrap().contains("may still live"), "{told}");
    docker.unavailable(None);
    assert_eq!(answer(&mut terminal).await, "answer of run 3");
    assert_eq!(docker.there(), []);
    inhouse.gateway.stop().await;
}

/// Nobody else would ever ask the kind that was used before.
#[tokio::test]
async fn what_another_kind_still_has_for_nobody_ends() {
    let before = FakeSandbox::new();
    before.pretend(SandboxKind::Bubblewrap);
    before.always(obliging);
    let options = || Options { bounds: bounds(), patience: short(), ..Options::default() };
    let inhouse = Inhouse::start_in(home(""), before.clone(), options()).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    assert_eq!(answer(&mut terminal).await, "answer of run 1");
    drop(terminal);
    let home = inhouse.leave_behind().await;
    before.unavailable(None);
    assert_eq!(before.there().len(), 1, "the warm one is left");

    let elsewhere = Some(Arc::new(before.clone()) as _);
    let options = Options { elsewhere, ..options() };
    let here = FakeSandbox::new();
    here.always(obliging);
    let inhouse = Inhouse::start_in(home, here, options).await;
    inhouse.add_group("family").await;
    let mut family = inhouse.terminal_of("family").await;
    family.say("f1", "hello").await.unwrap();
    assert_eq!(answer(&mut family).await, "answer of run 2");
    inhouse.gateway.stop().await;
    assert_eq!(before.there(), []);
}
