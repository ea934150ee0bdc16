//! How a row of the outbox gets on: being sent, sent, put off, in doubt, refused. What is settled stays so.

use jiff::Timestamp;
use rusqlite::{Connection, Params, params};

use super::OutboxState;
use crate::model::{ChannelName, Conversation, OutboxId, Receipt};
use crate::store::Store;
use crate::store::error::{Step, StoreError};
use crate::store::values::{Millis, thread_key};
use crate::store::writer::name;

/// When a row is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// After a pause of ours: it was an attempt.
    After(Timestamp),
    /// When the platform wants to be asked: it has not failed, and that counts as no attempt.
    When(Timestamp),
}

impl Again {
    /// The time, and how many attempts are taken back.
    fn parts(self) -> (Millis, u32) {
        match self {
            Self::After(at) => (Millis(at), 0),
            Self::When(at) => (Millis(at), 1),
        }
    }
}

impl Store {
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

    /// Puts a row back until it is tried again. Nothing changes for one that is settled.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_later(
        &self,
        id: OutboxId,
        again: Again,
        error: &str,
    ) -> Result<(), StoreError> {
        let (error, (at, back)) = (error.to_owned(), again.parts());
        let name = name!("outbox_later", "put a message off");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET state = 'pending', not_before = ?2, error = ?3,
                           attempts = max(attempts - ?4, 0)
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            changed(connection, id, sql, params![id, at, error, back]).map(|_changed| ())
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
                       SET state = ?2, attempts = max(attempts - 1, 0), not_before = ?3, error = NULL
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            let values = params![id, state, Millis(not_before)];
            changed(connection, id, sql, values).map(|_changed| ())
        })
        .await
    }

    /// Notes that nobody knows whether a row arrived: it is to be looked up before it is sent again.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_doubtful(
        &self,
        id: OutboxId,
        again: Again,
        error: &str,
    ) -> Result<(), StoreError> {
        let (error, (at, back)) = (error.to_owned(), again.parts());
        let name = name!("outbox_doubtful", "note that it is unknown whether a message arrived");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET not_before = ?2, error = ?3,
                           attempts = max(attempts - ?4, 0)
                       WHERE id = ?1 AND state = 'sending'";
            changed(connection, id, sql, params![id, at, error, back]).map(|_changed| ())
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

    /// Notes that they may be there again for whom nobody was there: what was put off for that waits no longer.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn outbox_returned(&self, channel: &ChannelName) -> Result<(), StoreError> {
        let channel = channel.clone();
        let name = name!("outbox_returned", "hurry what waits for a channel");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET not_before = NULL
                       WHERE channel = ?1 AND state IN ('pending', 'sending') AND error IS NULL
                           AND not_before IS NOT NULL";
            connection.prepare_cached(sql)?.execute([channel])?;
            Ok(())
        })
        .await
    }

    /// Notes that a row is given up, and puts the sentence that says so into the outbox of its conversation: once, and
    /// never for such a sentence itself. Nothing changes for a row that is settled.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn outbox_failed(
        &self,
        id: OutboxId,
        error: &str,
        sentence: Option<String>,
    ) -> Result<(), StoreError> {
        let (now, error) = (self.now(), error.to_owned());
        let name = name!("outbox_failed", "note that a message was given up");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET state = 'failed', error = ?2
                       WHERE id = ?1 AND state IN ('pending', 'sending')";
            if changed(connection, id, sql, params![id, error])?
                && let Some(sentence) = &sentence
            {
                let sql = "INSERT INTO outbox
                               (channel, chat_id, thread, run, state, created_at, text, tells_of)
                           SELECT channel, chat_id, thread, run, 'pending', ?2, ?3, id
                           FROM outbox WHERE id = ?1 AND tells_of IS NULL";
                connection.prepare_cached(sql)?.execute(params![id, Millis(now), sentence])?;
            }
            Ok(())
        })
        .await
    }
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
