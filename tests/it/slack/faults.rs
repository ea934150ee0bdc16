//! What Slack limits or refuses in the middle of the work: whatever it is, everybody is answered once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use hermitcrab::sandbox::fake::FakeSandbox;
use test_servers::slack::{ALICE, BOB, Fault, GENERAL, Options, Post, Slack, World};

use super::{Office, pace};
use crate::inside::obliging;

/// How long Slack wants to be left alone, and what of it is due to two clocks.
const RETRY_AFTER: u64 = 1;
const TOLERANCE: Duration = Duration::from_millis(100);

/// A day in a workspace, with everything that a gateway does there, while something goes wrong: a mention, one late
/// in a thread, an answer that may have got lost, and a connection that did. Returns the office in the evening.
async fn day(faults: &[Fault]) -> Office {
    let slack = Slack::start(Options::default()).await.unwrap();
    faults.iter().for_each(|fault| slack.fault(fault.clone()));
    let root = slack.user_message(Post::new(GENERAL, BOB, "the build is red"));
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    let bot = office.slack.options().bot_user.clone();

    let mut threads = vec![office.mention("good morning")];
    office.answer(&threads[0]).await;
    office
        .slack
        .user_message(Post::new(GENERAL, ALICE, &format!("<@{bot}> why?")).in_thread(&root));
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
            assert_eq!(world.answers(GENERAL, thread).len(), 1, "{faults:?}: {thread}");
        }
    });
    assert_eq!(
        office.kept("SELECT state FROM outbox WHERE state <> 'sent'"),
        [""; 0],
        "{faults:?}"
    );
    office
}

/// The methods that were called.
fn methods(world: &World) -> BTreeSet<String> {
    world.all_calls().iter().map(|call| call.method.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_limited_is_asked_again_when_it_may_be_and_nothing_is_dropped() {
    let office = day(&[]).await;
    let called = office.slack.look(methods);
    office.close().await;
    for known in ["chat.postMessage", "conversations.history", "conversations.replies"] {
        assert!(called.contains(known), "a day without {known}: {called:?}");
    }
    let days = called.iter().map(|method| async move {
        let office = day(&[Fault::rate_limited(RETRY_AFTER).on(method).first(1)]).await;
        office.slack.look(|world| {
            let calls = world.calls(method);
            let limited = calls.iter().find(|call| call.status == 429);
            let limited = limited.unwrap_or_else(|| panic!("{method} was not called")).at;
            let again = limited + Duration::from_secs(RETRY_AFTER) - TOLERANCE;
            let early =
                calls.iter().filter(|call| call.at > limited + TOLERANCE && call.at < again);
            assert_eq!(early.count(), 0, "{method} was called before it might be");
        });
        office.close().await;
    });
    join_all(days).await;
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
        let office = day(&[Fault::error(code).on(method)]).await;
        let calls = office.slack.look(|world| world.count(method));
        assert!((1..=24).contains(&calls), "{calls} calls of {method}, answered with {code}");
        office.close().await;
    });
    join_all(days).await;
}

/// Nobody knows whether they are guests, so they count as such; but what they say is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_whom_slack_says_nothing_what_they_say_is_kept_and_not_answered() {
    for code in ["missing_scope", "user_not_found"] {
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
            assert!(world.count("users.info") <= 3, "{} questions", world.count("users.info"));
        });
        office.close().await;
    }
}
