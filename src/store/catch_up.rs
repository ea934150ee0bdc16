//! How far a channel's messages go that are kept, so that it can look for those that it missed.
//!
//! The newest message alone does not tell: while what was missed is still being fetched, others come in live, and a
//! crash then would leave a hole before them. So the place is marked before they are kept, and stays until all is there.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::Store;
use super::error::{Step, StoreError};
use super::values::{Millis, conversation, thread_key, time, time_if_any};
use super::writer::name;
use crate::model::{ChannelName, ChatId, Conversation, LastKept, Mark};

impl Store {
    /// Marks how far the messages of a channel's registered chats go, or of `one` of them, and those of their threads in
    /// which somebody has said something since `threads_since`, by the platform's clock; where a mark stands already, it
    /// stays.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn marks(
        &self,
        channel: &ChannelName,
        one: Option<&ChatId>,
        threads_since: Timestamp,
    ) -> Result<Vec<Mark>, StoreError> {
        // The ids of a channel's chats lie between these two: `;` comes after `:`.
        let all = || (format!("{channel}:"), format!("{channel};"));
        let chats = one.map_or_else(all, |one| (one.to_string(), one.to_string()));
        self.write(name!("marks", "mark how far messages are kept"), move |connection| {
            mark(connection, &chats, threads_since)
        })
        .await
    }

    /// Takes away the mark of a chat, or of a thread.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn caught_up(&self, place: &Conversation) -> Result<(), StoreError> {
        let Conversation { chat, thread } = place.clone();
        self.write(name!("caught_up", "note that nothing is missing"), move |connection| {
            let thread = thread_key(thread.as_ref());
            if thread.is_empty() {
                let sql = "UPDATE chats SET mark_seq = NULL WHERE chat_id = ?1";
                connection.prepare_cached(sql)?.execute([chat])?;
            } else {
                let sql =
                    "UPDATE router_state SET mark_seq = NULL WHERE chat_id = ?1 AND thread = ?2";
                connection.prepare_cached(sql)?.execute(params![chat, thread])?;
            }
            Ok(())
        })
        .await
    }
}

fn mark(
    connection: &Connection,
    (first, last): &(String, String),
    since: Timestamp,
) -> Step<Vec<Mark>> {
    let sql = "UPDATE chats SET mark_seq = coalesce(
                   (SELECT max(r.last_seq) FROM router_state r WHERE r.chat_id = chats.chat_id), 0)
               WHERE chat_id BETWEEN ?1 AND ?2 AND group_name IS NOT NULL AND mark_seq IS NULL";
    connection.prepare_cached(sql)?.execute([first, last])?;
    let sql = "UPDATE router_state SET mark_seq = last_seq
               WHERE chat_id BETWEEN ?1 AND ?2 AND thread <> '' AND mark_seq IS NULL
                   AND (SELECT m.timestamp FROM messages m WHERE m.seq = last_seq) >= ?3";
    connection.prepare_cached(sql)?.execute(params![first, last, Millis(since)])?;
    let sql =
        "SELECT c.chat_id, '' AS thread, m.id, m.timestamp, coalesce(c.registered_at, 0) AS since
               FROM chats c LEFT JOIN messages m ON m.seq = c.mark_seq
               WHERE c.chat_id BETWEEN ?1 AND ?2 AND c.group_name IS NOT NULL
               ORDER BY c.chat_id";
    let mut chats = connection.prepare_cached(sql)?;
    let sql = "SELECT r.chat_id, r.thread, m.id, m.timestamp, coalesce(c.registered_at, 0) AS since
               FROM router_state r JOIN chats c ON c.chat_id = r.chat_id
               LEFT JOIN messages m ON m.seq = r.mark_seq
               WHERE r.chat_id BETWEEN ?1 AND ?2 AND r.thread <> '' AND c.group_name IS NOT NULL
                   AND r.mark_seq IS NOT NULL
                   AND (SELECT l.timestamp FROM messages l WHERE l.seq = r.last_seq) >= ?3
               ORDER BY r.chat_id, r.thread";
    let mut threads = connection.prepare_cached(sql)?;
    let chats = chats.query_map([first, last], read)?;
    let threads = threads.query_map(params![first, last, Millis(since)], read)?;
    Ok(chats.chain(threads).collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Mark> {
    let last = match (row.get("id")?, time_if_any(row, "timestamp")?) {
        (Some(id), Some(sent_at)) => Some(LastKept { id, sent_at }),
        _ => None,
    };
    Ok(Mark { place: conversation(row)?, last, since: time(row, "since")? })
}
