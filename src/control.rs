//! Control: deciding what an agent may ask, and doing it.
//!
//! The decision is a pure function of the group and the request. Who the group is comes from the directory in which
//! the request lay. What is done and that it was done are one transaction, so a request seen twice is done once.

mod refusal;
mod words;

use std::sync::Arc;

use async_trait::async_trait;
use protocol::{Reply, Request};
use tokio::sync::Notify;
use tracing::{info, warn};

use self::refusal::Refusal;
use self::words::{MOST_CHATS, emoji_name, listed};
use crate::ipc::{MAX_SENT_BYTES, Outgoing};
use crate::model::{
    ChatId, Content, Conversation, GroupName, RequestId, SentFile, TriggerWish, movable,
};
use crate::run::{Asker, Requests};
use crate::store::{
    Effect, NewOutboxRow, Registration, RequestKey, Store, StoreError, StoredReply,
};

/// The most bytes of files that one group may have waiting to be sent.
const MAX_WAITING_BYTES: u64 = 8 * MAX_SENT_BYTES;
/// The most characters of what is said with a file.
const MAX_CAPTION_CHARS: usize = 3_000;

/// Decides what agents ask, and does it.
pub(crate) struct Control {
    store: Store,
    files: Outgoing,
    outbox: Arc<Notify>,
}

impl Control {
    /// Control over this store; `outbox` is told when there is something to send.
    pub(crate) fn new(store: Store, files: Outgoing, outbox: Arc<Notify>) -> Self {
        Self { store, files, outbox }
    }

    async fn try_decide(
        &self,
        asker: &Asker,
        id: &RequestId,
        request: Request,
    ) -> Result<Reply, StoreError> {
        // Seen again, nothing of it is done again: an agent makes it be seen as often as it likes.
        if let Some(StoredReply { ok, text }) = self.store.told(&key(asker, id)).await? {
            return Ok(Reply { id: id.to_string(), ok, text });
        }
        let done = match self.deed(asker, request).await {
            // What changes nothing need not be remembered.
            Ok((Effect::Nothing, text)) => return Ok(Reply { id: id.to_string(), ok: true, text }),
            Ok((effect, text)) => {
                let kept = self.keep(asker, id, StoredReply { ok: true, text }, effect).await;
                kept.map_err(Refusal::from)
            }
            Err(refusal) => Err(refusal),
        };
        let refusal = match done {
            Ok(reply) => return Ok(reply),
            Err(Refusal::Store(error)) if !matches!(error, StoreError::Taken { .. }) => {
                return Err(error);
            }
            Err(refusal) => refusal,
        };
        info!(group.name = %asker.group, request.id = %id, "a request was refused");
        let reply = StoredReply { ok: false, text: refusal.to_string() };
        self.keep(asker, id, reply, Effect::Nothing).await
    }

    /// What is to be done for a request, and what the agent is told then.
    async fn deed(&self, asker: &Asker, request: Request) -> Result<(Effect, String), Refusal> {
        let named = match &request {
            Request::SendMessage { chat, .. } | Request::SendFile { chat, .. } => chat.as_deref(),
            Request::React { .. } | Request::RegisterGroup { .. } | Request::ListChats {} => None,
        };
        let named = named.map(str::parse::<ChatId>).transpose()?;
        let owner = match &named {
            Some(chat) => self.store.group_of(chat).await?.map(|group| group.name),
            None => Some(asker.group.clone()),
        };
        if !may(&asker.group, &request, owner.as_ref()) {
            return Err(named.map_or(Refusal::MainOnly, Refusal::NotYours));
        }
        let content = match request {
            Request::SendMessage { text, .. } if text.trim().is_empty() => {
                return Err(Refusal::Empty);
            }
            Request::SendMessage { text, .. } => Content::Text(text),
            Request::SendFile { path, caption, .. } => {
                Content::File(self.file(asker, path, caption.unwrap_or_default()).await?)
            }
            Request::React { emoji } => {
                let emoji = emoji_name(&emoji).ok_or(Refusal::Emoji)?.to_owned();
                let message = self.store.answered_by(asker.run).await?.ok_or(Refusal::NoMessage)?;
                Content::Reaction { emoji, message }
            }
            Request::RegisterGroup { chat, name, folder, trigger, requires_trigger } => {
                let chat: ChatId = chat.parse()?;
                let group: GroupName = folder.unwrap_or(name).parse()?;
                if group.is_main() {
                    return Err(Refusal::Main);
                }
                movable(&chat)?;
                let trigger = TriggerWish::new(&group, trigger.as_deref(), requires_trigger)?;
                let told = format!("the chat {chat} belongs to the group {group} now");
                return Ok((Effect::Register(Registration { chat, group, trigger }), told));
            }
            Request::ListChats {} => {
                let chats = self.store.newest_chats(MOST_CHATS + 1).await?;
                return Ok((Effect::Nothing, listed(&chats)));
            }
        };
        let conversation = match named {
            Some(chat) => Conversation { chat, thread: None },
            None => asker.conversation.clone(),
        };
        let new = NewOutboxRow { conversation, run: Some(asker.run), content };
        Ok((Effect::Send(new), "it will be sent".to_owned()))
    }

    /// A copy of a file that an agent wants sent.
    async fn file(
        &self,
        asker: &Asker,
        path: String,
        caption: String,
    ) -> Result<SentFile, Refusal> {
        if caption.chars().count() > MAX_CAPTION_CHARS {
            return Err(Refusal::Caption);
        }
        let waiting = self.store.outbox_files().await?.into_iter();
        let waiting = waiting.filter(|(group, _)| group.as_ref() == Some(&asker.group));
        let waiting: u64 = waiting.map(|(_, file)| file.bytes).sum();
        if waiting + MAX_SENT_BYTES > MAX_WAITING_BYTES {
            return Err(Refusal::TooMuch);
        }
        let (files, group, run) = (self.files.clone(), asker.group.clone(), asker.run);
        let copied = tokio::task::spawn_blocking(move || files.copy(&group, run, &path)).await;
        let copied = copied.map_err(std::io::Error::other).flatten().map_err(|error| {
            warn!(%error, group.name = %asker.group, "a file that is to be sent could not be copied");
            Refusal::NotCopied
        });
        // From here on it is asked for without a pause, and `keep` removes it where it gets no row.
        Ok(SentFile { caption, ..copied??.keep() })
    }

    async fn keep(
        &self,
        asker: &Asker,
        id: &RequestId,
        reply: StoredReply,
        effect: Effect,
    ) -> Result<Reply, StoreError> {
        let copy = match &effect {
            Effect::Send(NewOutboxRow { content: Content::File(file), .. }) => {
                Some(file.copy.clone())
            }
            _ => None,
        };
        let answered = self.store.answer_request(key(asker, id), reply, effect).await;
        let has_row = match &answered {
            Ok(answered) => answered.fresh,
            // Only of a store that ends it is not known.
            Err(error) => matches!(error, StoreError::Closed),
        };
        if let Some(copy) = copy.filter(|_| !has_row)
            && let Err(error) = self.files.remove(&copy)
        {
            warn!(%error, "a copy of a file stays until the next start");
        }
        let answered = answered?;
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

/// Which request it is.
fn key(asker: &Asker, id: &RequestId) -> RequestKey {
    RequestKey { conversation: asker.conversation.clone(), from: asker.from, id: id.clone() }
}

/// Whether a group may ask this. What it says goes to chats of its own, and for main to any registered one: `owner` is
/// the group of the chat that the request names, or of the conversation. What concerns all groups is for main only.
fn may(group: &GroupName, request: &Request, owner: Option<&GroupName>) -> bool {
    match request {
        Request::SendMessage { .. } | Request::SendFile { .. } | Request::React { .. } => {
            owner.is_some_and(|owner| group.is_main() || owner == group)
        }
        Request::RegisterGroup { .. } | Request::ListChats {} => group.is_main(),
    }
}

#[cfg(test)]
mod tests;
