//! What was said while the gateway was away, or before the bot was called.

use std::time::Duration;

use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::{Value, json};
use test_servers::slack::{ALICE, BOB, Fault, GENERAL, HistoryFrom, Options, Post, Slack};

use super::{Office, pace};
use crate::inside::{done, input, leave, obliging};

/// Stops the gateway, has `meanwhile` happen, and starts one again in the same home.
async fn away(office: Office, meanwhile: impl AsyncFnOnce(&Slack)) -> Office {
    let Office { slack, inhouse } = office;
    inhouse.gateway.stop().await;
    slack.wait_for(|world| world.sockets() == 0).await;
    meanwhile(&slack).await;
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    Office::again(slack, inhouse.home, sandbox).await
}

/// What is kept of the texts, in the order in which it was kept.
fn kept(office: &Office) -> Vec<String> {
    office.kept("SELECT content FROM messages WHERE is_from_me = 0 ORDER BY seq")
}

#[tokio::test]
async fn what_was_said_meanwhile_is_kept_in_order_and_once_and_mentions_are_answered() {
    for history_from in [HistoryFrom::Newest, HistoryFrom::Oldest] {
        let slack = Slack::start(Options { history_from, ..Options::default() }).await.unwrap();
        let office = Office::open(slack).await;
        office.connected().await;
        let before = office.mention("before");
        office.answer(&before).await;
        let mut asked = Vec::new();
        let office = away(office, async |slack| {
            let bot = &slack.options().bot_user;
            // More than two pages.
            for number in 0..450 {
                slack.user_message(Post::new(GENERAL, BOB, &format!("talk {number}")));
            }
            let in_thread = Post::new(GENERAL, ALICE, "and in the thread").in_thread(&before);
            slack.user_message(in_thread);
            let ts = slack.user_message(Post::new(GENERAL, ALICE, &format!("<@{bot}> while away")));
            asked.push(ts);
        })
        .await;
        office.connected().await;
        let now = office.mention("now");
        asked.push(now);
        for ts in &asked {
            office.answer(ts).await;
        }
        // A thread in which the assistant takes part needs no mention.
        office.slack.wait_for(|world| world.answers(GENERAL, &before).len() == 2).await;
        let mut expected = vec!["@Andy before".to_owned()];
        expected.extend((0..450).map(|number| format!("talk {number}")));
        let rest = ["and in the thread", "@Andy while away", "@Andy now"];
        expected.extend(rest.map(str::to_owned));
        assert_eq!(kept(&office), expected);
        for ts in &asked {
            assert_eq!(office.slack.look(|world| world.answers(GENERAL, ts).len()), 1);
        }
        office.close().await;
    }
}

#[tokio::test]
async fn a_thread_that_nobody_knew_is_found_by_its_answers() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let root = office.say("does anybody know?");
    let before = office.mention("before");
    office.answer(&before).await;
    let office = away(office, async |slack| {
        let bot = &slack.options().bot_user;
        let asked = format!("<@{bot}> do you?");
        slack.user_message(Post::new(GENERAL, ALICE, &asked).in_thread(&root));
    })
    .await;
    office.answer(&root).await;
    assert_eq!(kept(&office), ["does anybody know?", "@Andy before", "@Andy do you?"]);
    office.close().await;
}

#[tokio::test]
async fn a_history_that_cannot_be_had_now_is_asked_for_again_and_nothing_overtakes_it() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let before = office.mention("before");
    office.answer(&before).await;
    let office = away(office, async |slack| {
        slack.user_message(Post::new(GENERAL, BOB, "missed"));
        slack.fault(Fault::rate_limited(1).on("conversations.history").first(1));
        slack.fault(Fault::status(502).on("conversations.history").first(1));
    })
    .await;
    office.connected().await;
    let now = office.mention("now");
    office.answer(&now).await;
    assert_eq!(kept(&office), ["@Andy before", "missed", "@Andy now"]);
    office.close().await;
}

#[tokio::test]
async fn a_lost_connection_loses_nothing_that_was_said_meanwhile() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let before = office.mention("before");
    office.answer(&before).await;
    office.slack.fault(Fault::status(500).on("apps.connections.open").first(3));
    office.slack.abort_sockets();
    office.slack.wait_for(|world| world.sockets() == 0).await;
    let lost = office.mention("nobody hears");
    office.answer(&lost).await;
    office.close().await;
}

#[tokio::test]
async fn where_history_may_not_be_read_what_comes_in_is_kept_all_the_same() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let before = office.mention("before");
    office.answer(&before).await;
    let office = away(office, async |slack| {
        slack.fault(Fault::error("missing_scope").on("conversations.history"));
    })
    .await;
    office.connected().await;
    let now = office.mention("now");
    office.answer(&now).await;
    office.close().await;
}

/// The agent answers with what it was told.
#[tokio::test]
async fn what_a_thread_began_with_comes_before_the_first_mention() {
    let sandbox = FakeSandbox::new();
    sandbox.always(|inside| async move {
        loop {
            let prompt = input(&inside.ipc(), "prompt").await;
            let (run, text): (u64, &Value) = (prompt["run"].as_u64().unwrap(), &prompt["text"]);
            leave(&inside.ipc(), "done.json", &done(run, text.as_str().unwrap(), None));
        }
    });
    let slack = Slack::start(Options::default()).await.unwrap();
    // Said before the gateway is there, so it has never heard of it.
    let root = slack.user_message(Post::new(GENERAL, ALICE, "the build is red"));
    for text in ["since when?", "since noon"] {
        slack.user_message(Post::new(GENERAL, BOB, text).in_thread(&root));
    }
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    let asked = format!("<@{}> why?", office.slack.options().bot_user);
    office.slack.user_message(Post::new(GENERAL, ALICE, &asked).in_thread(&root));
    let answer = office.answer(&root).await;
    let places: Vec<_> =
        ["since when?", "since noon", "why?"].iter().map(|said| answer.find(said)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{answer}");
    let stored = kept(&office);
    assert_eq!(stored, ["the build is red", "since when?", "since noon", "@Andy why?"]);
    office.close().await;
}

#[tokio::test]
async fn edits_and_deletes_follow_what_is_kept() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let (one, two) = (office.say("one"), office.say("two"));
    let asked = office.mention("three");
    office.answer(&asked).await;
    assert!(office.slack.edit(GENERAL, &one, "one, really"));
    assert!(office.slack.delete(GENERAL, &two));
    office.slack.wait_for(|world| world.unacked() == 0).await;
    let mention = office.mention("four");
    office.answer(&mention).await;
    assert_eq!(kept(&office), ["one, really", "", "@Andy three", "@Andy four"]);
    office.close().await;
}

#[tokio::test]
async fn a_text_is_kept_whatever_is_odd_beside_it() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let text = format!("<@{}> odd", office.slack.options().bot_user);
    let nested = json!({ "event_type": "x", "event_payload": { "a": { "b": 1 } } });
    let odd = Post::new(GENERAL, ALICE, &text)
        .with("metadata", nested)
        .with("attachments", json!([{ "short": "true", "fields": 7 }]))
        .with("files", json!([{ "id": "F1", "name": "x", "url_private": "" }]));
    let ts = office.slack.user_message(odd);
    office.answer(&ts).await;
    let line = "@Andy odd\n[file: x: not fetched: Slack does not say where it is]";
    assert_eq!(kept(&office), [line]);
    office.close().await;
}

#[tokio::test]
async fn frames_that_mean_nothing_do_no_harm() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    for frame in
        ["not json", "{}", "[]", r#"{"type":"novelty"}"#, r#"{"envelope_id":"e1","type":"x"}"#]
    {
        office.slack.frame(frame);
    }
    office.slack.emit(&json!({ "type": "a_new_kind_of_event", "n": 1 }));
    office.slack.slash(GENERAL, ALICE, "/ask", "something");
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.slack.wait_for(|world| world.unacked() == 0).await;
    assert_eq!(office.slack.look(test_servers::slack::World::sockets_opened), 1);
    tokio::time::timeout(Duration::from_secs(5), office.close()).await.unwrap();
}
