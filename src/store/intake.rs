//! Messages in, and messages as they were said.

use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::Store;
use super::error::{Step, StoreError};
use super::router::{Unseen, look_again};
use super::values::{Count, Millis, revision, thread, thread_key, time};
use super::writer::name;
use crate::model::{
    Attachment, ChatId, Conversation, Incoming, Kept, KeptMessage, Message, MessageId, Revision,
    Sender, Seq,
};

/// How long the time of an unregistered chat's last message may lag, so that its messages cost no writing.
const LAG_MS: i64 = 60_000;

/// How many bytes of text are held at a time for the router or a run, however much a chat has.
pub(super) const MOST_TEXT: usize = 4 * 1024 * 1024;

impl Store {
    /// Keeps a message of a registered chat, once; of another chat only that it exists. What is also returned is to be
    /// looked at once more: the platform says only now that it is meant for the assistant, and the router may have seen it.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn keep(
        &self,
        incoming: Incoming,
    ) -> Result<(Kept, Option<Unseen>), StoreError> {
        self.write(name!("keep", "keep a message"), move |connection| keep(connection, &incoming))
            .await
    }

    /// Notes that a chat exists, its name where that is known, and the time of its last message.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn note(
        &self,
        chat: &ChatId,
        chat_name: Option<String>,
        last: Timestamp,
    ) -> Result<(), StoreError> {
        let chat = chat.clone();
        self.write(name!("note", "note a chat"), move |connection| {
            note_chat(connection, &chat, chat_name.as_deref(), Some(last)).map(drop)
        })
        .await
    }

    /// A message that is kept, whether or not its chat still belongs to a group.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn message(
        &self,
        chat: &ChatId,
        id: &MessageId,
    ) -> Result<Option<KeptMessage>, StoreError> {
        let (chat, id) = (chat.clone(), id.clone());
        self.read("look up a message", move |connection| look_up(connection, &chat, &id)).await
    }

    /// The messages of a conversation after `after`, oldest first, the assistant's own among them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn messages(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<KeptMessage>, StoreError> {
        let conversation = conversation.clone();
        self.read("read messages", move |connection| {
            let sql = "SELECT * FROM messages WHERE chat_id = ?1 AND thread = ?2 AND seq > ?3
                       ORDER BY seq LIMIT ?4";
            let thread = thread_key(conversation.thread.as_ref());
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement
                .query_map(params![conversation.chat, thread, after, Count::of(limit)], message)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn keep(connection: &Connection, incoming: &Incoming) -> Step<(Kept, Option<Unseen>)> {
    let Incoming { message, chat_name, .. } = incoming;
    if !note_chat(connection, &message.chat, chat_name.as_deref(), Some(message.sent_at))? {
        return Ok((Kept::Unregistered, None));
    }
    // Looked up first, because an insert that finds the row there would use up a number all the same.
    if let Some(known) = look_up(connection, &message.chat, &message.id)? {
        return again(connection, incoming, &known);
    }
    insert(connection, incoming)?;
    Ok((Kept::Fresh(newest(connection, message)?), None))
}

/// Follows the second word of a message that is kept. One that was kept as context, and of which the platform itself
/// says now that it is meant for the assistant, takes its place as if it came only now: the run of another message, which
/// was told of it, answers that other one.
fn again(
    connection: &Connection,
    incoming: &Incoming,
    known: &KeptMessage,
) -> Step<(Kept, Option<Unseen>)> {
    let Incoming { message, context, .. } = incoming;
    let seq = known.seq;
    if !known.context || *context {
        let unseen = if message.addressed { address(connection, seq)? } else { None };
        return Ok((Kept::Known(seq), unseen));
    }
    if !message.addressed || known.revision == Revision::Deleted {
        let sql = "UPDATE messages SET context = 0, sender_outside = ?2 WHERE seq = ?1 RETURNING *";
        let values = params![seq, message.sender.outside];
        let kept = connection.prepare_cached(sql)?.query_row(values, self::message)?;
        return Ok((Kept::Known(seq), look_again(connection, kept)?));
    }
    let sql = "INSERT OR REPLACE INTO messages
                   (chat_id, thread, id, sender, sender_name, sender_outside, timestamp, is_from_me, addressed,
                    content, attachments, revision)
               SELECT chat_id, thread, id, sender, ?2, ?3, timestamp, is_from_me, 1,
                      iif(revision IS NULL, ?4, content), ?5, revision
               FROM messages WHERE seq = ?1";
    let Message { sender, text, attachments, .. } = message;
    let files = json(attachments)?;
    let values = params![seq, sender.name, sender.outside, text, files];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok((Kept::Fresh(newest(connection, &known.message)?), None))
}

fn insert(connection: &Connection, incoming: &Incoming) -> Step<()> {
    let Incoming { message, context, .. } = incoming;
    let (chat, thread) = (&message.chat, thread_key(message.thread.as_ref()));
    let Message { id, sender, text, addressed, sent_at, from_me, .. } = message;
    let sql = "INSERT INTO messages
                   (chat_id, thread, id, sender, sender_name, sender_outside, timestamp, is_from_me, addressed,
                    content, attachments, context)
               VALUES (:chat, :thread, :id, :sender, :name, :outside, :time, :from_me, :addressed,
                       :text, :attachments, :context)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":chat": chat, ":thread": thread, ":id": id,
        ":sender": sender.id, ":name": sender.name, ":outside": sender.outside,
        ":time": Millis(*sent_at), ":from_me": from_me, ":addressed": addressed,
        ":text": text, ":attachments": json(&message.attachments)?, ":context": context,
    })?;
    Ok(())
}

/// The number of the message that was just inserted, which is the last of its conversation from now on.
fn newest(connection: &Connection, message: &Message) -> Step<Seq> {
    let seq = Seq(connection.last_insert_rowid().cast_unsigned());
    if !message.from_me {
        let sql = "INSERT INTO router_state (chat_id, thread, last_seq) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET last_seq = excluded.last_seq";
        let thread = thread_key(message.thread.as_ref());
        connection.prepare_cached(sql)?.execute(params![message.chat, thread, seq])?;
    }
    Ok(seq)
}

pub(super) fn look_up(
    connection: &Connection,
    chat: &ChatId,
    id: &MessageId,
) -> Step<Option<KeptMessage>> {
    let sql = "SELECT * FROM messages WHERE chat_id = ?1 AND id = ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![chat, id], message).optional()?)
}

/// Notes of a kept message that it is meant for the assistant, unless that was known.
fn address(connection: &Connection, seq: Seq) -> Step<Option<Unseen>> {
    let sql = "UPDATE messages SET addressed = 1 WHERE seq = ?1 AND NOT addressed AND NOT context
               RETURNING *";
    let kept = connection.prepare_cached(sql)?.query_row([seq], message).optional()?;
    kept.map_or(Ok(None), |kept| look_again(connection, kept))
}

/// Notes that a chat exists; tells whether it is registered.
pub(super) fn note_chat(
    connection: &Connection,
    chat: &ChatId,
    name: Option<&str>,
    last_message: Option<Timestamp>,
) -> Step<bool> {
    let sql = "SELECT group_name IS NOT NULL, ?2 IS NOT NULL AND name IS NOT ?2,
                      ?3 > coalesce(last_message_time, -1) + ?4
               FROM chats WHERE chat_id = ?1";
    let last = last_message.map(Millis);
    let known = connection
        .prepare_cached(sql)?
        .query_row(params![chat, name, last, LAG_MS], |row| {
            let later: Option<bool> = row.get(2)?;
            Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?, later.unwrap_or(false)))
        })
        .optional()?;
    match known {
        None => {
            let sql = "INSERT INTO chats (chat_id, name, last_message_time) VALUES (?1, ?2, ?3)";
            connection.prepare_cached(sql)?.execute(params![chat, name, last])?;
            Ok(false)
        }
        Some((registered, renamed, later)) => {
            if renamed || (later && !registered) {
                let sql = "UPDATE chats SET name = coalesce(?2, name),
                               last_message_time = max(coalesce(last_message_time, ?3),
                                                       coalesce(?3, last_message_time))
                           WHERE chat_id = ?1";
                connection.prepare_cached(sql)?.execute(params![chat, name, last])?;
            }
            Ok(registered)
        }
    }
}

/// The messages that a query finds, until their texts use up the bytes that are `left`; at least one while any are.
pub(super) fn gather(
    messages: impl Iterator<Item = rusqlite::Result<KeptMessage>>,
    left: &mut usize,
) -> rusqlite::Result<Vec<KeptMessage>> {
    let mut gathered = Vec::new();
    for message in messages {
        if *left == 0 {
            break;
        }
        let message = message?;
        *left = left.saturating_sub(message.message.text.len());
        gathered.push(message);
    }
    Ok(gathered)
}

/// A row of `messages`.
pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<KeptMessage> {
    let message = Message {
        chat: row.get("chat_id")?,
        thread: thread(row)?,
        id: row.get("id")?,
        sender: Sender {
            id: row.get("sender")?,
            name: row.get("sender_name")?,
            outside: row.get("sender_outside")?,
        },
        text: text(row)?,
        attachments: attachments(row)?,
        addressed: row.get("addressed")?,
        sent_at: time(row, "timestamp")?,
        from_me: row.get("is_from_me")?,
    };
    let (seq, context) = (row.get("seq")?, row.get("context")?);
    Ok(KeptMessage { seq, message, revision: revision(row)?, context })
}

/// The text, whatever bytes another program has put there.
fn text(row: &Row<'_>) -> rusqlite::Result<String> {
    let column = row.as_ref().column_index("content")?;
    match row.get_ref(column)? {
        ValueRef::Text(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        other => Err(rusqlite::Error::FromSqlConversionFailure(
            column,
            other.data_type(),
            Box::new(FromSqlError::InvalidType),
        )),
    }
}

/// The files of a message as they stand in their column; `None` for none.
pub(super) fn json(attachments: &[Attachment]) -> Step<Option<String>> {
    let json = (!attachments.is_empty()).then(|| serde_json::to_string(attachments)).transpose();
    json.map_err(|error| StoreError::failed("write a message's files as JSON", error).into())
}

fn attachments(row: &Row<'_>) -> rusqlite::Result<Vec<Attachment>> {
    let column = row.as_ref().column_index("attachments")?;
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Vec::new()),
        value => serde_json::from_str(value.as_str()?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
        }),
    }
}
