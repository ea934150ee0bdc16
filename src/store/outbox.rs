//! The outbox: what waits to be sent, and what the platforms said of it.
//!
//! Of each conversation only the oldest row that is not yet settled is handed out, so order within it is kept.

mod files;
mod progress;

pub(crate) use progress::Again;

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, Params, Row, named_params, params};

use super::Store;
use super::error::{Step, StoreError};
use super::values::{Count, Millis, conversation, state_column, thread_key, time, time_if_any};
use crate::model::{ChannelName, Content, Conversation, OutboxId, RunEnd, RunId, SentFile, Seq};

/// What is to be a row of the outbox: something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewOutboxRow {
    /// Where to.
    pub(crate) conversation: Conversation,
    /// The run that says it.
    pub(crate) run: Option<RunId>,
    /// What it carries.
    pub(crate) content: Content,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxRow {
    /// Its number.
    pub(crate) id: OutboxId,
    /// Where it goes.
    pub(crate) conversation: Conversation,
    /// The run that says it.
    pub(crate) run: Option<RunId>,
    /// What it carries.
    pub(crate) content: Content,
    /// The last message that this run was given; none when it belongs to another conversation.
    pub(crate) through: Option<Seq>,
    /// The end of its run, when it is that.
    pub(crate) ends: Option<RunEnd>,
    /// How far it is.
    pub(crate) state: OutboxState,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// The end of the pause after a failure.
    pub(crate) not_before: Option<Timestamp>,
    /// When it was written.
    pub(crate) created_at: Timestamp,
    /// When the platform had it.
    pub(crate) sent_at: Option<Timestamp>,
    /// The platform's id of it; of a file also before it is sent.
    pub(crate) external_id: Option<String>,
    /// What went wrong last.
    pub(crate) error: Option<String>,
}

/// Which rows are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Those that wait, and those that were refused.
    NotSent,
    /// Those that were sent too.
    All,
}

/// How far a row of the outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OutboxState {
    /// It waits.
    Pending,
    /// It is being sent, or was when the process ended: then the platform may have it.
    Sending,
    /// The platform has it.
    Sent,
    /// It was refused for good.
    Failed,
}

impl OutboxState {
    /// The state as it stands in the column.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Sending, Self::Sent, Self::Failed];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

state_column!(OutboxState);

/// The rows, each with how far its run has come; a message to another conversation says nothing about that one's.
const ROWS: &str = "SELECT *, (
                        SELECT through_seq FROM runs
                        WHERE runs.id = outbox.run
                          AND runs.chat_id = outbox.chat_id AND runs.thread = outbox.thread
                    ) AS through_seq
                    FROM outbox";

/// The oldest unsettled row of each conversation of a channel.
const HEADS: &str = "SELECT min(id) FROM outbox
                     WHERE channel = ?1 AND state IN ('pending', 'sending')
                     GROUP BY chat_id, thread";

impl Store {
    /// What is to be sent on a channel now: of each conversation its oldest unsettled row, when that does not pause.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn outbox_due(
        &self,
        channel: &ChannelName,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let (now, channel) = (self.now(), channel.clone());
        self.read("look into the outbox", move |connection| {
            let sql = format!(
                "{ROWS} WHERE id IN ({HEADS}) AND coalesce(not_before <= ?2, TRUE)
                 ORDER BY id LIMIT ?3"
            );
            rows(connection, &sql, params![channel, Millis(now), Count::of(limit)])
        })
        .await
    }

    /// When a row of a channel that waits, to be sent or to be looked up, is next due; in the past when one is due now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn outbox_next_at(
        &self,
        channel: &ChannelName,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (now, channel) = (self.now(), channel.clone());
        self.read("look into the outbox", move |connection| {
            let sql = format!(
                "SELECT min(coalesce(not_before, created_at)) AS next FROM outbox
                 WHERE id IN ({HEADS}) AND (state = 'pending' OR not_before > ?2)"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let next =
                statement.query_row(params![channel, Millis(now)], |row| time_if_any(row, "next"));
            Ok(next?)
        })
        .await
    }

    /// The newest rows, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn outbox(
        &self,
        limit: usize,
        listed: Listed,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.read("list the outbox", move |connection| {
            let sql = match listed {
                Listed::All => format!("{ROWS} ORDER BY id DESC LIMIT ?1"),
                Listed::NotSent => format!(
                    "{ROWS} WHERE state IN ('pending', 'sending') OR state = 'failed'
                     ORDER BY id DESC LIMIT ?1"
                ),
            };
            rows(connection, &sql, [Count::of(limit)])
        })
        .await
    }
}

/// Puts a row into the outbox; `ends` is how it ends its run.
pub(super) fn insert(
    connection: &Connection,
    new: &NewOutboxRow,
    ends: Option<RunEnd>,
    now: Timestamp,
) -> Step<OutboxId> {
    let sql = "INSERT INTO outbox
                   (channel, chat_id, thread, run, ends_through, ends_answered, state, created_at,
                    text, message_id, file_name, file_bytes, file_source, file_copy)
               VALUES (:channel, :chat, :thread, :run, :through, :answered, 'pending', :now,
                    :text, :message, :name, :bytes, :source, :copy)
               RETURNING id";
    let NewOutboxRow { conversation, run, content } = new;
    let (text, message, file) = match content {
        Content::Text(text) => (text, None, None),
        Content::File(file) => (&file.caption, None, Some(file)),
        Content::Reaction { emoji, message } => (emoji, Some(message), None),
    };
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let id = connection.prepare_cached(sql)?.query_row(
        named_params! {
            ":channel": conversation.chat.channel(), ":chat": conversation.chat,
            ":thread": thread_key(conversation.thread.as_ref()), ":run": run,
            ":through": ends.map(|end| end.through),
            ":answered": ends.map(|end| end.answered),
            ":now": Millis(now), ":text": text, ":message": message,
            ":name": file.map(|file| &file.name), ":bytes": file.map(|file| Count(file.bytes)),
            ":source": file.map(|file| path(&file.source)), ":copy": file.map(|file| path(&file.copy)),
        },
        |row| row.get(0),
    )?;
    Ok(id)
}

fn rows(connection: &Connection, sql: &str, values: impl Params) -> Step<Vec<OutboxRow>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    let through: Option<Seq> = row.get("ends_through")?;
    let answered: Option<bool> = row.get("ends_answered")?;
    Ok(OutboxRow {
        id: row.get("id")?,
        conversation: conversation(row)?,
        run: row.get("run")?,
        content: content(row)?,
        through: row.get("through_seq")?,
        ends: through.zip(answered).map(|(through, answered)| RunEnd { through, answered }),
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        not_before: time_if_any(row, "not_before")?,
        created_at: time(row, "created_at")?,
        sent_at: time_if_any(row, "sent_at")?,
        external_id: row.get("external_id")?,
        error: row.get("error")?,
    })
}

fn content(row: &Row<'_>) -> rusqlite::Result<Content> {
    if row.get::<_, Option<String>>("file_copy")?.is_some() {
        return file(row).map(Content::File);
    }
    let text = row.get("text")?;
    Ok(match row.get("message_id")? {
        Some(message) => Content::Reaction { emoji: text, message },
        None => Content::Text(text),
    })
}

fn file(row: &Row<'_>) -> rusqlite::Result<SentFile> {
    let Count(bytes) = row.get("file_bytes")?;
    Ok(SentFile {
        name: row.get("file_name")?,
        bytes,
        caption: row.get("text")?,
        source: row.get::<_, String>("file_source")?.into(),
        copy: row.get::<_, String>("file_copy")?.into(),
    })
}
