//! What an agent asks of the gateway while it works: who decides is above this layer.

use async_trait::async_trait;
use protocol::{Reply, Request};

use crate::model::{Conversation, GroupName, RequestId, RunId, Seq};

/// Who asks: known by the directory in which the request lay, never by what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The group.
    pub(crate) group: GroupName,
    /// The run.
    pub(crate) run: RunId,
    /// The conversation of the run.
    pub(crate) conversation: Conversation,
    /// The first message that the run is about.
    pub(crate) from: Seq,
}

/// Decides what agents ask, and does it.
#[async_trait]
pub(crate) trait Requests: Send + Sync {
    /// Carries out a request, or refuses it; a request seen before, be it in another attempt at the same messages, is
    /// answered again, not done again.
    ///
    /// `None` when it could not be decided now, because the store does not take it: it is asked again.
    async fn decide(&self, asker: &Asker, id: &RequestId, request: Request) -> Option<Reply>;
}
