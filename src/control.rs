//! Control: deciding what an agent may ask, and doing it.
//!
//! The decision is a pure function of the group and the request. Who the group is comes from the directory in which
//! the request lay. What is done and that it was done are one transaction, so a request seen twice is done once.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::{Reply, Request};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::model::{ChatId, Conversation, GroupName, RequestId};
use crate::run::{Asker, Requests};
use crate::store::{OutboxDraft, RequestKey, Store, StoreError, StoredReply};

/// Decides what agents ask, and does it.
pub(crate) struct Control {
    store: Store,
    outbox: Arc<Notify>,
}

/// Why a request is refused, for the agent to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// There is nothing to say.
    #[error("the text is empty")]
    Empty,
    /// What it names is no chat.
    #[error("{0}")]
    NoChat(#[from] crate::model::InvalidId),
    /// No such chat is registered, or not to this group: which of the two is not the agent's business.
    #[error("the chat {0} is not registered for this group")]
    NotYours(ChatId),
}

impl Control {
    /// Control over this store; `outbox` is told when there is something to send.
    pub(crate) fn new(store: Store, outbox: Arc<Notify>) -> Self {
        Self { store, outbox }
    }

    async fn try_decide(
        &self,
        asker: &Asker,
        id: &RequestId,
        request: Request,
    ) -> Result<Reply, StoreError> {
        let Request::SendMessage { text, chat } = request;
        let target = match self.target(asker, &text, chat.as_deref()).await? {
            Ok(target) => target,
            Err(refusal) => {
                info!(group.name = %asker.group, request.id = %id, "a request was refused");
                let reply = StoredReply { ok: false, text: refusal.to_string() };
                return self.answer(asker, id, reply, None).await;
            }
        };
        let draft = OutboxDraft { conversation: target, run: Some(asker.run), text };
        let reply = StoredReply { ok: true, text: "sent".to_owned() };
        self.answer(asker, id, reply, Some(draft)).await
    }

    async fn target(
        &self,
        asker: &Asker,
        text: &str,
        chat: Option<&str>,
    ) -> Result<Result<Conversation, Refusal>, StoreError> {
        if text.trim().is_empty() {
            return Ok(Err(Refusal::Empty));
        }
        let Some(chat) = chat else { return Ok(Ok(asker.conversation.clone())) };
        let chat = match chat.parse::<ChatId>() {
            Ok(chat) => chat,
            Err(error) => return Ok(Err(error.into())),
        };
        let owner = self.store.group_of(&chat).await?.map(|group| group.name);
        if may_write(&asker.group, owner.as_ref()) {
            Ok(Ok(Conversation { chat, thread: None }))
        } else {
            Ok(Err(Refusal::NotYours(chat)))
        }
    }

    async fn answer(
        &self,
        asker: &Asker,
        id: &RequestId,
        reply: StoredReply,
        effect: Option<OutboxDraft>,
    ) -> Result<Reply, StoreError> {
        let key = RequestKey {
            conversation: asker.conversation.clone(),
            from: asker.from,
            id: id.clone(),
        };
        let answered = self.store.answer_request(key, reply, effect).await?;
        if answered.fresh && answered.reply.ok {
            self.outbox.notify_waiters();
        }
        Ok(Reply { id: id.to_string(), ok: answered.reply.ok, text: answered.reply.text })
    }
}

#[async_trait]
impl Requests for Control {
    async fn decide(&self, asker: &Asker, id: &RequestId, request: Request) -> Option<Reply> {
        match self.try_decide(asker, id, request).await {
            Ok(reply) => Some(reply),
            Err(error) => {
                warn!(%error, group.name = %asker.group, "a request waits because it could not be kept");
                None
            }
        }
    }
}

/// Whether a group may write in a chat that belongs to `owner`: its own, and for main any registered one.
fn may_write(group: &GroupName, owner: Option<&GroupName>) -> bool {
    owner.is_some_and(|owner| group.is_main() || owner == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2026-56693: a privileged request was carried out for a group that was not privileged.
    #[test]
    fn cve_2026_56693_writing_elsewhere_is_for_main_only() {
        let (main, family, work) =
            (GroupName::main(), "family".parse().unwrap(), "work".parse().unwrap());
        for (group, owner, allowed) in [
            (&main, Some(&main), true),
            (&main, Some(&family), true),
            (&main, None, false),
            (&family, Some(&family), true),
            (&family, Some(&work), false),
            (&family, Some(&main), false),
            (&family, None, false),
        ] {
            assert_eq!(may_write(group, owner), allowed, "{group} in a chat of {owner:?}");
        }
    }
}
