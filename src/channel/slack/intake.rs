//! Intake: what Slack tells us, read, and kept before it is acked.
//!
//! Each chat has a lane: what is said in it is kept in the order in which it came, however long the names of one
//! message take to look up. A message comes twice when it mentions the bot, and again when an ack was lost; it is
//! one message, named by its chat and its time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::read::text;
use super::workspace::Workspace;
use crate::channel::{Intake, NotKept};
use crate::model::{Incoming, Message, Sender};

/// Where a workspace's messages are handed over.
pub(super) struct Inlet<'a> {
    workspace: &'a Workspace,
    intake: &'a dyn Intake,
    /// One for each Slack channel that has been heard of; an app is in no more than it was invited to.
    lanes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl<'a> Inlet<'a> {
    /// The inlet of a workspace.
    pub(super) fn new(workspace: &'a Workspace, intake: &'a dyn Intake) -> Self {
        Self { workspace, intake, lanes: Mutex::default() }
    }

    /// Notes that a new socket is connected.
    pub(super) fn connected(&self) {}

    /// Takes an envelope; tells whether it is done with, so that it may be acked.
    pub(super) async fn accept(&self, envelope: Value) -> bool {
        let Some(event) = envelope.pointer("/payload/event") else { return true };
        match self.event(event).await {
            Ok(()) => true,
            Err(NotKept { reason }) => {
                tracing::warn!(channel.name = "slack", reason, "not kept, and not acked");
                false
            }
        }
    }

    async fn event(&self, event: &Value) -> Result<(), NotKept> {
        let (kind, channel) = (text(event, "type"), text(event, "channel"));
        if !["message", "app_mention"].contains(&kind) || channel.is_empty() {
            return Ok(());
        }
        let lane = self.lane(channel);
        let _turn = lane.lock().await;
        let Some(incoming) = self.message(channel, event) else { return Ok(()) };
        let kept = self.intake.keep(incoming).await?;
        tracing::debug!(channel.name = "slack", ?kept, "a message");
        Ok(())
    }

    fn lane(&self, channel: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(channel.to_owned()).or_default().clone()
    }

    fn message(&self, channel: &str, event: &Value) -> Option<Incoming> {
        let identity = self.workspace.identity()?;
        let (user, ts) = (text(event, "user"), text(event, "ts"));
        if user.is_empty() || user == identity.user || event.get("bot_id").is_some() {
            return None;
        }
        let mention = format!("<@{}>", identity.user);
        let words = text(event, "text");
        let mentioned = words.contains(&mention);
        let thread = match text(event, "thread_ts") {
            "" if mentioned && !channel.starts_with('D') => Some(ts),
            "" => None,
            root => Some(root),
        };
        let message = Message {
            chat: self.workspace.chat(channel)?,
            thread: thread.and_then(|thread| thread.parse().ok()),
            id: ts.parse().ok()?,
            sender: Sender { id: user.to_owned(), name: user.to_owned() },
            text: words.replace(&mention, &format!("@{}", self.workspace.assistant)),
            sent_at: self.workspace.clock.now(),
            from_me: false,
        };
        Some(Incoming { message, chat_name: None })
    }
}
