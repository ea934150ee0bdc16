//! The outbox: what waits to be sent, and what the platforms said of it.
//!
//! Of each chat only the oldest row that is not yet settled is handed out, so order within a chat is kept.

use jiff::Timestamp;
use rusqlite::{Connection, Params, Row, named_params, params};

use super::Store;
use super::error::{Step, StoreError};
use super::values::{Count, Millis, conversation, state_column, thread_key, time, time_if_any};
use super::writer::name;
use crate::model::{ChannelName, Conversation, OutboxId, Receipt, RunId, Seq};

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxDraft {
    /// Where to.
    pub(crate) conversation: Conversation,
    /// The run that says it.
    pub(crate) run: Option<RunId>,
    /// What it says, Markdown.
    pub(crate) text: String,
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
    /// What it says, Markdown.
    pub(crate) text: String,
    /// When it ends its run: the last message that the run dealt with, and whether it answered.
    pub(crate) ends: Option<(Seq, bool)>,
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
    /// The platform's id of it.
    pub(crate) external_id: Option<String>,
    /// What went wrong last.
    pub(crate) error: Option<String>,
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
                "SELECT * FROM outbox WHERE id IN ({HEADS}) AND coalesce(not_before <= ?2, TRUE)
                 ORDER BY id LIMIT ?3"
            );
            rows(connection, &sql, params![channel, Millis(now), Count::of(limit)])
        })
        .await
    }

    /// When a row of a channel that waits is next due; in the past when one is due now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn outbox_next_at(
        &self,
        channel: &ChannelName,
    ) -> Result<Option<Timestamp>, StoreError> {
        let channel = channel.clone();
        self.read("look into the outbox", move |connection| {
            let sql = format!(
                "SELECT min(coalesce(not_before, created_at)) AS next FROM outbox
                 WHERE id IN ({HEADS}) AND state = 'pending'"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row([channel], |row| time_if_any(row, "next"))?)
        })
        .await
    }

    /// The newest rows, newest first; the sent ones among them only when `all` are wanted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn outbox(
        &self,
        limit: usize,
        all: bool,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.read("list the outbox", move |connection| {
            let sql = if all {
                "SELECT * FROM outbox ORDER BY id DESC LIMIT ?1"
            } else {
                "SELECT * FROM outbox WHERE state IN ('pending', 'sending') OR state = 'failed'
                 ORDER BY id DESC LIMIT ?1"
            };
            rows(connection, sql, [Count::of(limit)])
        })
        .await
    }

    /// Notes that a row is being sent; from now on the platform may have it.
    ///
    /// # Errors
    /// [`StoreError::NotThere`], and [`StoreError::Conflict`] when it is settled already: it must not be sent.
    pub(crate) async fn outbox_sending(&self, id: OutboxId) -> Result<(), StoreError> {
        let name = name!("outbox_sending", "note that a message is being sent");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET state = 'sending', attempts = attempts + 1
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            if changed(connection, id, sql, [id])? {
                return Ok(());
            }
            Err(StoreError::Conflict(format!("row {id} of the outbox is settled already")).into())
        })
        .await
    }

    /// Notes that the platform has a row. Nothing changes for one that is settled.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_sent(
        &self,
        id: OutboxId,
        receipt: &Receipt,
    ) -> Result<(), StoreError> {
        let (now, external_id) = (self.now(), receipt.external_id.clone());
        let name = name!("outbox_sent", "note that a message was sent");
        self.write(name, move |connection| {
            let sql =
                "UPDATE outbox SET state = 'sent', sent_at = ?2, external_id = ?3, error = NULL
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            changed(connection, id, sql, params![id, Millis(now), external_id]).map(|_changed| ())
        })
        .await
    }

    /// Puts a row back until `not_before`. Nothing changes for one that is settled.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_later(
        &self,
        id: OutboxId,
        not_before: Timestamp,
        error: &str,
    ) -> Result<(), StoreError> {
        let error = error.to_owned();
        let name = name!("outbox_later", "put a message off");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET state = 'pending', not_before = ?2, error = ?3
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            changed(connection, id, sql, params![id, Millis(not_before), error]).map(|_changed| ())
        })
        .await
    }

    /// Puts a row off for which nobody was there; that does not count as an attempt, and whether it arrived stays as
    /// open as it was. Nothing changes for one that is settled.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_absent(
        &self,
        id: OutboxId,
        state: OutboxState,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let name = name!("outbox_absent", "put a message back");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox
                       SET state = ?2, attempts = max(attempts - 1, 0), not_before = ?3
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            let values = params![id, state, Millis(not_before)];
            changed(connection, id, sql, values).map(|_changed| ())
        })
        .await
    }

    /// Notes that nobody knows whether a row arrived: it is to be looked up before it is sent again, and not before
    /// this time.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_doubtful(
        &self,
        id: OutboxId,
        not_before: Timestamp,
        error: &str,
    ) -> Result<(), StoreError> {
        let error = error.to_owned();
        let name = name!("outbox_doubtful", "note that it is unknown whether a message arrived");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET not_before = ?2, error = ?3
                       WHERE id = ?1 AND state = 'sending'";
            changed(connection, id, sql, params![id, Millis(not_before), error]).map(|_changed| ())
        })
        .await
    }

    /// Notes that somebody is there who can take what waits for these conversations.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn outbox_arrived(&self, to: Vec<Conversation>) -> Result<(), StoreError> {
        let name = name!("outbox_arrived", "hurry what waits for somebody");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET not_before = NULL
                       WHERE channel = ?1 AND chat_id = ?2 AND thread = ?3
                           AND state IN ('pending', 'sending')";
            let mut statement = connection.prepare_cached(sql)?;
            for Conversation { chat, thread } in &to {
                statement.execute(params![chat.channel(), chat, thread_key(thread.as_ref())])?;
            }
            Ok(())
        })
        .await
    }

    /// Notes that the platform refused a row for good. Nothing changes for one that is settled.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_failed(&self, id: OutboxId, error: &str) -> Result<(), StoreError> {
        let error = error.to_owned();
        let name = name!("outbox_failed", "note that a message was refused");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET state = 'failed', error = ?2
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            changed(connection, id, sql, params![id, error]).map(|_changed| ())
        })
        .await
    }
}

/// Puts a row into the outbox; `ends` is how it ends its run.
pub(super) fn insert(
    connection: &Connection,
    draft: &OutboxDraft,
    ends: Option<(Seq, bool)>,
    now: Timestamp,
) -> Step<OutboxId> {
    let sql = "INSERT INTO outbox
                   (channel, chat_id, thread, run, ends_through, ends_answered, state, created_at, text)
               VALUES (:channel, :chat, :thread, :run, :through, :answered, 'pending', :now, :text)
               RETURNING id";
    let OutboxDraft { conversation, run, text } = draft;
    let id = connection.prepare_cached(sql)?.query_row(
        named_params! {
            ":channel": conversation.chat.channel(), ":chat": conversation.chat,
            ":thread": thread_key(conversation.thread.as_ref()), ":run": run,
            ":through": ends.map(|(through, _)| through),
            ":answered": ends.map(|(_, answered)| answered),
            ":now": Millis(now), ":text": text,
        },
        |row| row.get(0),
    )?;
    Ok(id)
}

/// Updates a row; tells whether its state allowed it.
fn changed(connection: &Connection, id: OutboxId, sql: &str, values: impl Params) -> Step<bool> {
    if connection.prepare_cached(sql)?.execute(values)? > 0 {
        return Ok(true);
    }
    if connection.prepare_cached("SELECT 1 FROM outbox WHERE id = ?1")?.exists([id])? {
        return Ok(false);
    }
    Err(StoreError::NotThere(format!("row {id} in the outbox")).into())
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
        text: row.get("text")?,
        ends: through.zip(answered),
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        not_before: time_if_any(row, "not_before")?,
        created_at: time(row, "created_at")?,
        sent_at: time_if_any(row, "sent_at")?,
        external_id: row.get("external_id")?,
        error: row.get("error")?,
    })
}
