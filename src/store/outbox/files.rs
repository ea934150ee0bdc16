//! Files and reactions in the outbox: what of them the store alone knows.

use rusqlite::{OptionalExtension, params};

use super::file;
use crate::model::{GroupName, MessageId, OutboxId, RunId, SentFile};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::writer::name;

impl Store {
    /// Notes what the platform calls what it has of a row that is being sent.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn outbox_begun(&self, id: OutboxId, begun: &str) -> Result<(), StoreError> {
        let begun = begun.to_owned();
        let name = name!("outbox_begun", "note that a message was begun");
        self.write(name, move |connection| {
            let sql = "UPDATE outbox SET external_id = ?2 WHERE id = ?1 AND state = 'sending'";
            connection.prepare_cached(sql)?.execute(params![id, begun])?;
            Ok(())
        })
        .await
    }

    /// The files that are still to be sent, and the groups whose agents want that.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn outbox_files(
        &self,
    ) -> Result<Vec<(Option<GroupName>, SentFile)>, StoreError> {
        self.read("look for files in the outbox", |connection| {
            let sql =
                "SELECT outbox.*, group_name FROM outbox LEFT JOIN runs ON runs.id = outbox.run
                       WHERE outbox.state IN ('pending', 'sending') AND file_copy IS NOT NULL";
            let mut statement = connection.prepare_cached(sql)?;
            let files = statement.query_map([], |row| Ok((row.get("group_name")?, file(row)?)))?;
            Ok(files.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The message that a run answers: of those that it was given, the last that addressed the assistant, or else the
    /// last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn answered_by(&self, run: RunId) -> Result<Option<MessageId>, StoreError> {
        self.read("look for the message that a run answers", move |connection| {
            let sql = "SELECT m.id FROM runs r
                       JOIN router_state s ON s.chat_id = r.chat_id AND s.thread = r.thread
                       JOIN messages m ON m.chat_id = r.chat_id AND m.thread = r.thread
                       WHERE r.id = ?1 AND m.seq BETWEEN r.from_seq AND r.through_seq AND m.is_from_me = 0
                       ORDER BY m.seq = s.triggered_seq DESC, m.seq DESC LIMIT 1";
            Ok(connection.prepare_cached(sql)?.query_row([run], |row| row.get(0)).optional()?)
        })
        .await
    }
}
