//! Why a request is not carried out.

use crate::ipc::FileRefusal;
use crate::model::{ChatId, GroupName, InvalidGroup, InvalidId};
use crate::store::StoreError;

/// Why a request is refused, for the agent to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    #[error(
        "a chat is given to the main group by the owner only: hermitcrab group set main --chat …"
    )]
    Main,
    /// The group cannot be so.
    #[error("{0}")]
    Group(#[from] InvalidGroup),
    /// The chat belongs to another group.
    #[error(
        "the chat {0} belongs to the group {1}; the owner can take it from there: \
         hermitcrab group set {1} --remove-chat {0}"
    )]
    Taken(ChatId, GroupName),
    /// The file cannot be sent.
    #[error("{0}")]
    File(#[from] FileRefusal),
    /// It is too long to stand beside a file.
    #[error("the caption is longer than {0} characters; say it with send_message")]
    Caption(usize),
    /// The fault is ours, and logged.
    #[error("the gateway could not copy the file; try again later")]
    NotCopied,
    /// Much waits already.
    #[error("too many files of this group wait to be sent; try again later")]
    TooMuch,
    /// It is no name of an emoji.
    #[error("this emoji is not known here; say its name, such as thumbsup or white_check_mark")]
    Emoji,
    /// Nobody has said anything.
    #[error("there is no message to react to")]
    NoMessage,
}

/// Why a request is not carried out now.
#[derive(Debug)]
pub(super) enum No {
    /// It never will be.
    Refused(Refusal),
    /// The store does not take it; it is asked again.
    Failed(StoreError),
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
