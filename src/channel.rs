//! Channels: the messaging services that we are connected to, behind one small trait.
//!
//! A channel turns wire events into messages and hands them to an [`Intake`], which keeps them; only when the
//! intake has said so may the platform be told that we have them. What only one platform can do stays in its
//! adapter, and a fault in one channel is nobody else's.

#[cfg(test)]
mod contract;
#[cfg(any(test, feature = "fakes"))]
pub mod fake;
mod registry;
#[cfg(feature = "slack")]
pub mod slack;
mod state;
pub(crate) mod terminal;

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use crate::model::{Content, Found, Kept, Mark, RunEnd, SentFile};
pub(crate) use registry::Channels;
pub use state::ChannelState;

use crate::model::{
    Activity, Attachment, ChannelName, ChatId, Conversation, GroupName, Incoming, Message,
    MessageId, OutboxId, Receipt, Seq,
};

/// A messaging service.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name, the first part of its chats' ids.
    fn name(&self) -> &ChannelName;

    /// The state of its connection now.
    fn state(&self) -> ChannelState;

    /// Stays connected and hands over what is said, until `stop`.
    async fn run(&self, intake: &dyn Intake, stop: CancellationToken);

    /// Sends one message, and returns when the platform has said that it has it.
    ///
    /// # Errors
    /// [`SendError`] says whether and when to try again.
    async fn send(&self, parcel: &Parcel) -> Result<Receipt, SendError>;

    /// Looks whether a message whose sending was interrupted has arrived.
    ///
    /// # Errors
    /// When the platform cannot be asked now.
    async fn find(&self, parcel: &Parcel) -> Result<Option<Receipt>, SendError>;

    /// Shows what the assistant is doing; a failure to show it is nobody's loss.
    async fn show(&self, conversation: &Conversation, activity: &Activity);
}

/// Where a channel hands messages over.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Whether a chat belongs to a group. Of one that does not, no message is wanted: it is [noted](Intake::note), and
    /// nothing more is to be found out about what is said in it.
    ///
    /// # Errors
    /// When the store does not tell.
    async fn registered(&self, chat: &ChatId) -> Result<bool, NotKept>;

    /// Notes that a chat exists, what people call it, and when something was said in it last.
    ///
    /// # Errors
    /// When that could not be kept; the platform must not be told that we have it.
    async fn note(
        &self,
        chat: &ChatId,
        name: Option<String>,
        last: Timestamp,
    ) -> Result<(), NotKept>;

    /// Makes a place for a file of a message that is to be kept, in the folder of the chat's group: the `number`th of
    /// the message, counted from 0, with the name that somebody gave it.
    ///
    /// # Errors
    /// When the store does not tell.
    async fn receive(&self, of: &Message, number: usize, name: &str) -> Result<Room, NotKept>;

    /// A message as it is kept.
    ///
    /// # Errors
    /// When the store does not tell.
    async fn find(&self, chat: &ChatId, message: &MessageId) -> Result<Option<Message>, NotKept>;

    /// Keeps a message; when this returns, it is on disk.
    ///
    /// # Errors
    /// When it could not be kept; the platform must not be told that we have it.
    async fn keep(&self, incoming: Incoming) -> Result<Kept, NotKept>;

    /// Gives a kept message the text that its writer has changed it to, and leaves it these of its files; when this
    /// returns, it is on disk. Tells whether there is such a message: of a chat that belongs to no group there is none.
    ///
    /// # Errors
    /// When that could not be kept; the platform must not be told that we have it.
    async fn amend(
        &self,
        chat: &ChatId,
        message: &MessageId,
        text: String,
        files: Vec<Attachment>,
    ) -> Result<Found, NotKept>;

    /// Forgets the text and the files of a kept message that was deleted, and keeps only that there was one; when this
    /// returns, it is on disk.
    ///
    /// # Errors
    /// When that could not be kept; the platform must not be told that we have it.
    async fn retract(&self, chat: &ChatId, message: &MessageId) -> Result<Found, NotKept>;

    /// How far the messages go that are kept of a channel's registered chats, or of `one` of them, and of their threads in
    /// which somebody has said something since `threads_since`, by the platform's clock: where to look for what was said
    /// while we were away.
    ///
    /// It is asked at each connect, *before* anything that comes in then is handed over, and of one chat when a message
    /// of it could not be kept, before anything later is: what is kept meanwhile moves no mark. A mark stays where it was, over restarts too, until [`Intake::caught_up`] is said of it.
    ///
    /// # Errors
    /// When the store does not tell.
    async fn marks(
        &self,
        channel: &ChannelName,
        one: Option<&ChatId>,
        threads_since: Timestamp,
    ) -> Result<Vec<Mark>, NotKept>;

    /// Notes that everything is kept that was said after a mark and before the connect.
    ///
    /// # Errors
    /// When that could not be kept; at the next connect it is looked for again.
    async fn caught_up(&self, place: &Conversation) -> Result<(), NotKept>;

    /// Keeps that a message of ours is shown in a conversation which is no answer yet; when this returns, it is on disk.
    ///
    /// # Errors
    /// When that could not be kept; the message must not be shown.
    async fn drafted(&self, place: &Conversation, message: &MessageId) -> Result<(), NotKept>;

    /// Forgets such a message: it has become an answer, or is gone.
    ///
    /// # Errors
    /// When that could not be kept; at the next start it is looked at again.
    async fn settled(&self, place: &Conversation, message: &MessageId) -> Result<(), NotKept>;

    /// Such messages of a channel: what an earlier process left half written.
    ///
    /// # Errors
    /// When the store does not tell.
    async fn drafts(
        &self,
        channel: &ChannelName,
    ) -> Result<Vec<(Conversation, MessageId)>, NotKept>;

    /// Asks for the end of the run of a conversation, if there is one.
    async fn cancel(&self, conversation: &Conversation);
}

/// What becomes of a file that came with a message.
pub enum Room {
    /// There is a place for it.
    Here(Box<dyn FileSink>),
    /// It is not wanted: the chat belongs to no group, or the message is kept already.
    Unwanted,
    /// It is not taken, for this reason.
    Refused(String),
}

/// A file on its way into the folder of a group; dropped, it leaves nothing behind.
#[async_trait]
pub trait FileSink: Send {
    /// Takes what comes next.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Takes the file for whole, and returns the group and its path in the group's folder; when this returns, it is on
    /// disk.
    ///
    /// # Errors
    /// When it cannot be put there.
    async fn settle(self: Box<Self>) -> io::Result<(GroupName, PathBuf)>;
}

/// A message could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message could not be kept: {reason}")]
pub struct NotKept {
    /// Why, for the person who wrote it.
    pub reason: String,
}

/// A row of the outbox on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The row; the platform deduplicates by it where it can.
    pub id: OutboxId,
    /// Where it goes.
    pub conversation: Conversation,
    /// What it carries.
    pub content: Content,
    /// What the platform calls what it has of it, from an earlier [`SendError::Begun`].
    pub begun: Option<String>,
    /// The last message of the conversation that the run which wrote it was given.
    pub through: Option<Seq>,
    /// Whether it ends the run that wrote it, and how.
    pub ends: Option<RunEnd>,
    /// When it was put into the outbox, by our clock: it cannot have arrived much before.
    pub created_at: Timestamp,
}

/// A message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody is there to take it; it is tried again when the channel says [`ChannelState::Up`] or somebody comes.
    #[error("nobody is there to take the message")]
    Absent,
    /// It may work later.
    #[error("the message was not taken: {reason}")]
    Later {
        /// What happened.
        reason: String,
        /// When the platform wants to be asked again.
        retry_at: Option<Timestamp>,
    },
    /// The connection broke while sending: it may or may not have arrived.
    #[error("it is unknown whether the message arrived: {reason}")]
    Doubtful {
        /// What happened.
        reason: String,
        /// When the platform wants to be asked again.
        retry_at: Option<Timestamp>,
    },
    /// The platform has it and shows it to nobody yet. To be noted, and sent on as [`Parcel::begun`]: by this name it is
    /// found again.
    #[error("the message was begun, and not sent")]
    Begun {
        /// The platform's name for it.
        name: String,
    },
    /// It will never work.
    #[error("the message was refused: {reason}")]
    Refused {
        /// Why, for the log.
        reason: String,
        /// Why, for the people of its chat, when it is about this message alone; `None` where the chat takes nothing.
        for_chat: Option<String>,
    },
}
