//! How often Slack is called: what it documents is kept to, and what it asks for is done.

use hermitcrab::channel::slack::Pace;
use hermitcrab::sandbox::fake::FakeSandbox;
use test_servers::slack::{ALICE, Fault, GENERAL, Limits, Options, Post, Slack, World};

use super::{Office, pace, saying};
use crate::inside::{done, input, leave, obliging};

/// A pace that keeps to what Slack documents, and waits for nothing else.
fn documented() -> Pace {
    let real = Pace::default();
    Pace { post: real.post, minute: real.minute, counts_everywhere: true, ..pace() }
}

fn refused(world: &World) -> Vec<String> {
    let calls = world.all_calls().iter().filter(|call| call.status == 429);
    calls.map(|call| call.method.clone()).collect()
}

#[tokio::test]
async fn answers_in_one_channel_wait_for_their_turn_and_slack_refuses_none() {
    let options = Options { limits: Limits::Documented, ..Options::default() };
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let slack = Slack::start(options).await.unwrap();
    let office = Office::open_with(slack, sandbox, documented()).await;
    office.connected().await;
    let asked: Vec<String> = (0..7).map(|n| office.mention(&format!("{n}"))).collect();
    let answered = |world: &World| asked.iter().all(|ts| world.answers(GENERAL, ts).len() == 1);
    office.slack.wait_for(answered).await;
    office.settled().await;
    office.slack.look(|world| {
        assert!(answered(world));
        assert_eq!(refused(world), [""; 0]);
        assert_eq!(world.count("chat.postMessage"), 7);
    });
    office.close().await;
}

#[tokio::test]
async fn in_a_thread_of_thousands_a_doubtful_answer_is_found_and_not_said_twice() {
    let sandbox = FakeSandbox::new();
    sandbox.always(|inside| async move {
        loop {
            let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
            leave(&inside.ipc(), "done.json", &done(run, "the answer", None));
        }
    });
    let slack = Slack::start(Options::default()).await.unwrap();
    let root = slack.user_message(Post::new(GENERAL, ALICE, "long ago"));
    for n in 0..2_100_u64 {
        // Older than the answer can be.
        let ts = format!("{}.{n:06}", old(&root));
        slack.user_message(Post::new(GENERAL, ALICE, "old").in_thread(&root).with("ts", ts));
    }
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    office.slack.fault(Fault::drop_after().on("chat.postMessage").first(1));
    let asked = format!("<@{}> hello", office.slack.options().bot_user);
    office.slack.user_message(Post::new(GENERAL, ALICE, &asked).in_thread(&root));
    office.slack.wait_for(|world| world.answers(GENERAL, &root).len() == 1).await;
    office.settled().await;
    office.slack.look(|world| {
        assert_eq!((world.count("chat.postMessage"), world.answers(GENERAL, &root).len()), (1, 1));
    });
    office.close().await;
}

/// A second that was many hours before a message.
fn old(ts: &str) -> u64 {
    ts.split_once('.').unwrap().0.parse::<u64>().unwrap() - 100_000
}

#[tokio::test]
async fn a_doubt_in_the_middle_of_a_long_answer_waits_as_long_as_slack_wants() {
    let text: String =
        (0..45).map(|n| format!("{n}: {}\n\n", "All work and no play. ".repeat(40))).collect();
    let sandbox = saying(text.clone());
    let slack = Slack::start(Options::default()).await.unwrap();
    slack.fault(Fault::rate_limited(3).on("chat.postMessage").after(1).first(1));
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    let ts = office.mention("hello");
    office.slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 4).await;
    office.slack.look(|world| {
        let posts = world.calls("chat.postMessage");
        let waited = posts[2].at.duration_since(posts[1].at);
        assert!(waited >= std::time::Duration::from_secs(3), "{waited:?}");
        assert_eq!(posts.len(), 5);
    });
    office.close().await;
}
