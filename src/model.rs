//! The words: ids and records that every other module speaks in.

mod group;
mod id;
mod message;
mod run;

pub use group::{Engage, Group, GroupSettings, MountRequest};
pub use id::{
    ChannelName, ChatId, Conversation, GroupName, InvalidId, MessageId, OutboxId, RequestId, RunId,
    SandboxId, Seq, SessionId, ThreadId,
};
pub use message::{
    Attachment, Found, Incoming, Kept, KeptMessage, LastKept, Mark, Message, Revision, Seen, Sender,
};
pub use run::{Activity, Receipt, RunEnd, SandboxKind, Usage};
