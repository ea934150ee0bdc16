//! Messages.

use jiff::Timestamp;

use super::{ChatId, Conversation, MessageId, Seq, ThreadId};

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The person, as the channel names them.
    pub id: String,
    /// The name that people see.
    pub name: String,
}

/// One utterance in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The chat it was said in.
    pub chat: ChatId,
    /// The thread it was said in.
    pub thread: Option<ThreadId>,
    /// Its id on the channel; a redelivery bears the same.
    pub id: MessageId,
    /// Who said it.
    pub sender: Sender,
    /// What was said.
    pub text: String,
    /// When, by the platform's clock: for display, never for order.
    pub sent_at: Timestamp,
    /// Whether the assistant itself said it.
    pub from_me: bool,
}

impl Message {
    /// The conversation it belongs to.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        Conversation { chat: self.chat.clone(), thread: self.thread.clone() }
    }
}

/// A message as a channel hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// The chat's name for people, where the channel knows it.
    pub chat_name: Option<String>,
}

/// A message that the store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// Its place in the order of arrival.
    pub seq: Seq,
    /// The message.
    pub message: Message,
}

/// How far the router has looked in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The last message that it looked at.
    pub through: Seq,
    /// The last one that was addressed to the assistant.
    pub triggered: Seq,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    Fresh(Seq),
    /// It was there already: a redelivery.
    Known(Seq),
    /// Its chat belongs to no group: only the chat's existence was noted.
    Unregistered,
}
