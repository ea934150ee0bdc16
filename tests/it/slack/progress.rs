//! What people see while the assistant works.

use std::sync::Arc;

use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::json;
use test_servers::slack::{ALICE, DM, Fault, GENERAL, Options, Post, Slack};
use tokio::sync::Notify;

use super::{Office, pace};
use crate::inside::{done, input, leave};

/// A gateway whose agent uses a tool until it is let go.
async fn office(slack: Slack) -> (Office, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let sandbox = FakeSandbox::new();
    sandbox.always(move |inside| {
        let gate = gate.clone();
        async move {
            loop {
                let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
                let sign = json!({ "type": "tool", "name": "bash", "summary": "ls" });
                let progress = json!({ "run": run, "signs": [sign] }).to_string();
                leave(&inside.ipc(), "progress/00000001.json", &progress);
                gate.notified().await;
                leave(&inside.ipc(), "done.json", &done(run, "done", None));
            }
        }
    });
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    (office, go)
}

#[tokio::test]
async fn the_status_names_the_tool_is_renewed_and_goes_with_the_answer() {
    let (office, go) = office(Slack::start(Options::default()).await.unwrap()).await;
    let ts = office.mention("hello");
    let shown = |world: &test_servers::slack::World| {
        let texts = world.statuses().iter().filter(|status| status.thread_ts == ts);
        texts.filter(|status| status.text == "is using bash…").count()
    };
    office.slack.wait_for(|world| shown(world) == 3).await;
    go.notify_one();
    assert_eq!(office.answer(&ts).await, "done");
    office.slack.wait_for(|world| world.status(GENERAL, &ts).is_empty()).await;
    office.settled().await;
    assert_eq!(office.slack.look(|world| world.status(GENERAL, &ts).to_owned()), "");
    office.close().await;
}

#[tokio::test]
async fn where_slack_takes_no_status_a_reaction_comes_and_goes() {
    let slack = Slack::start(Options::default()).await.unwrap();
    slack.fault(
        Fault::error("method_not_supported_for_channel_type").on("assistant.threads.setStatus"),
    );
    let (office, go) = office(slack).await;
    let ts = office.mention("hello");
    let reacted = |world: &test_servers::slack::World| {
        world.message(GENERAL, &ts).is_some_and(|message| !message.reacted("eyes").is_empty())
    };
    office.slack.wait_for(reacted).await;
    go.notify_one();
    office.answer(&ts).await;
    office.slack.wait_for(|world| !reacted(world)).await;
    office.close().await;
}

#[tokio::test]
async fn in_a_direct_message_the_status_stands_under_what_was_said() {
    let (office, go) = office(Slack::start(Options::default()).await.unwrap()).await;
    let chat = office.chat(DM);
    office.inhouse.json(&["group", "add", "dm", "--chat", &chat, "--json"]).await;
    let ts = office.slack.user_message(Post::new(DM, ALICE, "hello"));
    office.slack.wait_for(|world| world.status(DM, &ts) == "is using bash…").await;
    go.notify_one();
    office.slack.wait_for(|world| !world.said(DM).is_empty()).await;
    office.slack.wait_for(|world| world.status(DM, &ts).is_empty()).await;
    office.close().await;
}

#[tokio::test]
async fn a_gateway_that_stops_leaves_no_status_behind() {
    let (office, _go) = office(Slack::start(Options::default()).await.unwrap()).await;
    let ts = office.mention("hello");
    office.slack.wait_for(|world| world.status(GENERAL, &ts) == "is using bash…").await;
    let Office { slack, inhouse } = office;
    inhouse.gateway.stop().await;
    assert_eq!(slack.look(|world| world.status(GENERAL, &ts).to_owned()), "");
    slack.stop().await;
}

#[tokio::test]
async fn a_stop_sign_ends_the_run() {
    let (office, _go) = office(Slack::start(Options::default()).await.unwrap()).await;
    let ts = office.mention("hello");
    office.slack.wait_for(|world| world.status(GENERAL, &ts) == "is using bash…").await;
    assert!(office.slack.react(GENERAL, &ts, "octagonal_sign", ALICE));
    office.slack.wait_for(|world| world.status(GENERAL, &ts).is_empty()).await;
    loop {
        let runs = office.inhouse.json(&["status", "--json"]).await;
        if runs["live"]["runs"].as_array().unwrap().is_empty() {
            break;
        }
    }
    office.close().await;
}

#[tokio::test]
async fn the_status_of_a_second_direct_message_stands_under_the_second() {
    let (office, go) = office(Slack::start(Options::default()).await.unwrap()).await;
    let chat = office.chat(DM);
    office.inhouse.json(&["group", "set", "team", "--chat", &chat, "--json"]).await;
    for text in ["first", "second"] {
        let ts = office.slack.user_message(Post::new(DM, ALICE, text));
        office.slack.wait_for(|world| world.status(DM, &ts) == "is using bash…").await;
        go.notify_one();
        office.slack.wait_for(|world| world.status(DM, &ts).is_empty()).await;
        office.settled().await;
    }
    office.close().await;
}

#[tokio::test]
async fn a_run_that_ends_while_slack_is_away_leaves_no_status() {
    let (office, go) = office(Slack::start(Options::default()).await.unwrap()).await;
    let ts = office.mention("hello");
    office.slack.wait_for(|world| world.status(GENERAL, &ts) == "is using bash…").await;
    // Nobody is let in, so the workspace is not up when the run ends.
    office.slack.fault(Fault::error("internal_error").on("apps.connections.open"));
    office.slack.abort_sockets();
    while office.state().await.starts_with("up") {}
    go.notify_one();
    office.slack.wait_for(|world| world.status(GENERAL, &ts).is_empty()).await;
    office.slack.clear_faults();
    assert_eq!(office.answer(&ts).await, "done");
    office.settled().await;
    assert_eq!(office.slack.look(|world| world.status(GENERAL, &ts).to_owned()), "");
    office.close().await;
}
