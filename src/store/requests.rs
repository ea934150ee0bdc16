//! What agents ask for: each request is carried out once, and answered as often as it is seen.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::Store;
use super::error::{Step, StoreError};
use super::groups::{insert, look_up, register, replace};
use super::outbox::{self, NewOutboxRow};
use super::values::{Millis, thread_key};
use super::writer::name;
use crate::model::{ChatId, Conversation, Group, GroupName, RequestId, Seq, TriggerWish};

/// Which request: its id is the agent's word, and counts only within the attempts at the same messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    /// The conversation whose agent asks.
    pub(crate) conversation: Conversation,
    /// The first of the messages.
    pub(crate) from: Seq,
    /// The request.
    pub(crate) id: RequestId,
}

/// What the agent was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredReply {
    /// Whether it was done.
    pub(crate) ok: bool,
    /// What was done, or why it was not.
    pub(crate) text: String,
}

/// What a request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it was refused.
    Nothing,
    /// Something is to be sent.
    Send(NewOutboxRow),
    /// A chat is given to a group.
    Register(Registration),
}

/// A chat that is to belong to a group, which is made when there is none of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    /// The chat.
    pub(crate) chat: ChatId,
    /// The group.
    pub(crate) group: GroupName,
    /// What is to wake the assistant in the group.
    pub(crate) trigger: TriggerWish,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// What the agent is to be told, now or again.
    pub(crate) reply: StoredReply,
    /// Whether the request was new, and its effect took place.
    pub(crate) fresh: bool,
}

impl Store {
    /// What an agent was told when it asked this before.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn told(
        &self,
        request: &RequestKey,
    ) -> Result<Option<StoredReply>, StoreError> {
        let request = request.clone();
        self.read("look for a request", move |connection| told(connection, &request)).await
    }

    /// Answers a request and has its effect, in one transaction; a request that was seen before has no effect and gets
    /// the answer of the first time.
    ///
    /// # Errors
    /// When it is not on disk, and [`StoreError::Taken`] when the effect is not possible.
    pub(crate) async fn answer_request(
        &self,
        request: RequestKey,
        reply: StoredReply,
        effect: Effect,
    ) -> Result<Answered, StoreError> {
        let now = self.now();
        self.write(name!("answer_request", "answer a request"), move |connection| {
            if let Some(reply) = told(connection, &request)? {
                return Ok(Answered { reply, fresh: false });
            }
            let RequestKey { conversation: Conversation { chat, thread }, from, id } = &request;
            let thread = thread_key(thread.as_ref());
            let sql = "INSERT INTO requests (chat_id, thread, from_seq, id, ok, text, created_at)
                       VALUES (:chat, :thread, :from, :id, :ok, :text, :now)";
            connection.prepare_cached(sql)?.execute(named_params! {
                ":chat": chat, ":thread": thread, ":from": from, ":id": id,
                ":ok": reply.ok, ":text": reply.text, ":now": Millis(now),
            })?;
            match &effect {
                Effect::Nothing => {}
                Effect::Send(new) => drop(outbox::insert(connection, new, None, now)?),
                Effect::Register(registration) => enrol(connection, registration, now)?,
            }
            Ok(Answered { reply, fresh: true })
        })
        .await
    }
}

/// What was said to a request.
fn told(connection: &Connection, request: &RequestKey) -> Step<Option<StoredReply>> {
    let RequestKey { conversation: Conversation { chat, thread }, from, id } = request;
    let sql = "SELECT ok, text FROM requests
               WHERE chat_id = ?1 AND thread = ?2 AND from_seq = ?3 AND id = ?4";
    let known = connection
        .prepare_cached(sql)?
        .query_row(params![chat, thread_key(thread.as_ref()), from, id], |row| {
            Ok(StoredReply { ok: row.get(0)?, text: row.get(1)? })
        });
    Ok(known.optional()?)
}

/// Gives a chat to a group.
fn enrol(connection: &Connection, wanted: &Registration, now: Timestamp) -> Step<()> {
    let Registration { chat, group: name, trigger } = wanted;
    let before = look_up(connection, name)?;
    let mut group = before.clone().unwrap_or_else(|| Group::new(name.clone()));
    trigger.apply_to(&mut group);
    match before {
        None => insert(connection, &group, now)?,
        Some(before) if before != group => replace(connection, name, &group)?,
        Some(_) => {}
    }
    register(connection, chat, name, now)
}
