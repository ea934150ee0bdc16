//! Who is who: what is done while Slack does not say it, who is pinged, who may stop a run.

use std::time::Duration;

use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::json;
use test_servers::slack::{
    ALICE, BOB, Fault, GENERAL, GROUP_DM, Options, PRIVATE, Post, Slack, User,
};

use super::{Office, pace};
use crate::inside::{done, input, leave};

const GUEST: &str = "U0GUEST01";

#[tokio::test]
async fn a_name_holds_no_message_and_who_is_not_known_counts_as_a_stranger() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    let before = office.mention("before");
    office.answer(&before).await;
    office.slack.fault(Fault::status(500).on("users.info"));
    let asked = office.mention(&format!("who is <@{BOB}>?"));
    office.answer(&asked).await;
    let bot = &office.slack.options().bot_user;
    office.slack.user_message(Post::new(GENERAL, BOB, &format!("<@{bot}> let me in")));
    let last = office.mention("last");
    office.answer(&last).await;
    let sql = "SELECT sender_name || ' ' || sender_outside || ' ' || content FROM messages
               WHERE sender = 'U0BOB0001' OR content LIKE '%who%'";
    let expected = [format!("alice 0 @Andy who is <@{BOB}>?"), format!("{BOB} 1 @Andy let me in")];
    assert_eq!(office.kept(sql), expected);
    assert_eq!(office.slack.look(|world| world.said(GENERAL).len()), 3);
    office.close().await;
}

#[tokio::test]
async fn only_those_who_have_spoken_in_a_chat_are_pinged_there() {
    let sandbox = FakeSandbox::new();
    sandbox.always(|inside| async move {
        loop {
            let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
            leave(&inside.ipc(), "done.json", &done(run, &format!("ask <@{BOB}>"), None));
        }
    });
    let slack = Slack::start(Options::default()).await.unwrap();
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    let ping = format!("<@{BOB}>");
    let first = office.mention(&format!("who knows, {ping}?"));
    let answer = office.answer(&first).await;
    assert!(!answer.contains(&ping), "{answer}");
    office.slack.user_message(Post::new(GENERAL, BOB, "I do"));
    let second = office.mention("who?");
    let answer = office.answer(&second).await;
    assert!(answer.contains(&ping), "{answer}");
    office.close().await;
}

#[tokio::test]
async fn only_a_member_stops_a_run_and_only_that_one() {
    let sandbox = FakeSandbox::new();
    sandbox.always(|inside| async move {
        let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
        let sign = json!({ "type": "tool", "name": "bash", "summary": "ls" });
        let progress = json!({ "run": run, "signs": [sign] }).to_string();
        leave(&inside.ipc(), "progress/00000001.json", &progress);
        std::future::pending().await
    });
    let slack = Slack::start(Options::default()).await.unwrap();
    slack.add_user(User::new(GUEST, "guest").guest());
    let beep = slack.user_message(Post::new(GENERAL, BOB, "beep").with("bot_id", "B0OTHER01"));
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.inhouse.json(&["group", "set", "team", "--no-trigger", "--json"]).await;
    office.connected().await;
    let (own, top) = (office.mention("in its thread"), office.say("at the top"));
    let running = async |count: usize| loop {
        let status = office.inhouse.json(&["status", "--json"]).await;
        if status["live"]["runs"].as_array().unwrap().len() == count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    running(2).await;
    let stop = |user: &str, thread: &str| {
        office.slack.emit(&json!({
            "type": "agent_session_stopped", "user": user, "channel": GENERAL, "thread_ts": thread,
        }))
    };
    stop(GUEST, &own);
    office
        .slack
        .emit(&json!({ "type": "agent_session_stopped", "channel": GENERAL, "thread_ts": own }));
    assert!(office.slack.react(GENERAL, &top, "octagonal_sign", GUEST));
    // What another program said, and what nobody can read, is part of no run.
    assert!(office.slack.react(GENERAL, &beep, "octagonal_sign", ALICE));
    office.slack.emit(&json!({
        "type": "reaction_added", "user": ALICE, "reaction": "octagonal_sign",
        "item": { "type": "message", "channel": GENERAL, "ts": "1700000000.000000" },
    }));
    office.slack.wait_for(|world| world.unacked() == 0).await;
    running(2).await;
    stop(ALICE, &own);
    running(1).await;
    assert!(office.slack.react(GENERAL, &top, "octagonal_sign", ALICE));
    running(0).await;
    office.close().await;
}

#[tokio::test]
async fn a_chat_that_belongs_to_nobody_costs_its_name_once() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let bot = slack.options().bot_user.clone();
    let root = slack.user_message(Post::new(PRIVATE, BOB, "long before"));
    let office = Office::open(slack).await;
    office.connected().await;
    let asked = format!("<@{bot}> what does <@{BOB}> say?");
    for _ in 0..2 {
        office.slack.user_message(Post::new(PRIVATE, ALICE, &asked).in_thread(&root));
    }
    office.slack.edit(PRIVATE, &root, &asked);
    office.slack.wait_for(|world| world.acked() >= 5 && world.unacked() == 0).await;
    let count = |method| office.slack.look(|world| world.count(method));
    assert_eq!(["conversations.replies", "users.info"].map(count), [0, 0]);
    assert_eq!(count("conversations.info"), 1);
    let chats = office.inhouse.json(&["group", "chats", "--json"]).await;
    let names: Vec<_> = chats.as_array().unwrap().iter().map(|chat| &chat["name"]).collect();
    assert!(names.contains(&&json!("#secret")), "{chats}");
    office.close().await;
}

#[tokio::test]
async fn that_slack_does_not_say_who_people_are_shows_in_the_status_until_it_does() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    office.slack.fault(Fault::error("missing_scope").on("users.info"));
    office.mention("let me in");
    office.slack.wait_for(|world| world.acked() >= 2 && world.unacked() == 0).await;
    let state = office.state().await;
    let why = ", but missing_scope";
    assert!(state.starts_with("up since ") && state.contains(why), "{state}");
    office.slack.clear_faults();
    let ts = office.mention("and now?");
    office.answer(&ts).await;
    let state = office.state().await;
    assert!(!state.contains("but"), "{state}");
    office.slack.look(|world| assert_eq!(world.said(GENERAL).len(), 1));
    office.close().await;
}

#[tokio::test]
async fn a_direct_message_of_several_is_a_chat_in_which_the_bot_is_mentioned() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    let chat = office.chat(GROUP_DM);
    office.inhouse.json(&["group", "add", "three", "--chat", &chat, "--json"]).await;
    office.connected().await;
    let bot = office.slack.options().bot_user.clone();
    office.slack.user_message(Post::new(GROUP_DM, BOB, "lunch?"));
    let asked = Post::new(GROUP_DM, ALICE, &format!("<@{bot}> where?"));
    let ts = office.slack.user_message(asked);
    office.slack.wait_for(|world| !world.answers(GROUP_DM, &ts).is_empty()).await;
    let kept = office.kept("SELECT content FROM messages WHERE is_from_me = 0 ORDER BY seq");
    assert_eq!(kept, ["lunch?", "@Andy where?"]);
    office.slack.look(|world| assert_eq!(world.said(GROUP_DM).len(), 1));
    office.close().await;
}

#[tokio::test]
async fn a_guest_who_is_named_is_answered_and_no_other() {
    let slack = Slack::start(Options::default()).await.unwrap();
    slack.add_user(User::new(GUEST, "guest").guest());
    slack.add_user(User::new("U0GUEST02", "other").guest());
    let office = Office::open(slack).await;
    let names = ["--allow-sender", GUEST, "--allow-sender", ALICE];
    let set = [&["group", "set", "team"][..], &names, &["--json"]].concat();
    office.inhouse.json(&set).await;
    office.connected().await;
    let bot = office.slack.options().bot_user.clone();
    let asked = |user: &str| Post::new(GENERAL, user, &format!("<@{bot}> hello"));
    office.slack.user_message(asked("U0GUEST02"));
    let ts = office.slack.user_message(asked(GUEST));
    assert_eq!(office.answer(&ts).await, "answer of run 1");
    let last = office.mention("last");
    assert_eq!(office.answer(&last).await, "answer of run 2");
    office.close().await;
}

#[tokio::test]
async fn where_only_mentions_engage_a_thread_is_left_alone_between_them() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.inhouse.json(&["group", "set", "team", "--engage", "mention", "--json"]).await;
    office.connected().await;
    let ts = office.mention("begin");
    office.answer(&ts).await;
    let bot = office.slack.options().bot_user.clone();
    let among = |text: &str| Post::new(GENERAL, ALICE, text).in_thread(&ts);
    office.slack.user_message(among("among us"));
    office.slack.user_message(among(&format!("<@{bot}> and you?")));
    office.slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 2).await;
    let answers = |world: &test_servers::slack::World| {
        world.answers(GENERAL, &ts).iter().map(|it| it.text().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(office.slack.look(answers), ["answer of run 1", "answer of run 2"]);
    office.close().await;
}
