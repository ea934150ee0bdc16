//! What Slack limits or refuses in the middle of the work: whatever it is, everybody is answered once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hermitcrab::channel::slack::Pace;
use hermitcrab::gateway::{self, Bounds};
use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::json;
use test_servers::slack::{
    ALICE, BOB, DOWNLOAD, Fault, GENERAL, Message, Options, Post, Slack, UPLOAD, World,
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::streaming::{led, shown};
use super::{Office, pace, tokens};
use crate::inside::{Inhouse, bounds, home, obliging};

/// How long Slack wants to be left alone, and what of it is due to two clocks.
const RETRY_AFTER: u64 = 1;
const TOLERANCE: Duration = Duration::from_millis(100);
/// How long a call may take where some never come back.
const STEP: Duration = Duration::from_millis(700);
/// How many days pass beside each other: more would be late because of each other.
const BESIDE: usize = 6;

/// What a gateway does in a workspace, in days that together know every method that it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// A mention, one late in a thread, an answer that may have got lost, and a connection that did.
    Talk,
    /// Files in both directions, a reaction, an answer that grows, one that is replaced, and one that is taken back.
    Work,
    /// The app may not show a status, and has reactions in its place.
    Bare,
}

const DAYS: [Day; 3] = [Day::Talk, Day::Work, Day::Bare];

impl Day {
    /// Lives through it while something goes wrong. Returns the office in the evening: everybody is answered once.
    async fn live(self, faults: &[Fault], pace: Pace) -> Office {
        let slack = Slack::start(Options::default()).await.unwrap();
        faults.iter().for_each(|fault| slack.fault(fault.clone()));
        let office = match self {
            Self::Talk => talk(slack, pace).await,
            Self::Work => work(slack, pace).await,
            Self::Bare => bare(slack, pace).await,
        };
        let unsent = office.kept("SELECT state FROM outbox WHERE state <> 'sent'");
        assert_eq!(unsent, [""; 0], "{self:?} {faults:?}");
        office
    }
}

/// Opens an office whose agents may be silent for as long as a call that goes wrong takes.
async fn open(slack: Slack, sandbox: FakeSandbox, pace: Pace) -> Office {
    let bounds = Bounds { silence: Duration::from_secs(30), ..bounds() };
    let options = gateway::Options { bounds, slack: pace, ..Default::default() };
    let inhouse = Inhouse::start_in(home(&tokens(&slack)), sandbox, options).await;
    let office = Office { slack, inhouse };
    office.register().await;
    office.connected().await;
    office
}

/// See [`Day::Talk`].
async fn talk(slack: Slack, pace: Pace) -> Office {
    let root = slack.user_message(Post::new(GENERAL, BOB, "the build is red"));
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let office = open(slack, sandbox, pace).await;
    let bot = office.slack.options().bot_user.clone();

    let mut threads = vec![office.mention("good morning")];
    office.answer(&threads[0]).await;
    let late = Post::new(GENERAL, ALICE, &format!("<@{bot}> why?")).in_thread(&root);
    office.slack.user_message(late);
    office.answer(&root).await;
    threads.push(root);
    office.slack.fault(Fault::drop_after().on("chat.postMessage").first(1));
    threads.push(office.mention("are you there?"));
    office.answer(&threads[2]).await;
    office.slack.fault(Fault::status(500).on("apps.connections.open").first(1));
    office.slack.abort_sockets();
    office.slack.wait_for(|world| world.sockets() == 0).await;
    threads.push(office.mention("nobody hears"));
    office.answer(&threads[3]).await;
    office.settled().await;

    office.slack.look(|world| {
        for thread in &threads {
            assert_eq!(world.answers(GENERAL, thread).len(), 1, "{thread}");
        }
    });
    office
}

/// See [`Day::Work`].
async fn work(slack: Slack, pace: Pace) -> Office {
    let (sandbox, pens) = led(3);
    let office = open(slack, sandbox, pace).await;
    let asked = format!("<@{}> look", office.slack.options().bot_user);
    let post = Post::new(GENERAL, ALICE, &asked).file("note.txt", "text/plain", "the plan");
    let first = office.slack.user_message(post);
    pens[0].tool();
    pens[0].write("First.\n");
    office.grows(&first, "First.\n").await;
    pens[0].write("Second.\n");
    office.grows(&first, "First.\nSecond.\n").await;
    let report = office.inhouse.home.path().join("groups/team/report.txt");
    std::fs::write(report, "as it was").unwrap();
    pens[0].ask(json!({ "type": "send_file", "path": "report.txt" }));
    pens[0].ask(json!({ "type": "react", "emoji": "white_check_mark" }));
    pens[0].answer("First.\nSecond.\nThird.");
    office.tells(&first, "First.\nSecond.\nThird.").await;

    // What begins otherwise replaces what has grown, and what comes to nothing is taken away.
    let second = office.mention("and now");
    pens[1].write("Half.\n");
    office.grows(&second, "Half.\n").await;
    pens[1].answer("Other.");
    office.tells(&second, "Other.").await;
    let third = office.mention("again");
    pens[2].write("Half.\n");
    office.grows(&third, "Half.\n").await;
    pens[2].vanish();
    office.tells(&third, "unled").await;
    office.settled().await;
    while !office.kept("SELECT message FROM drafts").is_empty() {
        tokio::task::yield_now().await;
    }

    office.slack.look(|world| {
        for (thread, text) in
            [(&first, "First.\nSecond.\nThird."), (&second, "Other."), (&third, "unled")]
        {
            assert_eq!(named(world, thread), [text]);
            // That a stream was begun of which nobody learned its name is known only to Slack.
            let others = world.answers(GENERAL, thread).into_iter().filter(|it| !has_name(it));
            assert!(others.map(shown).all(|text| text.is_empty()), "half an answer stands there");
        }
        let files: Vec<&[u8]> = world
            .answers(GENERAL, &first)
            .into_iter()
            .filter_map(|answer| answer.json()["files"][0]["id"].as_str())
            .filter_map(|id| Some(world.files().find(|file| file.id() == id)?.bytes()))
            .collect();
        assert_eq!(files, [b"as it was"]);
        let reacted = world.message(GENERAL, &first).unwrap().reacted("white_check_mark");
        assert_eq!(reacted.len(), 1);
    });
    office
}

/// See [`Day::Bare`].
async fn bare(slack: Slack, pace: Pace) -> Office {
    slack.fault(Fault::error("missing_scope").on("assistant.threads.setStatus"));
    let (sandbox, pens) = led(1);
    let office = open(slack, sandbox, pace).await;
    let ts = office.mention("hello");
    let eyes = |world: &World| !world.message(GENERAL, &ts).unwrap().reacted("eyes").is_empty();
    pens[0].tool();
    office.slack.wait_for(|world| eyes(world) || world.hung() > 0).await;
    pens[0].answer("done");
    office.tells(&ts, "done").await;
    office.settled().await;
    office.slack.wait_for(|world| !eyes(world)).await;
    office.slack.look(|world| assert_eq!(named(world, &ts), ["done"]));
    office
}

/// Whether a message is a part of an answer; what has no name is not, or not yet.
fn has_name(message: &Message) -> bool {
    message.json()["metadata"].is_object() || message.json()["files"].is_array()
}

/// The answers in a thread.
fn named(world: &World, thread: &str) -> Vec<String> {
    let answers = world.answers(GENERAL, thread).into_iter();
    answers.filter(|message| message.json()["metadata"].is_object()).map(shown).collect()
}

impl Office {
    /// Waits until a thread shows this as it grows, or until it cannot, because some call does not come back.
    async fn grows(&self, thread: &str, text: &str) {
        let stands = |world: &World| {
            let mut answers = world.answers(GENERAL, thread).into_iter();
            answers.any(|message| shown(message) == text)
        };
        self.slack.wait_for(|world| stands(world) || world.hung() > 0).await;
    }

    /// Waits until this is the answer in a thread.
    async fn tells(&self, thread: &str, text: &str) {
        self.slack.wait_for(|world| named(world, thread).iter().any(|told| told == text)).await;
    }
}

/// The methods, each with the first day that calls it; reactions with each, for they are put there for two reasons.
async fn methods() -> Vec<(Day, String)> {
    let days = DAYS.map(|day| async move {
        let office = day.live(&[], pace()).await;
        let methods: BTreeSet<String> = office
            .slack
            .look(|world| world.all_calls().iter().map(|call| call.method.clone()).collect());
        office.close().await;
        methods.into_iter().map(move |method| (day, method))
    });
    let mut called: Vec<(Day, String)> = Vec::new();
    for (day, method) in join_all(days).await.into_iter().flatten() {
        let known = called.iter().any(|(_, known)| *known == method);
        if !known || method.starts_with("reactions.") {
            called.push((day, method));
        }
    }
    for known in [
        "agents.sessions.setStatus",
        "apps.connections.open",
        "assistant.threads.setStatus",
        "auth.test",
        "chat.appendStream",
        "chat.delete",
        "chat.postMessage",
        "chat.startStream",
        "chat.stopStream",
        "chat.update",
        "conversations.history",
        "conversations.info",
        "conversations.replies",
        "files.completeUploadExternal",
        "files.getUploadURLExternal",
        "reactions.add",
        "reactions.remove",
        "users.info",
        DOWNLOAD,
        UPLOAD,
    ] {
        assert!(called.iter().any(|(_, method)| method == known), "days without {known}");
    }
    called
}

/// Lives through the days of all methods beside each other, each with this going wrong with its method, and checks.
async fn each_with(fault: Fault, pace: Pace, check: fn(Day, &str, &Office)) {
    let (tasks, beside) = (TaskTracker::new(), Arc::new(Semaphore::new(BESIDE)));
    let days = methods().await.into_iter().map(|(day, method)| {
        let beside = beside.clone();
        let fault = fault.clone().on(&method).first(1);
        let name = format!("{day:?}, with {fault:?}");
        let lived = async move {
            let _turn = beside.acquire().await.unwrap();
            let office = day.live(&[fault], pace).await;
            check(day, &method, &office);
            office.close().await;
        };
        (name, tasks.spawn(lived))
    });
    let mut failed = Vec::new();
    for (name, day) in days.collect::<Vec<_>>() {
        if day.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_limited_is_asked_again_when_it_may_be_and_nothing_is_dropped() {
    each_with(Fault::rate_limited(RETRY_AFTER), pace(), |day, method, office| {
        office.slack.look(|world| {
            let calls = world.calls(method);
            let limited = calls.iter().find(|call| call.status == 429);
            let limited = limited.unwrap_or_else(|| panic!("{method} was not called")).at;
            let again = limited + Duration::from_secs(RETRY_AFTER) - TOLERANCE;
            let early =
                calls.iter().filter(|call| call.at > limited + TOLERANCE && call.at < again);
            assert_eq!(early.count(), 0, "{day:?}: {method} was called before it might be");
        });
    })
    .await;
}

async fn never_comes_back(fault: Fault) {
    each_with(fault, Pace { step: STEP, ..pace() }, |day, method, office| {
        assert_eq!(office.slack.look(World::hung), 1, "{day:?}: {method}");
        if method == DOWNLOAD {
            let kept = office.kept("SELECT content FROM messages WHERE NOT is_from_me");
            let note = "note.txt, text/plain: not fetched: it did not come in time]";
            assert!(kept[0].contains(note), "{kept:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_never_carried_out_holds_up_nothing() {
    never_comes_back(Fault::hang()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_carried_out_and_never_answered_holds_up_nothing() {
    never_comes_back(Fault::hang_after()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_looked_up_keeps_no_answer_back_and_is_no_loop() {
    let refusals = [
        ("conversations.info", "missing_scope"),
        ("conversations.info", "channel_not_found"),
        ("assistant.threads.setStatus", "missing_scope"),
        ("assistant.threads.setStatus", "channel_not_found"),
    ];
    let days = refusals.map(|(method, code)| async move {
        let office = Day::Talk.live(&[Fault::error(code).on(method)], pace()).await;
        let calls = office.slack.look(|world| world.count(method));
        assert!((1..=24).contains(&calls), "{calls} calls of {method}, answered with {code}");
        office.close().await;
    });
    join_all(days).await;
}

/// Nobody knows whether they are guests, so they count as such; but what they say is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_whom_slack_says_nothing_what_they_say_is_kept_and_not_answered() {
    // What the app may not do is tried again with each event, so that a scope that was added counts at once.
    for (code, most) in [("missing_scope", 6), ("user_not_found", 3)] {
        let impatient = Options::default().impatient(Duration::from_millis(300), 20);
        let slack = Slack::start(impatient).await.unwrap();
        slack.fault(Fault::error(code).on("users.info"));
        let sandbox = FakeSandbox::new();
        sandbox.always(obliging);
        let office = Office::open_with(slack, sandbox, pace()).await;
        office.connected().await;
        for number in 0..3 {
            office.mention(&format!("hello {number}"));
        }
        office.slack.wait_for(|world| world.acked() >= 6 && world.unacked() == 0).await;
        office.settled().await;
        let kept = office.kept("SELECT content FROM messages ORDER BY seq");
        assert_eq!(kept, ["@Andy hello 0", "@Andy hello 1", "@Andy hello 2"], "{code}");
        office.slack.look(|world| {
            assert!(world.said(GENERAL).is_empty(), "{code}");
            assert!(world.count("users.info") <= most, "{} questions", world.count("users.info"));
        });
        office.close().await;
    }
}
