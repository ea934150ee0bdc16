//! What comes over the line to the gateway.

use serde_json::Value;

use crate::channel::terminal::wire::{Ends, GatewayFrame, WelcomeInfo};

/// What comes over the line.
#[derive(Debug)]
pub(in crate::cli::chat) enum Event {
    /// The gateway is there.
    Welcome(WelcomeInfo),
    /// The gateway does not want this chat.
    Refused(String),
    /// The gateway is gone; it is called again.
    Lost,
    /// A message is on disk.
    Kept {
        /// Which.
        id: String,
        /// Its place in the order of arrival.
        seq: u64,
        /// Whether an answer will come.
        addressed: bool,
    },
    /// A message could not be kept.
    NotKept {
        /// Which.
        id: String,
        /// What it said, and why it was not.
        unkept: Unkept,
    },
    /// What the assistant is doing.
    Activity(GatewayFrame),
    /// An answer; to be confirmed with [`super::Link::shown`].
    Answer(Answer),
    /// Another terminal has said this.
    Said(String),
    /// Another terminal has shown this answer.
    Taken(u64),
    /// The gateway's state.
    State(Value),
}

/// A message that the gateway did not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::chat) struct Unkept {
    /// What it said.
    pub(in crate::cli::chat) text: String,
    /// Why it was not kept.
    pub(in crate::cli::chat) reason: String,
}

/// What the assistant says for good.
#[derive(Debug, Clone)]
pub(in crate::cli::chat) struct Answer {
    /// The row of the outbox.
    pub(in crate::cli::chat) outbox: u64,
    /// What it says.
    pub(in crate::cli::chat) text: String,
    /// The last message that the run which says it was given.
    pub(in crate::cli::chat) through: Option<u64>,
    /// Set when it ends a run.
    pub(in crate::cli::chat) ends: Option<Ends>,
}

impl Answer {
    /// Whether it comes from a run that ended, or had begun, before this message.
    pub(in crate::cli::chat) fn is_earlier_than(&self, seq: u64) -> bool {
        self.ends.map(|ends| ends.through).or(self.through).is_some_and(|through| through < seq)
    }
}
