//! Answers that grow while they are written: one message of each in the end, whole, whatever happens on the way.

use std::time::Duration;

use hermitcrab::channel::slack::Pace;
use hermitcrab::sandbox::fake::{FakeSandbox, Inside};
use serde_json::{Value, json};
use test_servers::slack::{ALICE, Fault, GENERAL, Message, Options, Post, Slack, World};
use tokio::sync::mpsc;

use super::{Office, pace};
use crate::inside::{done, input, leave, take};

/// What an agent is told to do next.
enum Act {
    Write(String),
    Tool,
    Ask(Value),
    Answer(String),
    Vanish,
}

/// The hand that leads the agent of the next run.
pub(super) struct Pen(mpsc::UnboundedSender<Act>);

impl Pen {
    pub(super) fn write(&self, text: &str) {
        self.0.send(Act::Write(text.to_owned())).unwrap();
    }

    pub(super) fn tool(&self) {
        self.0.send(Act::Tool).unwrap();
    }

    /// The agent asks the gateway for something, and waits until it is told what came of it.
    pub(super) fn ask(&self, request: Value) {
        self.0.send(Act::Ask(request)).unwrap();
    }

    /// The agent breaks down.
    pub(super) fn vanish(&self) {
        self.0.send(Act::Vanish).unwrap();
    }

    pub(super) fn answer(&self, text: &str) {
        self.0.send(Act::Answer(text.to_owned())).unwrap();
    }
}

/// A sandbox whose first runs are led by these pens, in the order in which they begin; the others say `unled`.
pub(super) fn led(pens: usize) -> (FakeSandbox, Vec<Pen>) {
    let (mut hands, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..pens {
        let (hand, end) = mpsc::unbounded_channel();
        hands.push(Pen(hand));
        ends.push(end);
    }
    ends.reverse();
    let ends = std::sync::Arc::new(std::sync::Mutex::new(ends));
    let sandbox = FakeSandbox::new();
    sandbox.always(move |inside: Inside| {
        let ends = ends.clone();
        async move {
            let mut count = 0;
            loop {
                let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
                let next = ends.lock().unwrap().pop();
                let Some(mut acts) = next else {
                    leave(&inside.ipc(), "done.json", &done(run, "unled", None));
                    continue;
                };
                loop {
                    let sign = match acts.recv().await {
                        Some(Act::Write(delta)) => json!({ "type": "text", "delta": delta }),
                        Some(Act::Tool) => {
                            json!({ "type": "tool", "name": "bash", "summary": "ls" })
                        }
                        Some(Act::Ask(request)) => {
                            count += 1;
                            let name = format!("{run}-{count}.json");
                            leave(&inside.ipc().join("messages"), &name, &request.to_string());
                            take(inside.ipc().join("replies").join(name)).await;
                            continue;
                        }
                        Some(Act::Answer(text)) => {
                            leave(&inside.ipc(), "done.json", &done(run, &text, None));
                            break;
                        }
                        Some(Act::Vanish) => return hermitcrab::sandbox::Exit::Code(1),
                        None => std::future::pending().await,
                    };
                    count += 1;
                    let progress = json!({ "run": run, "signs": [sign] }).to_string();
                    leave(&inside.ipc(), &format!("progress/{count:08}.json"), &progress);
                }
            }
        }
    });
    (sandbox, hands)
}

async fn office(options: Options, pens: usize) -> (Office, Vec<Pen>) {
    office_with(options, pens, pace()).await
}

async fn office_with(options: Options, pens: usize, pace: Pace) -> (Office, Vec<Pen>) {
    let (sandbox, pens) = led(pens);
    let office = Office::open_with(Slack::start(options).await.unwrap(), sandbox, pace).await;
    office.connected().await;
    (office, pens)
}

/// What a message shows, whether it was streamed or stands in a block.
pub(super) fn shown(message: &Message) -> String {
    match message.json()["blocks"][0]["text"].as_str() {
        Some(text) => text.to_owned(),
        None => message.text().to_owned(),
    }
}

fn answers(world: &World, ts: &str) -> Vec<String> {
    world.answers(GENERAL, ts).into_iter().map(shown).collect()
}

/// The parts of answers that the messages of a thread are.
fn parts(world: &World, ts: &str) -> Vec<Value> {
    let answers = world.answers(GENERAL, ts).into_iter();
    answers.map(|m| m.json()["metadata"]["event_payload"]["part"].clone()).collect()
}

impl Office {
    /// Waits until the thread shows this as it grows.
    async fn grows_to(&self, ts: &str, text: &str) {
        self.slack
            .wait_for(|world| {
                let answers = world.answers(GENERAL, ts);
                answers.iter().any(|m| shown(m) == text)
            })
            .await;
    }

    /// Waits until nothing is at work, and the thread shows exactly these messages, all of them parts of answers.
    async fn ends_with(&self, ts: &str, texts: &[&str]) {
        self.slack.wait_for(|world| answers(world, ts) == texts).await;
        self.settled().await;
        while !self.kept("SELECT message FROM drafts").is_empty() {
            tokio::task::yield_now().await;
        }
        self.slack.look(|world| {
            assert_eq!(answers(world, ts), texts);
            assert!(parts(world, ts).iter().all(Value::is_u64), "{:?}", parts(world, ts));
            let states = world.answers(GENERAL, ts);
            assert!(states.iter().all(|m| m.streaming_state() != Some("in_progress")));
        });
    }
}

#[tokio::test]
async fn an_answer_grows_and_ends_as_one_message_that_can_be_found() {
    let (office, pens) = office(Options::default(), 1).await;
    let ts = office.mention("hello");
    pens[0].write("First.\nSec");
    office.grows_to(&ts, "First.\n").await;
    assert_eq!(office.kept("SELECT message FROM drafts").len(), 1);
    pens[0].write("ond.\n");
    office.grows_to(&ts, "First.\nSecond.\n").await;
    let status = office.slack.look(|world| world.status(GENERAL, &ts).to_owned());
    assert_ne!(status, "is writing…");
    pens[0].answer("First.\nSecond.\nThird.");
    office.ends_with(&ts, &["First.\nSecond.\nThird."]).await;
    office.slack.look(|world| {
        assert_eq!((world.count("chat.postMessage"), world.count("chat.update")), (0, 0));
        let start = &world.calls("chat.startStream")[0].args;
        assert_eq!(start["recipient_user_id"], ALICE);
        assert_eq!(start["markdown_text"], Value::Null);
    });
    office.close().await;
}

#[tokio::test]
async fn a_short_answer_is_posted_and_an_answer_that_says_something_else_replaces_what_grew() {
    let (office, pens) = office(Options::default(), 2).await;
    let ts = office.mention("hello");
    pens[0].write("Par");
    pens[0].answer("Paris.");
    office.ends_with(&ts, &["Paris."]).await;
    assert_eq!(office.slack.look(|world| world.count("chat.startStream")), 0);
    let ts = office.mention("and now");
    pens[1].write("I will look.\n");
    office.grows_to(&ts, "I will look.\n").await;
    pens[1].tool();
    office.slack.wait_for(|world| world.status(GENERAL, &ts) == "is using bash…").await;
    pens[1].write("It is 4.\n");
    office.grows_to(&ts, "I will look.\n\nIt is 4.\n").await;
    pens[1].answer("It is 4.");
    office.ends_with(&ts, &["It is 4."]).await;
    office.slack.look(|world| assert_eq!(world.count("chat.postMessage"), 1));
    office.close().await;
}

#[tokio::test]
async fn a_ping_that_comes_in_two_pieces_pings_nobody() {
    let (office, pens) = office(Options::default(), 1).await;
    let ts = office.mention("hello");
    pens[0].write("Hear, <!he");
    pens[0].write("re>!\n@chan");
    office.grows_to(&ts, "Hear, &lt;!here>!\n").await;
    pens[0].write("nel\n");
    office.grows_to(&ts, "Hear, &lt;!here>!\n@\u{200b}channel\n").await;
    pens[0].answer("Hear, <!here>!\n@channel\n");
    office.ends_with(&ts, &["Hear, &lt;!here>!\n@\u{200b}channel\n"]).await;
    office.slack.look(|world| {
        let bodies = world.all_calls().iter().map(|call| call.args.to_string());
        assert!(bodies.filter(|body| body.contains("<!here>")).count() == 0);
    });
    office.close().await;
}

#[tokio::test]
async fn a_long_answer_grows_as_far_as_one_message_goes_and_the_rest_follows() {
    let (office, pens) = office(Options::default(), 1).await;
    let ts = office.mention("hello");
    let paragraph = "All work and no play makes Jack a dull crab. ".repeat(20);
    let paragraphs: Vec<String> = (0..30).map(|n| format!("{n}: {paragraph}")).collect();
    for paragraph in &paragraphs {
        pens[0].write(&format!("{paragraph}\n\n"));
    }
    pens[0].answer(&paragraphs.join("\n\n"));
    office.slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 3).await;
    office.settled().await;
    office.slack.look(|world| {
        assert_eq!(answers(world, &ts).concat(), paragraphs.join("\n\n"));
        assert_eq!(parts(world, &ts), [1, 2, 3]);
    });
    office.close().await;
}

#[tokio::test]
async fn where_slack_closes_the_stream_the_same_message_goes_on() {
    for closed_by_us in [false, true] {
        let ms = Duration::from_millis;
        let options = Options { stream_ttl: ms(300), ..Options::default() };
        let stream = if closed_by_us { ms(200) } else { ms(60_000) };
        let (office, pens) = office_with(options, 1, Pace { stream, ..pace() }).await;
        let ts = office.mention("hello");
        pens[0].write("First.\n");
        office.grows_to(&ts, "First.\n").await;
        let mut text = "First.\n".to_owned();
        while office.slack.look(|world| world.count("chat.update")) == 0 {
            pens[0].write("More.\n");
            text.push_str("More.\n");
            office.grows_to(&ts, &text).await;
        }
        pens[0].answer(&format!("{text}Last."));
        office.ends_with(&ts, &[&format!("{text}Last.")]).await;
        office.close().await;
    }
}

#[tokio::test]
async fn a_stream_that_slack_closed_unseen_ends_as_the_answer() {
    let options = Options { stream_ttl: Duration::from_millis(100), ..Options::default() };
    let (office, pens) = office(options, 1).await;
    let ts = office.mention("hello");
    pens[0].write("First.\n");
    office.grows_to(&ts, "First.\n").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    pens[0].answer("First.\nLast.");
    office.ends_with(&ts, &["First.\nLast."]).await;
    office.close().await;
}

#[tokio::test]
async fn whatever_fails_once_there_is_one_answer_in_the_end() {
    let calls = ["chat.startStream", "chat.appendStream", "chat.stopStream", "chat.update"];
    for method in calls {
        for fault in [
            Fault::rate_limited(1),
            Fault::drop(),
            Fault::drop_after(),
            Fault::error("internal_error"),
            Fault::error("cant_do_that"),
        ] {
            // That a stream was begun of which nobody learned its name is known only to Slack.
            if method == "chat.startStream" && format!("{fault:?}").contains("DropAfter") {
                continue;
            }
            let slack = Slack::start(Options::default()).await.unwrap();
            slack.fault(fault.on(method).first(1));
            let (sandbox, pens) = led(1);
            let office = Office::open_with(slack, sandbox, pace()).await;
            office.connected().await;
            let ts = office.mention("hello");
            pens[0].write("First.\n");
            office.slack.wait_for(|world| world.count("chat.startStream") > 0).await;
            pens[0].write("Second.\n");
            let tried =
                |world: &World| world.count("chat.appendStream") > 0 || world.count(method) > 0;
            office.slack.wait_for(tried).await;
            // What does not begin like what grew has to be updated.
            let text = if method == "chat.update" { "Third." } else { "First.\nSecond.\nThird." };
            pens[0].answer(text);
            office.ends_with(&ts, &[text]).await;
            office.close().await;
        }
    }
}

#[tokio::test]
async fn an_app_that_may_not_stream_posts_and_does_not_ask_again() {
    let (office, pens) = office(Options::default(), 2).await;
    office.slack.fault(Fault::error("unknown_method").on("chat.startStream"));
    for pen in pens {
        let ts = office.mention("hello");
        pen.write("First.\n");
        office.slack.wait_for(|world| world.count("chat.startStream") == 1).await;
        office.slack.wait_for(|world| world.status(GENERAL, &ts) == "is writing…").await;
        pen.answer("First.\nLast.");
        office.ends_with(&ts, &["First.\nLast."]).await;
    }
    office.slack.look(|world| {
        assert_eq!((world.count("chat.startStream"), world.count("chat.postMessage")), (1, 2));
    });
    office.close().await;
}

#[tokio::test]
async fn a_run_that_is_stopped_or_fails_leaves_nothing_half_said() {
    let (office, pens) = office(Options::default(), 2).await;
    let ts = office.mention("hello");
    pens[0].write("First.\n");
    office.grows_to(&ts, "First.\n").await;
    office.slack.wait_for(|world| world.session(GENERAL, &ts) == "processing").await;
    let streamed = office.slack.look(|world| world.answers(GENERAL, &ts)[0].ts().to_owned());
    office.slack.emit(&json!({
        "type": "agent_session_stopped", "channel": GENERAL, "thread_ts": ts,
        "user": ALICE, "event_ts": "1700000000.000001",
        "streaming_message_ts": [streamed],
    }));
    office.ends_with(&ts, &["Stopped."]).await;
    office.slack.wait_for(|world| world.session(GENERAL, &ts) == "active").await;
    let ts = office.mention("again");
    pens[1].write("First.\n");
    office.grows_to(&ts, "First.\n").await;
    pens[1].vanish();
    office.ends_with(&ts, &["unled"]).await;
    office.close().await;
}

#[tokio::test]
async fn two_answers_grow_beside_each_other_within_what_slack_allows() {
    let limits = test_servers::slack::Limits::Documented;
    let options = Options { limits, ..Options::default() };
    let real = Pace { step: pace().step, ..Pace::default() };
    let quick = Pace { post: real.post, minute: real.minute, counts_everywhere: true, ..pace() };
    let (office, pens) = office_with(options, 2, quick).await;
    let threads = [office.mention("one"), office.mention("two")];
    for n in 0..60 {
        pens.iter().for_each(|pen| pen.write(&format!("{n}\n")));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    pens.iter().for_each(|pen| pen.answer("0\n1\nand so on"));
    for ts in &threads {
        office.ends_with(ts, &["0\n1\nand so on"]).await;
    }
    office.slack.look(|world| {
        let refused = world.all_calls().iter().filter(|call| call.status == 429);
        assert_eq!(refused.map(|call| call.method.clone()).collect::<Vec<_>>(), [""; 0]);
        assert_eq!(world.count("chat.startStream"), 2);
    });
    office.close().await;
}

#[tokio::test]
async fn a_gateway_that_stops_leaves_nothing_half_said_and_the_next_one_answers() {
    let (office, pens) = office(Options::default(), 1).await;
    let ts = office.mention("hello");
    pens[0].write("First.\n");
    office.grows_to(&ts, "First.\n").await;
    let Office { slack, inhouse } = office;
    let haste = inhouse.gateway.haste();
    haste.cancel();
    inhouse.gateway.stop().await;
    slack.look(|world| assert_eq!(answers(world, &ts), [""; 0]));
    let (sandbox, _pens) = led(0);
    let office = Office::again(slack, inhouse.home, sandbox).await;
    office.ends_with(&ts, &["unled"]).await;
    office.close().await;
}

/// What a gateway leaves that was killed while an answer grew, or after it had become the answer.
async fn killed(slack: &Slack, ts: &str, metadata: Value) -> String {
    let api = |method: &str, body: Value| {
        let url = format!("{}/{method}", slack.api_url());
        let token = slack.options().bot_token.clone();
        async move {
            let client = reqwest::Client::new();
            let sent = client.post(url).bearer_auth(token).json(&body).send().await.unwrap();
            sent.json::<Value>().await.unwrap()
        }
    };
    let body = json!({
        "channel": GENERAL, "thread_ts": ts, "markdown_text": "Half an",
        "recipient_user_id": ALICE,
        "recipient_team_id": slack.options().team_id,
    });
    let left = api("chat.startStream", body).await["ts"].as_str().unwrap().to_owned();
    if !metadata.is_null() {
        let body = json!({ "channel": GENERAL, "ts": left, "metadata": metadata });
        assert_eq!(api("chat.stopStream", body).await["ok"], true);
    }
    left
}

#[tokio::test]
async fn what_a_killed_gateway_left_half_said_is_taken_away_unless_it_became_the_answer() {
    for became_the_answer in [false, true] {
        let slack = Slack::start(Options::default()).await.unwrap();
        let (sandbox, pens) = led(1);
        let office = Office::open_with(slack, sandbox, pace()).await;
        office.connected().await;
        let ts = office.mention("hello");
        pens[0].answer("the answer");
        office.ends_with(&ts, &["the answer"]).await;
        let (chat, Office { slack, inhouse }) = (office.chat(GENERAL), office);
        inhouse.gateway.stop().await;
        let payload = json!({ "outbox": "1", "part": 1, "of": 1 });
        let metadata = json!({ "event_type": "hermitcrab", "event_payload": payload });
        let metadata = if became_the_answer { metadata } else { Value::Null };
        let mut left = vec![killed(&slack, &ts, metadata).await];
        if !became_the_answer {
            // The one before it was not taken away before that gateway was killed as well.
            left.push(killed(&slack, &ts, Value::Null).await);
        }
        let path = inhouse.home.path().join("store/messages.db");
        let store = rusqlite::Connection::open(path).unwrap();
        let sql = "INSERT INTO drafts (chat_id, thread, message) VALUES (?1, ?2, ?3)";
        for left in &left {
            store.execute(sql, [&chat, &ts, left]).unwrap();
        }
        if became_the_answer {
            // It was not written down any more that it was sent; what was posted of it before never was.
            store.execute("UPDATE outbox SET state = 'sending' WHERE id = 1", []).unwrap();
            let posted = slack.look(|world| world.answers(GENERAL, &ts)[0].ts().to_owned());
            assert!(slack.delete(GENERAL, &posted));
        }
        drop(store);
        let (sandbox, _pens) = led(0);
        let office = Office::again(slack, inhouse.home, sandbox).await;
        let expected = if became_the_answer { "Half an" } else { "the answer" };
        office.ends_with(&ts, &[expected]).await;
        assert_eq!(office.kept("SELECT state FROM outbox"), ["sent"]);
        office.slack.look(|world| assert_eq!(world.count("chat.postMessage"), 1));
        office.close().await;
    }
}

#[tokio::test]
async fn an_app_that_is_no_agent_has_no_stop_button_and_is_not_asked_again() {
    let options = Options { is_agent: false, ..Options::default() };
    let (office, pens) = office(options, 2).await;
    for pen in pens {
        let ts = office.mention("hello");
        pen.tool();
        office.slack.wait_for(|world| world.status(GENERAL, &ts) == "is using bash…").await;
        pen.answer("done");
        office.ends_with(&ts, &["done"]).await;
    }
    assert_eq!(office.slack.look(|world| world.count("agents.sessions.setStatus")), 1);
    office.close().await;
}

#[tokio::test]
async fn a_home_with_drafts_of_a_workspace_that_is_gone_works() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let (sandbox, pens) = led(1);
    let office = Office::open_with(slack, sandbox, pace()).await;
    let Office { slack, inhouse } = office;
    inhouse.gateway.stop().await;
    let path = inhouse.home.path().join("store/messages.db");
    let store = rusqlite::Connection::open(path).unwrap();
    let sql = "INSERT INTO drafts VALUES ('slack:T0GONE001/C1', '1.000001', '1.000002')";
    store.execute(sql, []).unwrap();
    drop(store);
    drop(pens);
    let (sandbox, pens) = led(1);
    let office = Office::again(slack, inhouse.home, sandbox).await;
    office.connected().await;
    let ts = office.mention("hello");
    pens[0].answer("done");
    office.slack.wait_for(|world| answers(world, &ts) == ["done"]).await;
    assert_eq!(office.kept("SELECT message FROM drafts"), ["1.000002"]);
    office.close().await;
}

/// Slack ends the stream and says nothing of it, and a new run begins in the thread before the answer was looked for.
#[tokio::test]
async fn an_answer_in_doubt_is_not_taken_away_by_what_comes_next() {
    let (office, pens) = office(Options::default(), 2).await;
    let ts = office.mention("hello");
    pens[0].write("First.\n");
    office.grows_to(&ts, "First.\n").await;
    office.slack.fault(Fault::drop_after().on("chat.stopStream").first(1));
    pens[0].answer("First.\nSecond.\n");
    office.slack.wait_for(|world| world.count("chat.stopStream") >= 1).await;
    office.slack.user_message(Post::new(GENERAL, ALICE, "and then?").in_thread(&ts));
    pens[1].answer("Third.");
    office.ends_with(&ts, &["First.\nSecond.\n", "Third."]).await;
    office.slack.look(|world| assert_eq!(world.count("chat.delete"), 0));
    office.close().await;
}
