//! The Slack server against the unmodified Bolt, Slack's own framework, in the versions 4 and 5:
//! what these do not stumble over is close enough to Slack to hold a gateway against.
//!
//! The app is `tests/peers/bolt.js`; `tests/setup` installs what it needs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers fail the test they serve"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use test_servers::slack::{
    ALICE, BOB, DM, Fault, GENERAL, GROUP_DM, Options, PRIVATE, Post, RESPONSE_URL, Slack, UPLOAD,
};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The longest that an app may need for one step, reconnecting included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running app.
struct Bolt {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Bolt {
    /// Starts the app on this version, and waits until it is connected.
    async fn start(version: u8, slack: &Slack) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers");
        let folder = format!("bolt{version}");
        assert!(
            peers.join(&folder).join("node_modules/@slack/bolt").exists(),
            "Bolt {version} is not installed; tests/setup installs it"
        );
        let options = slack.options();
        let mut child = Command::new(node(&peers))
            .arg(peers.join("bolt.js"))
            .args([&folder, &format!("{}/", slack.api_url())])
            .args([&options.bot_token, &options.app_token])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("tests/setup installs Node");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut bolt = Self { child, lines };
        bolt.tells(&json!({ "did": "start" })).await;
        slack.wait_for(|world| world.sockets() == 1).await;
        bolt
    }

    /// Waits for the next line that has these fields, past others; an error is not passed.
    async fn tells(&mut self, expected: &Value) -> Value {
        let fields = expected.as_object().unwrap();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the app lives");
                let told: Value = serde_json::from_str(&line).expect("the app tells JSON");
                assert!(told["error"].is_null(), "{told}");
                if fields.iter().all(|(key, value)| told[key] == *value) {
                    return told;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("the app never told {expected}"))
    }

    /// Asks the app to stop; it has to close its socket and end well. Returns how many deliveries
    /// never had an ack.
    async fn stop(mut self, slack: Slack) -> usize {
        slack.wait_for(|world| world.unacked() == 0).await;
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        slack.wait_for(|world| world.sockets() == 0).await;
        let lost = slack.look(|world| {
            assert_eq!(world.strays().total(), 0);
            world.deliveries().iter().filter(|delivery| delivery.acked.is_none()).count()
        });
        slack.stop().await;
        lost
    }
}

/// The Node that `tests/setup` installed beside the peers, if it had to, or the one of the system.
fn node(peers: &Path) -> PathBuf {
    let own = peers.join("node/node_modules/.bin/node");
    if own.exists() { own } else { "node".into() }
}

async fn start(version: u8) -> (Slack, Bolt) {
    let options = Options { patience: PATIENCE, ..Options::default() };
    let slack = Slack::start(options).await.unwrap();
    let bolt = Bolt::start(version, &slack).await;
    (slack, bolt)
}

fn mention(words: &str) -> Post {
    Post::new(GENERAL, ALICE, &format!("<@U0BOT0001> {words}"))
}

/// Everything that an app does for a mention.
async fn answers_a_mention(version: u8) {
    let (slack, mut bolt) = start(version).await;
    let ts = slack.user_message(mention("what is up?"));
    let told = bolt.tells(&json!({ "did": "mention" })).await;
    assert_eq!(told["uploaded"], true);
    assert!(told["read"].as_u64().unwrap() >= 3, "{told}");
    let read = (&told["deep"], &told["user"], &told["channel"]);
    assert_eq!(read, (&json!(1), &json!("alice"), &json!("general")));
    // The file's message appears some time after the upload.
    slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 3).await;
    slack.look(|world| {
        let answers = world.answers(GENERAL, &ts);
        let texts: Vec<_> = answers.iter().map(|answer| answer.text()).collect();
        assert_eq!(texts, ["hello again", "**streamed**", "a picture"]);
        assert_eq!(answers[1].streaming_state(), Some("completed"));
        assert_eq!(answers[2].json()["files"][0]["name"], "picture one.png");
        let file = world.files().next().unwrap();
        assert_eq!(file.bytes(), b"\x89PNG\r\n\r\n--");
        assert!(file.is_complete() && world.count(UPLOAD) == 1);
        let [shown, cleared] = world.statuses().iter().collect::<Vec<_>>()[..] else {
            panic!("{:?}", world.statuses());
        };
        assert_eq!((shown.text.as_str(), shown.loading_messages.len()), ("is thinking", 2));
        assert!(cleared.text.is_empty() && cleared.by_reply);
        assert!(world.message(GENERAL, &ts).unwrap().reacted("eyes").is_empty());
        assert_eq!((world.count("reactions.add"), world.count("reactions.remove")), (1, 1));
        assert!(world.all_calls().iter().all(|call| call.carried_out), "{:?}", world.all_calls());
    });
    assert_eq!(bolt.stop(slack).await, 0);
}

/// Everything that people do and an app hears of.
async fn hears_of_everything(version: u8) {
    let (slack, mut bolt) = start(version).await;
    for (channel, kind) in
        [(DM, "im"), (PRIVATE, "group"), (GROUP_DM, "mpim"), (GENERAL, "channel")]
    {
        slack.user_message(Post::new(channel, ALICE, kind));
        bolt.tells(&json!({ "saw": "message", "kind": kind, "text": kind })).await;
    }
    let ts = slack.user_message(Post::new(GENERAL, ALICE, "first"));
    assert!(slack.edit(GENERAL, &ts, "second"));
    bolt.tells(&json!({ "subtype": "message_changed", "text": "second" })).await;
    assert!(slack.react(GENERAL, &ts, "thumbsup", BOB));
    bolt.tells(&json!({ "saw": "reaction", "name": "thumbsup", "user": BOB })).await;
    assert!(slack.delete(GENERAL, &ts));
    bolt.tells(&json!({ "subtype": "message_deleted" })).await;
    let file = Post::new(GENERAL, ALICE, "see").file("a b.txt", "text/plain", "what is in it");
    slack.user_message(file);
    bolt.tells(&json!({ "saw": "file", "name": "a b.txt", "content": "what is in it" })).await;
    bolt.tells(&json!({ "subtype": "file_share", "text": "see" })).await;
    slack.leave(GENERAL, BOB);
    slack.join(GENERAL, BOB);
    bolt.tells(&json!({ "saw": "join", "user": BOB })).await;
    slack.user_message(Post::new(GENERAL, ALICE, "all pages"));
    let told = bolt.tells(&json!({ "did": "pages" })).await;
    assert_eq!(told["texts"], json!(["all pages", "see", "channel"]));
    assert_eq!(bolt.stop(slack).await, 0);
}

/// A command, a button, a form, and the URLs to answer at.
async fn interacts(version: u8) {
    let (slack, mut bolt) = start(version).await;
    slack.slash(GENERAL, ALICE, "/ask", "the sea");
    bolt.tells(&json!({ "did": "command" })).await;
    slack.look(|world| {
        let ephemeral = world.ephemerals().last().unwrap();
        assert_eq!(
            (ephemeral.user.as_str(), ephemeral.message.text()),
            (ALICE, "working on the sea")
        );
        assert_eq!(world.said(GENERAL).last().unwrap().text(), "done");
        assert_eq!(world.count(RESPONSE_URL), 1);
    });
    let ts = slack.user_message(mention("a button, please"));
    bolt.tells(&json!({ "did": "mention" })).await;
    let answer = slack.look(|world| world.answers(GENERAL, &ts)[0].ts().to_owned());
    assert!(!slack.click(GENERAL, BOB, &answer, "no such button"));
    assert!(slack.click(GENERAL, BOB, &answer, "approve"));
    let told = bolt.tells(&json!({ "did": "action", "value": "yes" })).await;
    assert_eq!(
        slack.look(|world| world.message(GENERAL, &answer).unwrap().text().to_owned()),
        "approved"
    );
    let values = json!({ "why": { "text": { "type": "plain_text_input", "value": "because" } } });
    assert!(slack.submit(told["view"].as_str().unwrap(), BOB, &values));
    bolt.tells(&json!({ "did": "view", "reason": "because" })).await;
    slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 3).await;
    assert_eq!(bolt.stop(slack).await, 0);
}

/// What goes wrong on a usual day: a rate limit, a refresh of the socket, a lost connection.
async fn goes_on_after_faults(version: u8) {
    let (slack, mut bolt) = start(version).await;
    slack.fault(Fault::rate_limited(1).on("chat.postMessage").first(1));
    slack.user_message(mention("slowly"));
    bolt.tells(&json!({ "did": "mention" })).await;
    assert_eq!(slack.look(|world| world.count("chat.postMessage")), 2);

    for cut in [
        |slack: &Slack| slack.disconnect("refresh_requested", Duration::from_millis(100)),
        Slack::abort_sockets,
    ] {
        let before = slack.look(test_servers::slack::World::sockets_opened);
        cut(&slack);
        slack.wait_for(|world| world.sockets_opened() == before + 1 && world.sockets() == 1).await;
        slack.user_message(mention("are you there?"));
        bolt.tells(&json!({ "did": "mention" })).await;
    }
    assert_eq!(slack.look(|world| world.count("apps.connections.open")), 3);
    // What was on its way when the connection was cut came again, or was about nothing that counts.
    bolt.stop(slack).await;
}

/// One test for each version.
macro_rules! with_both {
    ($($what:ident: $four:ident, $five:ident;)*) => {$(
        #[tokio::test]
        async fn $four() {
            $what(4).await;
        }

        #[tokio::test]
        async fn $five() {
            $what(5).await;
        }
    )*};
}

with_both! {
    answers_a_mention: bolt_4_answers_a_mention, bolt_5_answers_a_mention;
    hears_of_everything: bolt_4_hears_of_everything, bolt_5_hears_of_everything;
    interacts: bolt_4_interacts, bolt_5_interacts;
    goes_on_after_faults: bolt_4_goes_on_after_faults, bolt_5_goes_on_after_faults;
}
