//! Messages.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ChatId, Conversation, GroupName, MessageId, Seq, ThreadId};

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The person, as the channel names them.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// Whether the platform says that they do not belong to those whose chat it is: a guest, a stranger, somebody of
    /// another organisation. Such a person wakes the assistant only where they are named.
    pub outside: bool,
}

/// A file that was sent with a message, and lies in the folder of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name as people see it.
    pub name: String,
    /// Where it lies, relative to the group's folder: `files/…`.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its media type, as the platform tells it: `image/png`.
    pub kind: String,
    /// Its own id on the platform, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The group in whose folder it lies, whichever the chat belongs to by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
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
    /// The files that came with it; they lie there before the message is handed over.
    pub attachments: Vec<Attachment>,
    /// Whether the platform itself says that it is meant for the assistant: a real mention, a direct message.
    pub addressed: bool,
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
    /// Whether it was said before the assistant was called, and is handed over now so that a run is told of it: whatever
    /// it says, it wakes nobody.
    pub context: bool,
}

/// A message that the store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// Its place in the order of arrival.
    pub seq: Seq,
    /// The message, as it is now.
    pub message: Message,
    /// What became of it since it was said.
    pub revision: Revision,
    /// Whether it is there for the prompt only, and wakes nobody.
    pub context: bool,
}

/// What became of a message since it was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Revision {
    /// It stands as it was said.
    #[default]
    Original,
    /// Its writer has changed its text.
    Edited,
    /// Somebody has deleted it: there is neither text nor file any more.
    Deleted,
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

/// Whether a message that was changed is one that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is, and follows the change.
    Kept,
    /// Nothing is known of it.
    Unknown,
}

/// How far the messages of a chat, or of a thread of it, go that were kept before a connection was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The chat as a whole, its threads among it, or one of its threads.
    pub place: Conversation,
    /// The last message that was kept; none where nobody has said anything yet.
    pub last: Option<LastKept>,
    /// Since when the chat is registered: what was said before is not looked for.
    pub since: Timestamp,
}

/// The last message that was kept of a chat or a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastKept {
    /// Its id on the channel.
    pub id: MessageId,
    /// When it was said, by the platform's clock.
    pub sent_at: Timestamp,
}
