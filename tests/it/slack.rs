//! The gateway in a Slack workspace: our own server on the other side, a stand-in for the sandbox.

use std::time::Duration;

use hermitcrab::channel::slack::Pace;
use hermitcrab::gateway::Options;
use hermitcrab::sandbox::fake::FakeSandbox;
use serde_json::Value;
use test_servers::slack::{ALICE, GENERAL, PRIVATE, Post, Slack};

use crate::inside::{Inhouse, bounds, done, home, input, leave, obliging};

mod burst;
mod catch_up;
mod connection;
pub(crate) mod crash;
mod faults;
mod files_in;
mod files_out;
mod people;
mod progress;
mod rate;
mod real;
mod sending;
mod streaming;
mod two;
mod whole;
mod workspaces;

/// A workspace, and a gateway that takes part in it.
struct Office {
    slack: Slack,
    inhouse: Inhouse,
}

impl Office {
    /// A gateway whose agents answer with the number of their run, registered in [`GENERAL`].
    async fn open(slack: Slack) -> Self {
        let sandbox = FakeSandbox::new();
        sandbox.always(obliging);
        Self::open_with(slack, sandbox, pace()).await
    }

    async fn open_with(slack: Slack, sandbox: FakeSandbox, pace: Pace) -> Self {
        let options = Options { bounds: bounds(), slack: pace, ..Options::default() };
        let inhouse = Inhouse::start_in(home(&tokens(&slack)), sandbox, options).await;
        let office = Self { slack, inhouse };
        office.register().await;
        office
    }

    /// A gateway in a home that was used before.
    async fn again(slack: Slack, home: tempfile::TempDir, sandbox: FakeSandbox) -> Self {
        let options = Options { bounds: bounds(), slack: pace(), ..Options::default() };
        let inhouse = Inhouse::start_in(home, sandbox, options).await;
        Self { slack, inhouse }
    }

    /// Makes [`GENERAL`] the chat of a group.
    async fn register(&self) {
        let chat = self.chat(GENERAL);
        self.inhouse.json(&["group", "add", "team", "--chat", &chat, "--json"]).await;
    }

    /// Waits until nothing is at work and nothing waits to be sent.
    async fn settled(&self) {
        loop {
            let status = self.inhouse.json(&["status", "--json"]).await;
            let (live, store) = (&status["live"], &status["store"]);
            if live["runs"].as_array().unwrap().is_empty()
                && store["outbox_pending"] == 0
                && store["waiting_conversations"] == 0
            {
                return;
            }
        }
    }

    /// The first column of what is in the store.
    fn kept(&self, sql: &str) -> Vec<String> {
        let path = self.inhouse.home.path().join("store/messages.db");
        let store = rusqlite::Connection::open(path).unwrap();
        let mut rows = store.prepare(sql).unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// The chat that a Slack channel is here.
    fn chat(&self, channel: &str) -> String {
        format!("slack:{}/{channel}", self.slack.options().team_id)
    }

    async fn connected(&self) {
        self.slack.wait_for(|world| world.sockets() == 1).await;
    }

    /// Alice says something in [`GENERAL`].
    fn say(&self, text: &str) -> String {
        self.slack.user_message(Post::new(GENERAL, ALICE, text))
    }

    /// Alice mentions the bot in [`GENERAL`].
    fn mention(&self, text: &str) -> String {
        self.say(&format!("<@{}> {text}", self.slack.options().bot_user))
    }

    /// Waits for the first answer in a thread.
    async fn answer(&self, ts: &str) -> String {
        let first = |world: &test_servers::slack::World| {
            world.answers(GENERAL, ts).first().map(|answer| answer.text().to_owned())
        };
        self.slack.wait_some(first).await
    }

    /// What `status` says of the channel.
    async fn state(&self) -> String {
        let status = self.inhouse.json(&["status", "--json"]).await;
        let channels = status["live"]["channels"].as_array().unwrap().iter();
        let slack: Vec<&Value> = channels.filter(|channel| channel["name"] == "slack").collect();
        slack[0]["state"].as_str().unwrap().to_owned()
    }

    async fn close(self) {
        self.inhouse.gateway.stop().await;
        self.slack.stop().await;
    }
}

/// A sandbox whose agents answer with this.
fn saying(text: String) -> FakeSandbox {
    let sandbox = FakeSandbox::new();
    sandbox.always(move |inside| {
        let text = text.clone();
        async move {
            loop {
                let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
                leave(&inside.ipc(), "done.json", &done(run, &text, None));
            }
        }
    });
    sandbox
}

/// The lines of `.env` for a workspace.
fn tokens(slack: &Slack) -> String {
    let options = slack.options();
    format!(
        "SLACK_BOT_TOKEN={}\nSLACK_APP_TOKEN={}\nSLACK_API_URL={}\n",
        options.bot_token,
        options.app_token,
        slack.api_url()
    )
}

/// Waits for those who do not want to wait.
fn pace() -> Pace {
    let ms = Duration::from_millis;
    Pace {
        step: ms(3_000),
        ping: ms(100),
        silence: ms(1_000),
        drain: ms(1_000),
        settled: ms(200),
        back_off: ms(20),
        back_off_cap: ms(200),
        refused: Duration::from_secs(600),
        renew: ms(300),
        change: ms(10),
        post: ms(10),
        minute: ms(100),
        counts_everywhere: false,
        grow: ms(20),
        stream: Duration::from_secs(270),
        forsaken: ms(500),
    }
}

#[tokio::test]
async fn a_mention_is_kept_then_acked_and_answered_once_in_its_thread() {
    let office = Office::open(Slack::start(Default::default()).await.unwrap()).await;
    office.connected().await;
    let ts = office.mention("hello");
    assert_eq!(office.answer(&ts).await, "answer of run 1");
    // It came twice, as a message and as a mention, and both were acked.
    office.slack.wait_for(|world| world.acked() >= 2 && world.unacked() == 0).await;
    let again = office.mention("and again");
    assert_eq!(office.answer(&again).await, "answer of run 2");
    office.slack.look(|world| {
        assert_eq!(world.answers(GENERAL, &ts).len(), 1);
        assert_eq!(world.said(GENERAL).len(), 2);
        assert_eq!(world.count("chat.postMessage"), 2);
    });
    assert!(office.state().await.starts_with("up since "));
    office.close().await;
}

#[tokio::test]
async fn what_does_not_mention_the_bot_is_kept_and_not_answered() {
    let office = Office::open(Slack::start(Default::default()).await.unwrap()).await;
    office.connected().await;
    office.say("nobody in particular");
    let ts = office.mention("hello");
    assert_eq!(office.answer(&ts).await, "answer of run 1");
    let kept = office.kept("SELECT content FROM messages WHERE is_from_me = 0 ORDER BY seq");
    assert_eq!(kept, ["nobody in particular", "@Andy hello"]);
    office.close().await;
}

#[tokio::test]
async fn a_chat_that_belongs_to_nobody_is_listed_and_nothing_of_it_is_kept() {
    let office = Office::open(Slack::start(Default::default()).await.unwrap()).await;
    office.connected().await;
    let bot = office.slack.options().bot_user.clone();
    office.slack.user_message(Post::new(PRIVATE, ALICE, &format!("<@{bot}> hello?")));
    office.slack.wait_for(|world| world.acked() >= 2).await;
    let chats = office.inhouse.json(&["group", "chats", "--json"]).await;
    let found = chats.as_array().unwrap().iter().find(|chat| chat["group"].is_null()).unwrap();
    assert_eq!(found["chat"], office.chat(PRIVATE).as_str());
    assert_eq!(found["name"], "#secret");
    assert_eq!(chats.as_array().unwrap().len(), 2, "{chats}");
    assert!(office.kept("SELECT content FROM messages").is_empty());
    office.slack.look(|world| assert_eq!(world.count("chat.postMessage"), 0));
    office.close().await;
}
