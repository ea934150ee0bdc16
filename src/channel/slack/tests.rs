//! The contract of channels over Socket Mode, with our own test server on the other side.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use test_servers::slack::{ALICE, DM, Options, Post, Slack as Server, World};
use tokio::task::JoinSet;

use super::*;
use crate::channel::contract::{RecordingIntake, Venue, channel_contract};
use crate::channel::{Kept, NotKept};
use crate::config::SlackTokens;

/// Alice, who writes to the bot.
struct Alice {
    server: Server,
    slack: Arc<Slack>,
    intake: Arc<RecordingIntake>,
    /// The messages that she has written, by the names that the contract gives them.
    said: Mutex<HashMap<String, String>>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Alice {
    /// Slack tells of a message, for the first time or once more.
    fn tell(&self, id: &str, text: &str) -> String {
        let mut said = self.said.lock().unwrap();
        let Some(ts) = said.get(id) else {
            let ts = self.server.user_message(Post::new(DM, ALICE, text));
            said.insert(id.to_owned(), ts.clone());
            return ts;
        };
        let mut event = self.server.look(|world| world.message(DM, ts).unwrap().json().clone());
        event["channel"] = json!(DM);
        event["channel_type"] = json!("im");
        self.server.emit(&event);
        ts.clone()
    }
}

#[async_trait]
impl Venue for Alice {
    async fn open(intake: Arc<RecordingIntake>) -> Self {
        let options = Options::default().impatient(Duration::from_secs(1), 3);
        let server = Server::start(options).await.unwrap();
        let (bot, app) = (&server.options().bot_token, &server.options().app_token);
        let tokens = SlackTokens { name: None, bot: bot.as_str().into(), app: app.as_str().into() };
        let settings = SlackSettings { api_url: server.api_url(), workspaces: vec![tokens] };
        let slack = Slack::new(&settings, "Andy", crate::clock::system(), Pace::default());
        let slack = Arc::new(slack.unwrap());
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let (runs, kept, token) = (Arc::clone(&slack), Arc::clone(&intake), stop.clone());
        running.spawn(async move { runs.run(&*kept, token).await });
        server.wait_for(|world| world.sockets() == 1).await;
        while !matches!(slack.state(), ChannelState::Up { .. }) {
            tokio::task::yield_now().await;
        }
        Self { server, slack, intake, said: Mutex::default(), stop, running }
    }

    fn channel(&self) -> &dyn Channel {
        &*self.slack
    }

    fn conversation(&self) -> Conversation {
        let chat = format!("slack:{}/{DM}", self.server.options().team_id);
        Conversation { chat: chat.parse().unwrap(), thread: None }
    }

    fn id_of(&self, said: &str) -> String {
        self.said.lock().unwrap()[said].clone()
    }

    /// An ack is all that Slack is told: it comes when the message is kept, and else Slack brings the message again.
    async fn say(&self, id: &str, text: &str) -> Result<Kept, NotKept> {
        let ts = self.tell(id, text);
        let latest = |world: &World| {
            let mut told = world.deliveries().iter().rev();
            told.find(|delivery| delivery.ts == ts && delivery.attempt == 0)
                .unwrap()
                .event_id
                .clone()
        };
        let event = self.server.look(latest);
        let became = |world: &World| {
            let attempts: Vec<_> =
                world.deliveries().iter().filter(|it| it.event_id == event).collect();
            let acked = attempts.iter().any(|attempt| attempt.acked.is_some());
            (acked || attempts.len() > 1).then_some(acked)
        };
        let acked = self.server.wait_some(became).await;
        let outcome = self.intake.outcome().unwrap();
        assert_eq!(acked, outcome.is_ok(), "acked, and {outcome:?}");
        outcome
    }

    async fn shown(&self, count: usize) -> Vec<String> {
        self.server.wait_for(|world| world.said(DM).len() >= count).await;
        let texts = |world: &World| world.said(DM).iter().map(|it| it.text().to_owned()).collect();
        self.server.look(texts)
    }

    async fn close(mut self) {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap();
        self.server.stop().await;
    }
}

channel_contract!(Alice);
