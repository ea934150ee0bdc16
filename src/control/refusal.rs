//! Why a request is not carried out.

use super::MAX_CAPTION_CHARS;
use crate::ipc::RejectReason;
use crate::model::{ChatId, InvalidGroup, InvalidId};
use crate::store::StoreError;

/// Why a request is refused, for the agent to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// There is nothing to say.
    #[error("the text is empty")]
    Empty,
    /// What it names is no chat, or no group.
    #[error("{0}")]
    NoName(#[from] InvalidId),
    /// No such chat is registered, or not to this group: which of the two is not the agent's business.
    #[error("the chat {0} is not registered for this group")]
    NotYours(ChatId),
    /// It concerns all groups.
    #[error("only the main group may ask this")]
    MainOnly,
    /// Whoever speaks there would have the rights of the main group: no agent decides that.
    #[error("the owner alone gives a chat to the main group: hermitcrab group set main --chat …")]
    Main,
    /// The group cannot be so.
    #[error("{0}")]
    Group(#[from] InvalidGroup),
    /// The file cannot be sent.
    #[error("{0}")]
    File(#[from] RejectReason),
    /// It is too long to stand beside a file.
    #[error("the caption is longer than {MAX_CAPTION_CHARS} characters; say it with send_message")]
    Caption,
    /// The fault is ours, and logged.
    #[error("the gateway could not copy the file; try again later")]
    NotCopied,
    /// Much waits already.
    #[error("too many files of this group wait to be sent; try again later")]
    TooMuch,
    /// It is no name of an emoji.
    #[error("say the emoji's name, such as thumbsup or white_check_mark")]
    Emoji,
    /// Nobody has said anything.
    #[error("there is no message to react to")]
    NoMessage,
    /// The chat belongs to another group; or else the store does not take it now, and it is asked again.
    #[error("{0}")]
    Store(#[from] StoreError),
}
