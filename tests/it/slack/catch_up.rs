//! What was said while the gateway was away, or before the bot was called.

use std::time::Duration;

use hermitcrab::channel::slack::Pace;
use hermitcrab::gateway::Options as GatewayOptions;
use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::{Value, json};
use test_servers::slack::{
    ALICE, BOB, Fault, GENERAL, HistoryFrom, Options, PRIVATE, Post, Slack, World,
};

use super::{Office, pace};
use crate::inside::{Inhouse, bounds, done, input, leave, obliging};

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
        expected.extend(["@Andy while away", "@Andy now"].map(str::to_owned));
        // A thread has an order of its own.
        let in_thread = |said: &String| said == "and in the thread";
        let (threaded, rest): (Vec<_>, Vec<_>) = kept(&office).into_iter().partition(in_thread);
        assert_eq!((threaded.len(), rest), (1, expected));
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
    assert!(answer.find("the build is red") < answer.find("since when?"), "{answer}");
    office.close().await;
}

#[tokio::test]
async fn what_a_thread_began_with_wakes_nobody_whatever_it_says() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let root = slack.user_message(Post::new(GENERAL, ALICE, "@Andy knows why the build is red"));
    for text in ["@Andy since when?", "ask @Andy"] {
        slack.user_message(Post::new(GENERAL, BOB, text).in_thread(&root));
    }
    let office = Office::open(slack).await;
    // Where everything that is said is for the assistant.
    office.inhouse.json(&["group", "set", "team", "--no-trigger", "--json"]).await;
    office.connected().await;
    let asked = format!("<@{}> why?", office.slack.options().bot_user);
    office.slack.user_message(Post::new(GENERAL, ALICE, &asked).in_thread(&root));
    assert_eq!(office.answer(&root).await, "answer of run 1");
    office.settled().await;
    assert!(office.slack.edit(GENERAL, &root, "@Andy, really?"));
    let last = office.mention("and this?");
    assert_eq!(office.answer(&last).await, "answer of run 2");
    office.settled().await;
    let context = office.kept("SELECT content FROM messages WHERE context ORDER BY seq");
    assert_eq!(context, ["@Andy, really?", "@Andy since when?", "ask @Andy"]);
    assert_eq!(office.slack.look(|world| world.said(GENERAL).len()), 2);
    office.close().await;
}

#[tokio::test]
async fn more_threads_than_a_hundred_are_all_read() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let roots: Vec<String> = (0..120).map(|number| office.say(&format!("root {number}"))).collect();
    office.slack.wait_for(|world| world.unacked() == 0).await;
    let office = away(office, async |slack| {
        for (number, root) in roots.iter().enumerate() {
            let answer = format!("answer {number}");
            slack.user_message(Post::new(GENERAL, BOB, &answer).in_thread(root));
        }
    })
    .await;
    let sql = "SELECT content FROM messages WHERE content LIKE 'answer %' ORDER BY seq";
    while office.kept(sql).len() < 120 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let expected: Vec<String> = (0..120).map(|number| format!("answer {number}")).collect();
    assert_eq!(office.kept(sql), expected);
    office.close().await;
}

/// A hundred threads take longer to read than anybody wants to wait.
#[tokio::test]
async fn who_speaks_now_does_not_wait_for_the_threads_of_others() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let roots: Vec<String> = (0..100).map(|number| office.say(&format!("root {number}"))).collect();
    office.slack.wait_for(|world| world.unacked() == 0).await;
    let Office { slack, inhouse } = office;
    inhouse.gateway.stop().await;
    slack.wait_for(|world| world.sockets() == 0).await;
    for (number, root) in roots.iter().enumerate() {
        let answer = format!("answer {number}");
        slack.user_message(Post::new(GENERAL, BOB, &answer).in_thread(root));
    }
    slack.user_message(Post::new(GENERAL, BOB, "while away"));
    // Thirty calls at leisure in this time.
    let pace = Pace { minute: Duration::from_secs(4), counts_everywhere: true, ..pace() };
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let options = GatewayOptions { bounds: bounds(), slack: pace, ..GatewayOptions::default() };
    let inhouse = Inhouse::start_in(inhouse.home, sandbox, options).await;
    let office = Office { slack, inhouse };
    office.connected().await;
    let asked = format!("<@{}> now?", office.slack.options().bot_user);
    let last = roots.last().unwrap();
    office.slack.user_message(Post::new(GENERAL, ALICE, &asked).in_thread(last));
    let at_the_top = office.mention("and at the top?");
    office.answer(last).await;
    office.answer(&at_the_top).await;
    let sql = "SELECT content FROM messages WHERE content LIKE 'answer %' ORDER BY seq";
    let read = office.kept(sql).len();
    assert!(read < 80, "{read} of the threads were read before");
    while office.kept(sql).len() < 100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let thread = office.kept(&format!(
        "SELECT content FROM messages WHERE thread = '{last}' AND is_from_me = 0 ORDER BY seq"
    ));
    assert_eq!(thread.iter().rev().take(2).rev().collect::<Vec<_>>(), ["answer 99", "@Andy now?"]);
    let mut stored = kept(&office);
    assert_eq!(stored.len(), 203);
    stored.retain(|said| said.starts_with("root") || said == "while away" || said.contains("top"));
    assert_eq!(stored[100..], ["while away", "@Andy and at the top?"]);
    office.close().await;
}

#[tokio::test]
async fn a_chat_that_cannot_be_read_now_holds_up_no_other() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    assert!(GENERAL < PRIVATE, "the one that fails would have its turn first");
    let chat = office.chat(PRIVATE);
    office.inhouse.json(&["group", "add", "private", "--chat", &chat, "--json"]).await;
    office.connected().await;
    let before = office.mention("before");
    office.answer(&before).await;
    let mut asked = (String::new(), String::new());
    let office = away(office, async |slack| {
        slack.fault(Fault::status(500).on("conversations.history").in_channel(GENERAL));
        let text = format!("<@{}> while away", slack.options().bot_user);
        asked.0 = slack.user_message(Post::new(GENERAL, ALICE, &text));
        asked.1 = slack.user_message(Post::new(PRIVATE, ALICE, &text));
    })
    .await;
    // Nothing was ever kept there: it is read from its registration on.
    office.slack.wait_for(|world| !world.answers(PRIVATE, &asked.1).is_empty()).await;
    assert!(office.slack.look(|world| world.answers(GENERAL, &asked.0).is_empty()));
    office.slack.clear_faults();
    office.answer(&asked.0).await;
    office.close().await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_fetched_before_anything_later_is_kept() {
    // Slack brings nothing again.
    let options = Options { retry_delays: Vec::new(), ..Options::default() };
    let office = Office::open(Slack::start(options).await.unwrap()).await;
    office.connected().await;
    office.slack.fault(Fault::status(500).on("users.info").first(1));
    let (first, second) = (office.mention("first"), office.mention("second"));
    office.answer(&first).await;
    office.answer(&second).await;
    assert_eq!(kept(&office), ["@Andy first", "@Andy second"]);
    office.close().await;
}

#[tokio::test]
async fn what_is_more_than_can_be_kept_at_once_waits_and_only_for_so_long() {
    for is_long in [false, true] {
        let options = Options { retry_delays: Vec::new(), ..Options::default() };
        let office = Office::open(Slack::start(options).await.unwrap()).await;
        office.connected().await;
        let before = office.mention("before");
        office.answer(&before).await;
        let reads = || office.slack.look(|world| world.count("conversations.history"));
        let at_first = reads();
        // The first call ends when it is released, or after its time.
        office.slack.fault(Fault::hang().on("users.info").first(2));
        let words: Vec<String> = (0..1_100).map(|number| format!("word {number}")).collect();
        for word in &words {
            office.slack.user_message(Post::new(GENERAL, BOB, word));
        }
        let hung = if is_long { 2 } else { 1 };
        office.slack.wait_for(|world| world.hung() == hung).await;
        if is_long {
            // By then nothing has been kept for longer than a step.
            tokio::time::sleep(pace().step * 2 / 3).await;
        } else {
            office.slack.clear_faults();
        }
        office.slack.release();
        loop {
            let stored = kept(&office);
            if stored.len() > words.len() {
                assert_eq!(stored[1..], words);
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // What was passed over can only be had from the history.
        assert_eq!(reads() > at_first, is_long);
        assert_eq!(office.slack.look(World::sockets_opened), 1);
        office.close().await;
    }
}

#[tokio::test]
async fn what_was_changed_meanwhile_and_what_comes_after_its_end_is_followed() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let one = office.say("one");
    let before = office.mention("before");
    office.answer(&before).await;
    let office = away(office, async |slack| {
        assert!(slack.edit(GENERAL, &one, "one, really"));
    })
    .await;
    office.connected().await;
    // Its end comes first, as after a lost ack.
    let gone = json!({
        "type": "message", "subtype": "message_deleted", "channel": GENERAL,
        "ts": "1700000001.000000", "deleted_ts": "1700000000.000000",
    });
    let message = json!({
        "type": "message", "channel": GENERAL, "channel_type": "channel", "user": ALICE,
        "ts": "1700000000.000000", "text": "gone",
    });
    office.slack.emit(&gone);
    office.slack.wait_for(|world| world.unacked() == 0).await;
    office.slack.emit(&message);
    let last = office.mention("last");
    office.answer(&last).await;
    assert_eq!(kept(&office), ["one, really", "@Andy before", "@Andy last"]);
    office.close().await;
}

#[tokio::test]
async fn a_mention_in_the_blocks_alone_is_answered_in_its_thread() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let user = json!({ "type": "user", "user_id": office.slack.options().bot_user });
    let blocks = json!([{ "type": "rich_text", "elements": [
        { "type": "rich_text_section", "elements": [user] },
    ] }]);
    let ts = office.slack.user_message(Post::new(GENERAL, ALICE, "look").with("blocks", blocks));
    assert_eq!(office.answer(&ts).await, "answer of run 1");
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
    assert_eq!(office.slack.look(World::sockets_opened), 1);
    tokio::time::timeout(Duration::from_secs(5), office.close()).await.unwrap();
}
