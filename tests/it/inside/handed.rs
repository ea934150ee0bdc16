//! What is said while an agent works: handed over exactly once, or left for the next run, whatever fails on the way.

use std::path::Path;
use std::sync::Arc;

use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Inhouse, done, input, leave, take};
use crate::support::gateway::PATIENCE;

/// Says that the agent has been given everything up to a place, and returns once the gateway has dealt with that.
async fn ready(ipc: &Path, run: u64, through: u64) {
    let sign = json!({ "type": "ready", "through": through });
    leave(ipc, "progress/00000001.json", &json!({ "run": run, "signs": [sign] }).to_string());
    // Requests are dealt with after the signs that lie there.
    leave(ipc, "tasks/probe.json", r#"{"type":"nothing"}"#);
    take(ipc.join("replies/probe.json")).await;
}

fn text(input: &Value) -> &str {
    input["text"].as_str().unwrap()
}

#[tokio::test]
async fn what_could_not_be_handed_over_comes_with_the_next_follow_up() {
    let sandbox = FakeSandbox::new();
    let (said, tried) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (hears, tells) = (said.clone(), tried.clone());
    sandbox.always(move |inside| {
        let (hears, tells) = (hears.clone(), tells.clone());
        async move {
            let ipc = inside.ipc();
            let run = input(&ipc, "prompt").await["run"].as_u64().unwrap();
            hears.notified().await;
            // The gateway cannot leave anything here now.
            std::fs::rename(ipc.join("input"), ipc.join("away")).unwrap();
            std::fs::write(ipc.join("input"), "").unwrap();
            ready(&ipc, run, 1).await;
            std::fs::remove_file(ipc.join("input")).unwrap();
            std::fs::rename(ipc.join("away"), ipc.join("input")).unwrap();
            tells.notify_one();
            hears.notified().await;
            ready(&ipc, run, 1).await;
            let follow_up = input(&ipc, "follow_up").await;
            assert!(
                text(&follow_up).contains("the second") && text(&follow_up).contains("the third")
            );
            assert_eq!((&follow_up["after"], &follow_up["through"]), (&json!(1), &json!(3)));
            leave(&ipc, "done.json", &done(run, "all three", Some(3)));
            std::future::pending::<Exit>().await
        }
    });
    let inhouse = Inhouse::start(sandbox).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "the first").await.unwrap();
    terminal.next_of("working").await.unwrap();
    terminal.say("m2", "the second").await.unwrap();
    said.notify_one();
    timeout(PATIENCE, tried.notified()).await.unwrap();
    terminal.say("m3", "the third").await.unwrap();
    said.notify_one();
    let answer = timeout(PATIENCE, terminal.answer()).await.unwrap().unwrap();
    assert_eq!(answer["text"], "all three");
    assert_eq!(answer["ends"]["through"], 3);
    inhouse.gateway.stop().await;
}
