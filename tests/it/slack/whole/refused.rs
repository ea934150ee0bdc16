//! What Slack does not take, or what nobody understands: it is said where the owner looks, and nothing goes on about it.

use std::time::Duration;

use test_servers::slack::{ALICE, DM, Fault, GENERAL, Post, Slack, World};
use tokio::time::timeout;

use super::{Firm, WAIT};
use crate::slack::real::{json, register, state};
use crate::support::gateway::{Home, PATIENCE};

/// Something befalls [`GENERAL`] while an agent works for it, and its answer is refused, with as many rows of the outbox
/// as are given; all else goes on.
async fn is_refused_in_the_middle_of_a_run(
    (code, rows): (&str, usize),
    befall: impl AsyncFnOnce(&Slack),
) {
    let firm = Firm::found("bubblewrap").await;
    let gateway = firm.open().await;
    let ts = firm.mention(WAIT, None);
    firm.until(|world| world.status(GENERAL, &ts).contains("bash")).await;
    befall(&firm.slack).await;
    firm.go();
    until_failed(&firm.home, rows).await;

    let listed = json(&firm.home, &["outbox", "--json"]).await;
    assert!(listed.to_string().contains(code), "{listed}");
    let log = firm.home.read_log();
    assert_eq!(log.matches("not sent, and given up").count(), rows, "{log}");
    assert!(log.contains(code) && !log.contains("tool: "), "{log}");
    let output = firm.home.command(&["status"]).output().await.unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(words.contains(&format!("{rows} failed")), "{words}");

    let tried = |world: &World| {
        let calls = world.all_calls().iter().filter(|call| call.method.starts_with("chat."));
        calls.filter(|call| call.error.as_deref() == Some(code)).count()
    };
    let before = firm.slack.look(tried);
    assert!((1..=4).contains(&before), "{before} calls were refused");
    firm.slack.user_message(Post::new(DM, ALICE, "[[bash:echo in private]]"));
    firm.until(|world| !world.said(DM).is_empty()).await;
    assert_eq!(firm.slack.look(tried), before, "it goes on trying");
    assert!(state(&firm.home).await.starts_with("up since "));
    assert!(gateway.terminate().await.success());
    assert!(firm.slack.look(|world| world.said(GENERAL).is_empty()));
}

/// Asks until so many rows of the outbox have failed.
async fn until_failed(home: &Home, rows: usize) {
    let failed = async || json(home, &["status", "--json"]).await["store"]["outbox_failed"].clone();
    let look = async { while failed().await != rows {} };
    let failed = timeout(PATIENCE / 2, look).await;
    failed.unwrap_or_else(|_| panic!("nothing has failed:\n{}", home.read_log()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_archived_in_the_middle_of_a_run_is_said_and_no_loop() {
    is_refused_in_the_middle_of_a_run(("is_archived", 1), async |slack| slack.archive(GENERAL))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_is_removed_in_the_middle_of_a_run_is_said_and_no_loop() {
    is_refused_in_the_middle_of_a_run(("not_in_channel", 1), async |slack| {
        assert!(slack.leave(GENERAL, &slack.options().bot_user));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_long_for_slack_all_the_same_is_said_and_no_loop() {
    // The answer, and the sentence that says so, of which nothing more is said.
    is_refused_in_the_middle_of_a_run(("msg_too_long", 2), async |slack| {
        for method in ["chat.postMessage", "chat.startStream", "chat.update"] {
            slack.fault(Fault::error("msg_too_long").on(method).in_channel(GENERAL));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_understands_is_acked_and_logged_once_and_no_text_is_lost_beside_it() {
    let firm = Firm::found("bubblewrap").await;
    register(&firm.home, &firm.slack, "odd", &[test_servers::slack::PRIVATE]).await;
    let gateway = firm.open().await;
    for number in 0..5 {
        firm.slack.emit(&serde_json::json!({ "type": "a_new_kind_of_event", "n": number }));
        firm.slack.frame(r#"{"type":"a_new_kind_of_frame","secret":"canary"}"#);
        firm.slack.frame("not json");
    }
    firm.until(|world| world.acked() == 5 && world.unacked() == 0).await;
    let ts = firm.mention("echo well", None);
    firm.answers(&ts, 1).await;
    let log = firm.home.read_log();
    for kind in ["a_new_kind_of_event", "a_new_kind_of_frame"] {
        assert_eq!(log.matches(kind).count(), 1, "{kind}:\n{log}");
    }
    assert!(!log.contains("canary"), "{log}");
    assert_eq!(firm.slack.look(World::sockets_opened), 1);
    let ended = timeout(Duration::from_secs(20), gateway.terminate()).await.unwrap();
    assert!(ended.success());
}
