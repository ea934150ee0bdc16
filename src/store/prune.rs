//! What is forgotten: records of work that was done long ago. Messages are kept.

use jiff::Timestamp;
use rusqlite::params;

use super::Store;
use super::error::StoreError;
use super::values::Millis;
use super::writer::name;

/// The most rows of one table that go in one transaction, so that nobody waits long behind it.
const AT_ONCE: u32 = 500;

impl Store {
    /// Forgets some of the requests, settled outbox rows and ended runs from before a time; whether there may be more.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn prune(&self, before: Timestamp) -> Result<bool, StoreError> {
        self.write(name!("prune", "forget old records"), move |connection| {
            let requests = "DELETE FROM requests WHERE (chat_id, thread, from_seq, id) IN (
                                SELECT chat_id, thread, from_seq, id FROM requests
                                WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
            let outbox = "DELETE FROM outbox WHERE id IN (
                              SELECT id FROM outbox
                              WHERE state IN ('sent', 'failed') AND created_at < ?1
                              ORDER BY id LIMIT ?2)";
            let runs = "DELETE FROM runs WHERE id IN (
                            SELECT id FROM runs
                            WHERE finished_at < ?1
                                AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.run = runs.id)
                            ORDER BY id LIMIT ?2)";
            let mut more = false;
            for sql in [requests, outbox, runs] {
                let gone = connection.execute(sql, params![Millis(before), AT_ONCE])?;
                more |= u32::try_from(gone).is_ok_and(|gone| gone == AT_ONCE);
            }
            Ok(more)
        })
        .await
    }
}
