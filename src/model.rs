//! The words: ids and records that every other module speaks in.

mod content;
mod group;
mod id;
mod message;
mod run;

pub use content::{Content, SentFile};
pub use group::{Engage, Group, GroupSettings, InvalidGroup, MountRequest, TriggerWish, movable};
pub use id::{
    ChannelName, ChatId, Conversation, GroupName, InvalidId, MessageId, OutboxId, RequestId, RunId,
    SandboxId, Seq, SessionId, ThreadId,
};
pub use message::{
    Attachment, Found, Incoming, Kept, KeptMessage, LastKept, Mark, Message, Revision, Seen, Sender,
};
pub use run::{Activity, Receipt, RunEnd, SandboxKind, Usage};
