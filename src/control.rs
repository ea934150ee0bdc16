//! Control: deciding what an agent may ask, and doing it.
//!
//! The decision is a pure function of the group and the request. Who the group is comes from the directory in which
//! the request lay. What is done and that it was done are one transaction, so a request seen twice is done once.

mod emoji;
mod refusal;

use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use protocol::{Reply, Request};
use tokio::sync::Notify;
use tracing::{info, warn};

use self::refusal::{No, Refusal};
use crate::ipc::{MAX_SENT_BYTES, Outgoing};
use crate::model::{
    ChatId, Content, Conversation, GroupName, RequestId, SentFile, TriggerWish, movable,
};
use crate::run::{Asker, Requests};
use crate::store::{
    ChatRow, Effect, OutboxDraft, Registration, RequestKey, Store, StoreError, StoredReply,
};
use crate::text;

/// The most bytes of files that one group may have waiting to be sent.
const MAX_WAITING_BYTES: u64 = 8 * MAX_SENT_BYTES;
/// The most characters of what is said with a file.
const MAX_CAPTION_CHARS: usize = 3_000;
/// The most chats that are listed.
const MOST_CHATS: usize = 200;

/// Decides what agents ask, and does it.
pub(crate) struct Control {
    store: Store,
    files: Outgoing,
    outbox: Arc<Notify>,
}

/// What is done for a request, and what the agent is told.
struct Deed {
    effect: Effect,
    told: String,
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
        let done = match self.deed(asker, request).await {
            Ok(deed) => self.answer(asker, id, deed).await,
            Err(no) => Err(no),
        };
        let refusal = match done {
            Ok(reply) => return Ok(reply),
            Err(No::Refused(refusal)) => refusal,
            Err(No::Failed(StoreError::Taken { chat, owner })) => Refusal::Taken(chat, owner),
            Err(No::Failed(error)) => return Err(error),
        };
        info!(group.name = %asker.group, request.id = %id, "a request was refused");
        let reply = StoredReply { ok: false, text: refusal.to_string() };
        self.keep(asker, id, reply, Effect::Nothing).await
    }

    /// What is to be done for a request.
    async fn deed(&self, asker: &Asker, request: Request) -> Result<Deed, No> {
        let named = match &request {
            Request::SendMessage { chat, .. } | Request::SendFile { chat, .. } => chat.as_deref(),
            Request::React { .. } | Request::RegisterGroup { .. } | Request::ListChats {} => None,
        };
        let named = named.map(str::parse::<ChatId>).transpose().map_err(Refusal::from)?;
        let owner = match &named {
            Some(chat) => self.store.group_of(chat).await?.map(|group| group.name),
            None => Some(asker.group.clone()),
        };
        if !may(&asker.group, &request, owner.as_ref()) {
            return Err(named.map_or(Refusal::MainOnly, Refusal::NotYours).into());
        }
        let place = match named {
            Some(chat) => Conversation { chat, thread: None },
            None => asker.conversation.clone(),
        };
        match request {
            Request::SendMessage { text, .. } if text.trim().is_empty() => {
                Err(Refusal::Empty.into())
            }
            Request::SendMessage { text, .. } => {
                Ok(Deed::send(asker, place, Content::Text(text), "sent"))
            }
            Request::SendFile { path, caption, .. } => {
                let file = self.file(asker, path, caption.unwrap_or_default()).await?;
                Ok(Deed::send(asker, place, Content::File(file), "sent"))
            }
            Request::React { emoji } => {
                let emoji = emoji::name(&emoji).ok_or(Refusal::Emoji)?.to_owned();
                let message = self.store.answered_by(asker.run).await?.ok_or(Refusal::NoMessage)?;
                Ok(Deed::send(asker, place, Content::Reaction { emoji, message }, "sent"))
            }
            Request::RegisterGroup { chat, name, folder, trigger, requires_trigger } => {
                let group = folder.unwrap_or(name);
                let (chat, group): (ChatId, GroupName) =
                    (chat.parse().map_err(Refusal::from)?, group.parse().map_err(Refusal::from)?);
                if group.is_main() {
                    return Err(Refusal::Main.into());
                }
                movable(&chat).map_err(Refusal::from)?;
                let trigger = TriggerWish::new(&group, trigger.as_deref(), requires_trigger);
                let trigger = trigger.map_err(Refusal::from)?;
                let told = format!("the chat {chat} belongs to the group {group} now");
                let effect = Effect::Register(Registration { chat, group, trigger });
                Ok(Deed { effect, told })
            }
            Request::ListChats {} => {
                let told = listed(&self.store.newest_chats(MOST_CHATS + 1).await?);
                Ok(Deed { effect: Effect::Nothing, told })
            }
        }
    }

    /// A copy of a file that an agent wants sent.
    async fn file(&self, asker: &Asker, path: String, caption: String) -> Result<SentFile, No> {
        if caption.chars().count() > MAX_CAPTION_CHARS {
            return Err(Refusal::Caption(MAX_CAPTION_CHARS).into());
        }
        if self.store.outbox_bytes_of(&asker.group).await? + MAX_SENT_BYTES > MAX_WAITING_BYTES {
            return Err(Refusal::TooMuch.into());
        }
        let (files, group, run) = (self.files.clone(), asker.group.clone(), asker.run);
        let copied = tokio::task::spawn_blocking(move || files.copy(&group, run, &path)).await;
        let copied = copied.map_err(std::io::Error::other).flatten().map_err(|error| {
            warn!(%error, group.name = %asker.group, "a file that is to be sent could not be copied");
            Refusal::NotCopied
        });
        Ok(SentFile { caption, ..copied?.map_err(Refusal::from)? })
    }

    async fn answer(&self, asker: &Asker, id: &RequestId, deed: Deed) -> Result<Reply, No> {
        if deed.effect == Effect::Nothing {
            return Ok(Reply { id: id.to_string(), ok: true, text: deed.told });
        }
        let reply = StoredReply { ok: true, text: deed.told };
        Ok(self.keep(asker, id, reply, deed.effect).await?)
    }

    async fn keep(
        &self,
        asker: &Asker,
        id: &RequestId,
        reply: StoredReply,
        effect: Effect,
    ) -> Result<Reply, StoreError> {
        let key = RequestKey {
            conversation: asker.conversation.clone(),
            from: asker.from,
            id: id.clone(),
        };
        let copy = match &effect {
            Effect::Send(OutboxDraft { content: Content::File(file), .. }) => {
                Some(file.copy.clone())
            }
            _ => None,
        };
        let answered = self.store.answer_request(key, reply, effect).await?;
        if answered.fresh && answered.reply.ok {
            self.outbox.notify_waiters();
        }
        // It was sent, or is on its way, from the copy of the first time.
        if let Some(copy) = copy.filter(|_| !answered.fresh)
            && let Err(error) = self.files.remove(&copy)
        {
            warn!(%error, "a second copy of a file stays until the next start");
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

impl Deed {
    fn send(asker: &Asker, conversation: Conversation, content: Content, told: &str) -> Self {
        let draft = OutboxDraft { conversation, run: Some(asker.run), content };
        Self { effect: Effect::Send(draft), told: told.to_owned() }
    }
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

/// The chats, one on a line; of one more than may be listed it is only said that there are more.
fn listed(chats: &[ChatRow]) -> String {
    let mut list = String::new();
    for ChatRow { id, name, group, .. } in chats.iter().take(MOST_CHATS) {
        let name = text::one_line(name.as_deref().unwrap_or("without a name"), 80);
        let group = group.as_ref().map_or("not registered".to_owned(), |it| format!("group {it}"));
        writeln!(list, "{id} ({name}): {group}").expect("a string takes all text");
    }
    if chats.len() > MOST_CHATS {
        list.push_str("There are more, in which nothing was said of late.\n");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2026-56693: a privileged request was carried out for a group that was not privileged.
    #[test]
    fn cve_2026_56693_who_may_ask_what() {
        let (main, family, work) =
            (GroupName::main(), "family".parse().unwrap(), "work".parse().unwrap());
        let text = String::new;
        let requests = [
            Request::SendMessage { text: text(), chat: None },
            Request::SendFile { path: text(), caption: None, chat: None },
            Request::React { emoji: text() },
            Request::RegisterGroup {
                chat: text(),
                name: text(),
                folder: None,
                trigger: None,
                requires_trigger: None,
            },
            Request::ListChats {},
        ];
        for (group, owner, talk, rule) in [
            (&main, Some(&main), true, true),
            (&main, Some(&family), true, true),
            (&main, None, false, true),
            (&family, Some(&family), true, false),
            (&family, Some(&work), false, false),
            (&family, Some(&main), false, false),
            (&family, None, false, false),
        ] {
            let found = requests.each_ref().map(|request| may(group, request, owner));
            assert_eq!(found, [talk, talk, talk, rule, rule], "{group} in a chat of {owner:?}");
        }
    }

    #[test]
    fn a_list_of_chats_is_bounded_and_each_is_one_line() {
        let row = |n: usize| ChatRow {
            id: format!("slack:T1/C{n}").parse().unwrap(),
            name: Some("a\nb".to_owned()),
            group: (n == 0).then(GroupName::main),
            last_message_at: None,
        };
        let many: Vec<ChatRow> = (0..=MOST_CHATS).map(row).collect();
        let list = listed(&many);
        assert!(list.starts_with("slack:T1/C0 (a b): group main\nslack:T1/C1 (a b): not reg"));
        assert_eq!(list.lines().count(), MOST_CHATS + 1);
        assert!(list.ends_with("of late.\n"));
        assert_eq!(listed(&many[..1]).lines().count(), 1);
    }
}
