//! What is said while an agent works: handed over from where the agent stands, each message once.

use std::sync::Arc;

use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Inhouse, done, input, leave};
use crate::support::gateway::PATIENCE;

#[tokio::test]
async fn a_follow_up_goes_on_where_the_one_before_ended_whatever_the_agent_says() {
    let sandbox = FakeSandbox::new();
    let (said, handed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (hears, tells) = (said.clone(), handed.clone());
    sandbox.always(move |inside| {
        let (hears, tells) = (hears.clone(), tells.clone());
        async move {
            let ipc = inside.ipc();
            let run = input(&ipc, "prompt").await["run"].as_u64().unwrap();
            // It has not read the first one yet, or says so; then it makes itself important.
            for (place, after, words) in [(1, 1, "second"), (1, 2, "third"), (99, 3, "fourth")] {
                hears.notified().await;
                let sign = json!({ "type": "ready", "through": place });
                let progress = json!({ "run": run, "signs": [sign] }).to_string();
                leave(&ipc, "progress/00000001.json", &progress);
                let follow_up = input(&ipc, "follow_up").await;
                assert_eq!(
                    (&follow_up["after"], &follow_up["through"]),
                    (&json!(after), &json!(after + 1))
                );
                let text = follow_up["text"].as_str().unwrap();
                assert!(text.contains(words), "{text}");
                assert_eq!(text.matches("<message ").count(), 1, "{text}");
                tells.notify_one();
            }
            // Of what it was given it has taken two.
            leave(&ipc, "done.json", &done(run, "three", Some(3)));
            let rest: Value = input(&ipc, "prompt").await;
            let run = rest["run"].as_u64().unwrap();
            assert_eq!((&rest["from"], &rest["through"]), (&json!(4), &json!(4)));
            leave(&ipc, "done.json", &done(run, "and one", None));
            std::future::pending::<Exit>().await
        }
    });
    let inhouse = Inhouse::start(sandbox).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "the first").await.unwrap();
    terminal.next_of("working").await.unwrap();
    for (id, text) in [("m2", "the second"), ("m3", "the third"), ("m4", "the fourth")] {
        terminal.say(id, text).await.unwrap();
        terminal.next_of("kept").await.unwrap();
        said.notify_one();
        timeout(PATIENCE, handed.notified()).await.unwrap();
    }
    for expected in ["three", "and one"] {
        let answer = timeout(PATIENCE, terminal.answer()).await.unwrap().unwrap();
        assert_eq!(answer["text"], expected);
    }
    inhouse.gateway.stop().await;
}
