//! The whole gateway in a workspace: the real binary, the real agent-runner in real sandboxes, a model that is scripted.

use serde_json::Value;
use test_servers::model::{Script, Server};
use test_servers::slack::{ALICE, DM, GENERAL, Options, Post, Slack, World};
use tokio::time::timeout;

use super::real::{self, json, state};
use super::streaming::shown;
use crate::support::gateway::{Gateway, Home, PATIENCE};

mod answers;
mod away;
mod files;
mod people;
mod refused;

/// A workspace, a model, and the home of a gateway between them.
struct Firm {
    slack: Slack,
    model: Server,
    home: Home,
}

impl Firm {
    /// A firm whose agents run in sandboxes of this kind, registered in [`GENERAL`] and in the messages to [`ALICE`].
    async fn found(kind: &str) -> Self {
        let firm = Self::build(Script::tool()).await.with("SANDBOX", kind);
        real::register(&firm.home, &firm.slack, "main", &[GENERAL]).await;
        real::register(&firm.home, &firm.slack, "alice", &[DM]).await;
        firm
    }

    /// A firm that is registered nowhere, with the model that this script is.
    async fn build(script: Script) -> Self {
        let options = Options { patience: PATIENCE, ..Options::default() };
        let (slack, model) = tokio::join!(Slack::start(options), Server::start(script));
        let (slack, model) = (slack.unwrap(), model.unwrap());
        let home = real::home(&slack)
            .with("ANTHROPIC_API_KEY", "sk-test-canary")
            .with("ANTHROPIC_BASE_URL", &model.url());
        Self { slack, model, home }
    }

    /// With this variable in the gateway's environment.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.home = self.home.with(name, value);
        self
    }

    /// Starts the gateway and waits until it is connected.
    async fn open(&self) -> Gateway {
        let gateway = self.home.start(None).await.unwrap();
        self.until(|world| world.sockets() == 1).await;
        gateway
    }

    /// A person mentions the bot in a channel.
    fn asking(&self, channel: &str, user: &str, text: &str) -> Post {
        Post::new(channel, user, &format!("<@{}> {text}", self.slack.options().bot_user))
    }

    /// Alice mentions the bot in [`GENERAL`].
    fn ask(&self, text: &str) -> String {
        self.slack.user_message(self.asking(GENERAL, ALICE, text))
    }

    /// Alice has the bot run a command, in a thread or at the top of the channel; returns the message's ts.
    fn mention(&self, command: &str, thread: Option<&str>) -> String {
        let post = self.asking(GENERAL, ALICE, &format!("[[bash:{command}]]"));
        self.slack.user_message(match thread {
            Some(thread) => post.in_thread(thread),
            None => post,
        })
    }

    /// Waits until something is so in the workspace.
    async fn until(&self, so: impl FnMut(&World) -> bool) {
        let waited = timeout(PATIENCE / 2, self.slack.wait_for(so)).await;
        waited.unwrap_or_else(|_| panic!("it does not come to that:\n{}", self.home.read_log()));
    }

    /// The answers in a thread of [`GENERAL`], once there are so many.
    async fn answers(&self, thread: &str, count: usize) -> Vec<String> {
        self.answers_in(GENERAL, thread, count).await
    }

    /// The answers in a thread, once there are so many.
    async fn answers_in(&self, channel: &str, thread: &str, count: usize) -> Vec<String> {
        self.until(|world| answered(world, channel, thread).len() >= count).await;
        self.slack.look(|world| answered(world, channel, thread))
    }

    /// Lets the commands of the main group go on that wait for it.
    fn go(&self) {
        std::fs::write(self.home.path().join("groups/main/go"), "").unwrap();
    }

    /// All that the model was sent with its latest request.
    fn latest_request(&self) -> String {
        self.model.requests().last().unwrap().body["messages"].to_string()
    }
}

/// The texts of the messages in a thread that are answers: one that still grows is not, it has no name yet.
fn answered(world: &World, channel: &str, thread: &str) -> Vec<String> {
    let answers = world.answers(channel, thread).into_iter();
    answers.filter(|message| message.json()["metadata"].is_object()).map(shown).collect()
}

/// A command that waits until it may go on.
const WAIT: &str = "while [ ! -e go ]; do sleep 0.1; done; echo went";

/// Stamps a scenario onto both kinds of sandbox.
macro_rules! in_both_kinds {
    ($($scenario:ident),* $(,)?) => {
        mod docker {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() { super::$scenario("docker").await; })*
        }
        mod bubblewrap {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() { super::$scenario("bubblewrap").await; })*
        }
    };
}

in_both_kinds!(
    a_mention_a_thread_and_a_direct_message_are_answered_once_each,
    a_gateway_that_stops_answers_when_it_is_back,
);

async fn a_mention_a_thread_and_a_direct_message_are_answered_once_each(kind: &str) {
    let firm = Firm::found(kind).await;
    let gateway = firm.open().await;

    let ts = firm.mention(WAIT, None);
    firm.until(|world| world.status(GENERAL, &ts).contains("bash")).await;
    assert!(state(&firm.home).await.starts_with("up since "));
    firm.go();
    let answers = firm.answers(&ts, 1).await;
    assert!(answers.len() == 1 && answers[0].contains("went"), "{answers:?}");
    firm.until(|world| world.status(GENERAL, &ts).is_empty()).await;

    // In a thread in which the assistant takes part nobody has to mention it, and it knows what was said.
    let follow_up = Post::new(GENERAL, ALICE, "[[bash:echo again]]").in_thread(&ts);
    firm.slack.user_message(follow_up);
    let answers = firm.answers(&ts, 2).await;
    assert!(answers[1].contains("again"), "{answers:?}");
    assert!(
        firm.latest_request().contains("echo went"),
        "another session: {}",
        firm.latest_request()
    );

    let other = firm.mention("echo elsewhere", None);
    let elsewhere = firm.answers(&other, 1).await;
    assert!(elsewhere[0].contains("elsewhere"), "{elsewhere:?}");
    assert!(!firm.latest_request().contains("echo went"), "the same session in another thread");

    firm.slack.user_message(Post::new(DM, ALICE, "[[bash:echo in private]]"));
    firm.until(|world| !world.said(DM).is_empty()).await;

    let status = json(&firm.home, &["status", "--json"]).await;
    assert_eq!(status["store"]["waiting_conversations"], 0, "{status}");
    assert!(gateway.terminate().await.success());
    firm.until(|world| world.sockets() == 0).await;
    firm.slack.look(|world| {
        assert_eq!((world.said(GENERAL).len(), world.said(DM).len()), (3, 1));
        assert!(world.said(DM)[0].text().contains("in private"));
        assert_eq!(world.said(DM)[0].thread_ts(), None);
        assert_eq!(world.status(GENERAL, &ts), "");
        assert_eq!(world.unacked(), 0);
    });
}

async fn a_gateway_that_stops_answers_when_it_is_back(kind: &str) {
    let firm = Firm::found(kind).await;
    let gateway = firm.open().await;
    let ts = firm.mention(WAIT, None);
    firm.until(|world| world.status(GENERAL, &ts).contains("bash")).await;
    assert!(gateway.terminate().await.success());
    firm.until(|world| world.sockets() == 0).await;
    assert_eq!(firm.slack.look(|world| world.status(GENERAL, &ts).to_owned()), "");
    firm.go();
    let missed = firm.mention("echo missed", None);

    let gateway = firm.home.start(None).await.unwrap();
    let answers = firm.answers(&missed, 1).await;
    assert!(answers[0].contains("missed"), "{answers:?}");
    // The agent is told that its command was interrupted; what it says then is its own affair.
    firm.answers(&ts, 1).await;
    assert!(gateway.terminate().await.success());
    firm.slack.look(|world| assert_eq!(world.said(GENERAL).len(), 2));
}

/// Asks until the channel is in this state.
async fn is(home: &Home, expected: &str) {
    let mut seen = String::new();
    let look = async {
        while seen != expected {
            seen = state(home).await;
        }
    };
    if timeout(PATIENCE, look).await.is_err() {
        panic!("{seen}, and not {expected}:\n{}", home.read_log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_said_by_status_and_doctor_with_what_mends_it() {
    let firm = Firm::found("bubblewrap").await;
    firm.slack.revoke("invalid_auth");
    let gateway = firm.home.start(None).await.unwrap();
    is(&firm.home, "refused: invalid_auth").await;
    let output = firm.home.command(&["doctor", "--json"]).output().await.unwrap();
    assert!(!output.status.success(), "the doctor is content");
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_slack = |finding: &&Value| finding["finding"] == "slack refused: invalid_auth";
    let finding = findings.as_array().unwrap().iter().find(of_slack);
    let finding = finding.unwrap_or_else(|| panic!("{findings}"));
    assert_eq!(finding["verdict"], "fault", "{finding}");
    assert!(finding["mend"].as_str().unwrap().contains(".env"), "{finding}");
    // A refusal is no loop.
    assert_eq!(firm.slack.look(|world| world.all_calls().total()), 1);
    assert!(gateway.terminate().await.success());
}
