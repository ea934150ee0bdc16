//! What the bot says: once, whatever happens on the way; and what is not said, and why.

use std::time::Duration;

use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::Value;
use test_servers::slack::{ALICE, BOB, DM, Fault, GENERAL, Options, PRIVATE, Post, Slack, User};

use super::{Office, pace, saying};
use crate::inside::{done, input, leave};

/// A gateway whose agents answer with this.
async fn office_that_says(text: String) -> Office {
    let sandbox = saying(text);
    let office =
        Office::open_with(Slack::start(Options::default()).await.unwrap(), sandbox, pace());
    let office = office.await;
    office.connected().await;
    office
}

#[tokio::test]
async fn an_answer_whose_arrival_is_in_doubt_is_looked_for_and_not_said_twice() {
    let office = office_that_says("the answer".to_owned()).await;
    office.slack.fault(Fault::drop_after().on("chat.postMessage").first(1));
    // Asked in vain at first: whether it arrived stays open.
    office.slack.fault(Fault::rate_limited(1).on("conversations.replies").first(1));
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.slack.wait_for(|world| world.count("conversations.replies") >= 2).await;
    office.settled().await;
    office.slack.look(|world| {
        assert_eq!((world.count("chat.postMessage"), world.answers(GENERAL, &ts).len()), (1, 1));
    });
    office.close().await;
}

#[tokio::test]
async fn an_answer_that_did_not_arrive_is_said_again() {
    let office = office_that_says("the answer".to_owned()).await;
    office.slack.fault(Fault::drop().on("chat.postMessage").first(1));
    office.slack.fault(Fault::status(503).on("chat.postMessage").first(1));
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.settled().await;
    assert_eq!(office.slack.look(|world| world.answers(GENERAL, &ts).len()), 1);
    office.close().await;
}

/// An answer that fills four messages.
fn four_parts() -> String {
    let paragraph = "All work & no play makes Jack a <dull> crab. ".repeat(20);
    (0..45).map(|n| format!("{n}: {paragraph}\n\n")).collect()
}

#[tokio::test]
async fn a_long_answer_comes_in_parts_and_a_doubt_in_the_middle_repeats_none() {
    let office = office_that_says(four_parts()).await;
    office.slack.fault(Fault::drop_after().on("chat.postMessage").after(1).first(1));
    let ts = office.mention("hello");
    office.slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 4).await;
    office.settled().await;
    office.slack.look(|world| {
        let answers = world.answers(GENERAL, &ts);
        assert_eq!(answers.len(), 4);
        let parts: Vec<_> =
            answers.iter().map(|m| &m.json()["metadata"]["event_payload"]["part"]).collect();
        assert_eq!(parts, [1, 2, 3, 4]);
        let markdown: String =
            answers.iter().map(|m| m.json()["blocks"][0]["text"].as_str().unwrap()).collect();
        assert!((0..45).all(|n| markdown.contains(&format!("{n}: All work & no play makes Jack a <dull>"))));
    });
    office.close().await;
}

#[tokio::test]
async fn a_rate_limit_delays_and_drops_nothing() {
    let office = office_that_says("the answer".to_owned()).await;
    for method in ["users.info", "conversations.info", "chat.postMessage", "auth.test"] {
        office.slack.fault(Fault::rate_limited(1).on(method).first(1));
    }
    office.slack.fault(Fault::rate_limited(1).on("assistant.threads.setStatus").first(1));
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.settled().await;
    assert_eq!(office.slack.look(|world| world.answers(GENERAL, &ts).len()), 1);
    office.close().await;
}

#[tokio::test]
async fn an_answer_that_is_refused_for_itself_is_said_to_be_and_that_once() {
    for (refused, told) in [(1, 1), (2, 0)] {
        let office = office_that_says("the answer".to_owned()).await;
        office.slack.fault(Fault::error("msg_too_long").on("chat.postMessage").first(refused));
        let ts = office.mention("hello");
        office.slack.wait_for(|world| world.count("chat.postMessage") == 2).await;
        office.settled().await;
        office.slack.look(|world| {
            assert_eq!(world.count("chat.postMessage"), 2);
            let answers = world.answers(GENERAL, &ts);
            let said: Vec<&str> = answers.iter().map(|answer| answer.text()).collect();
            let sentence =
                "My message could not be sent in full: the message is too long for Slack.";
            assert_eq!(said, vec![sentence; told]);
        });
        let sql = "SELECT state || coalesce(tells_of, '') FROM outbox ORDER BY id";
        assert_eq!(office.kept(sql), ["failed", ["failed1", "sent1"][told]]);
        office.close().await;
    }
}

#[tokio::test]
async fn what_slack_refuses_is_given_up_with_the_reason() {
    for (code, hint) in [
        ("not_in_channel", "invite it there"),
        ("is_archived", "the channel is archived"),
        ("channel_not_found", "there is no such channel"),
        ("missing_scope", "the app lacks a scope"),
    ] {
        let office = office_that_says("the answer".to_owned()).await;
        office.slack.fault(Fault::error(code).on("chat.postMessage"));
        office.mention("hello");
        let reason = loop {
            let rows = office.inhouse.json(&["outbox", "--json"]).await;
            let failed = rows.as_array().unwrap().iter().find(|row| row["state"] == "failed");
            if let Some(row) = failed {
                break row.to_string();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(reason.contains(code) && reason.contains(hint), "{reason}");
        assert_eq!(office.slack.look(|world| world.count("chat.postMessage")), 1, "{code}");
        office.close().await;
    }
}

#[tokio::test]
async fn where_blocks_are_refused_it_is_said_as_text() {
    let office = office_that_says("**bold**".to_owned()).await;
    office.slack.fault(Fault::error("invalid_blocks").on("chat.postMessage").first(1));
    let ts = office.mention("hello");
    assert_eq!(office.answer(&ts).await, "**bold**");
    office.close().await;
}

#[tokio::test]
async fn a_later_part_whose_blocks_are_refused_is_said_as_text_under_its_number() {
    let office = office_that_says(four_parts()).await;
    office.slack.fault(Fault::error("invalid_blocks").on("chat.postMessage").after(1).first(1));
    let ts = office.mention("hello");
    office.slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 4).await;
    office.settled().await;
    office.slack.look(|world| {
        let answers: Vec<_> = world.answers(GENERAL, &ts).iter().map(|m| m.json()).collect();
        let parts: Vec<_> =
            answers.iter().map(|m| &m["metadata"]["event_payload"]["part"]).collect();
        assert_eq!(parts, [1, 2, 3, 4]);
        let text = answers[1]["text"].as_str().unwrap();
        assert!(text.contains("All work &amp; no play makes Jack a &lt;dull&gt; crab."), "{text}");
    });
    office.close().await;
}

#[tokio::test]
async fn what_waits_while_the_connection_is_away_is_said_when_it_is_back() {
    let sandbox = FakeSandbox::new();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel::<()>();
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let gate = go.clone();
    sandbox.always(move |inside| {
        let (told, gate) = (told.clone(), gate.clone());
        async move {
            loop {
                let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
                told.send(()).unwrap();
                gate.notified().await;
                leave(&inside.ipc(), "done.json", &done(run, "late", None));
            }
        }
    });
    let slack = Slack::start(Options::default()).await.unwrap();
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    let ts = office.mention("hello");
    heard.recv().await.unwrap();
    office.slack.fault(Fault::status(500).on("apps.connections.open").first(5));
    office.slack.abort_sockets();
    office.slack.wait_for(|world| world.sockets() == 0).await;
    go.notify_one();
    assert_eq!(office.answer(&ts).await, "late");
    office.slack.look(|world| assert_eq!(world.count("chat.postMessage"), 1));
    office.close().await;
}

#[tokio::test]
async fn direct_messages_need_no_mention_and_private_channels_do() {
    let office = office_that_says("the answer".to_owned()).await;
    for (group, channel) in [("dm", DM), ("private", PRIVATE)] {
        let chat = office.chat(channel);
        office.inhouse.json(&["group", "add", group, "--chat", &chat, "--json"]).await;
    }
    office.slack.user_message(Post::new(DM, ALICE, "hello"));
    office.slack.wait_for(|world| world.said(DM).len() == 1).await;
    office.slack.look(|world| assert_eq!(world.said(DM)[0].thread_ts(), None));
    office.slack.user_message(Post::new(PRIVATE, ALICE, "not for you"));
    let asked = format!("<@{}> for you", office.slack.options().bot_user);
    let ts = office.slack.user_message(Post::new(PRIVATE, ALICE, &asked));
    office.slack.wait_for(|world| world.answers(PRIVATE, &ts).len() == 1).await;
    office.slack.look(|world| assert_eq!(world.said(PRIVATE).len(), 1));
    office.close().await;
}

#[tokio::test]
async fn guests_and_strangers_wake_nobody_and_neither_do_bots() {
    let office = office_that_says("the answer".to_owned()).await;
    office.slack.add_user(User::new("U0GUEST01", "guest").guest());
    office.slack.add_user(User::new("U0STRANGE", "stranger").stranger("T0OTHER01"));
    for user in ["U0GUEST01", "U0STRANGE"] {
        office.slack.join(GENERAL, user);
        let asked = format!("<@{}> let me in", office.slack.options().bot_user);
        office.slack.user_message(Post::new(GENERAL, user, &asked));
    }
    let bot = Post::new(GENERAL, BOB, &format!("<@{}> beep", office.slack.options().bot_user));
    office.slack.user_message(bot.with("bot_id", "B0OTHER01"));
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.settled().await;
    office.slack.look(|world| assert_eq!(world.said(GENERAL).len(), 1));
    let names = office.kept("SELECT sender_name FROM messages WHERE is_from_me = 0 ORDER BY seq");
    assert_eq!(names, ["guest", "stranger", "alice"]);
    office.close().await;
}

#[tokio::test]
async fn an_unregistered_channel_is_only_listed() {
    let office = office_that_says("the answer".to_owned()).await;
    office.slack.user_message(Post::new(PRIVATE, ALICE, "secret"));
    office.slack.wait_for(|world| world.deliveries().total() == 1 && world.unacked() == 0).await;
    assert_eq!(office.kept("SELECT content FROM messages"), [""; 0]);
    let chats = office.kept("SELECT chat_id FROM chats WHERE group_name IS NULL");
    assert_eq!(chats, [office.chat(PRIVATE)]);
    let _: Value = office.inhouse.json(&["status", "--json"]).await;
    office.close().await;
}
