//! What model calls have cost, and how much there is of everything.

use jiff::civil::Date;
use rusqlite::named_params;

use super::Store;
use super::error::StoreError;
use super::runs::change_time;
use super::values::{Count, count, usage};
use super::writer::name;
use crate::model::{GroupName, SandboxId, Usage};

/// How much there is, for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that were ever kept.
    pub(crate) messages: u64,
    /// Chats that are known.
    pub(crate) chats: u64,
    /// Groups.
    pub(crate) groups: u64,
    /// Conversations with a triggered message that no finished run has dealt with.
    pub(crate) pending_conversations: u64,
    /// Rows of the outbox that are to be sent.
    pub(crate) outbox_pending: u64,
    /// Rows of the outbox that were refused for good.
    pub(crate) outbox_failed: u64,
    /// Runs that have begun and not ended.
    pub(crate) runs_unfinished: u64,
    /// Runs after which the messages were given up.
    pub(crate) given_up: u64,
}

impl Store {
    /// Adds what model calls from a sandbox cost: to its group's day, and to its latest run. A call that outlasts its
    /// run, be it by the run's end or by that of the sandbox, is the run's all the same. Which sandbox a run has is
    /// written in its row alone, from before the sandbox starts.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn add_usage(
        &self,
        group: &GroupName,
        sandbox: &SandboxId,
        day: Date,
        usage: Usage,
    ) -> Result<(), StoreError> {
        let (now, group, sandbox) = (self.now(), group.clone(), sandbox.clone());
        self.write(name!("add_usage", "count usage"), move |connection| {
            let sql = "INSERT INTO usage VALUES (:day, :group, :requests, :input, :output, :read, :write, :cost)
                       ON CONFLICT DO UPDATE SET
                           requests = requests + excluded.requests,
                           input_tokens = input_tokens + excluded.input_tokens,
                           output_tokens = output_tokens + excluded.output_tokens,
                           cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
                           cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
                           cost_micros = cost_micros + excluded.cost_micros";
            connection.prepare_cached(sql)?.execute(named_params! {
                ":day": day.to_string(), ":group": group,
                ":requests": Count(usage.requests),
                ":input": Count(usage.input_tokens), ":output": Count(usage.output_tokens),
                ":read": Count(usage.cache_read_tokens), ":write": Count(usage.cache_write_tokens),
                ":cost": Count(usage.cost_micros),
            })?;
            let sql = "UPDATE runs SET
                           requests = requests + :requests,
                           input_tokens = input_tokens + :input,
                           output_tokens = output_tokens + :output,
                           cache_read_tokens = cache_read_tokens + :read,
                           cache_write_tokens = cache_write_tokens + :write,
                           cost_micros = cost_micros + :cost, updated_at = :changed
                       WHERE id = (SELECT max(id) FROM runs WHERE sandbox = :sandbox)";
            let changed = change_time(connection, now)?;
            connection.prepare_cached(sql)?.execute(named_params! {
                ":sandbox": sandbox, ":changed": changed,
                ":requests": Count(usage.requests),
                ":input": Count(usage.input_tokens), ":output": Count(usage.output_tokens),
                ":read": Count(usage.cache_read_tokens), ":write": Count(usage.cache_write_tokens),
                ":cost": Count(usage.cost_micros),
            })?;
            Ok(())
        })
        .await
    }

    /// What each group's model calls cost on a day.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn usage_on(&self, day: Date) -> Result<Vec<(GroupName, Usage)>, StoreError> {
        self.read("look up usage", move |connection| {
            let sql = "SELECT * FROM usage WHERE day = ?1 ORDER BY group_name";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement
                .query_map([day.to_string()], |row| Ok((row.get("group_name")?, usage(row)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How much there is of everything; costs the same however many messages there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn counts(&self) -> Result<Counts, StoreError> {
        self.read("count", |connection| {
            let sql = "SELECT
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) AS messages,
                (SELECT count(*) FROM chats) AS chats,
                (SELECT count(*) FROM registered_groups) AS groups,
                (SELECT count(*) FROM router_state WHERE triggered_seq > cursor) AS pending_conversations,
                (SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending')) AS outbox_pending,
                (SELECT count(*) FROM outbox WHERE state = 'failed') AS outbox_failed,
                (SELECT count(*) FROM runs WHERE state IN ('claimed', 'running')) AS runs_unfinished,
                (SELECT count(*) FROM runs WHERE state = 'given_up') AS given_up";
            let counts = connection.prepare_cached(sql)?.query_row([], |row| {
                Ok(Counts {
                    messages: count(row, "messages")?,
                    chats: count(row, "chats")?,
                    groups: count(row, "groups")?,
                    pending_conversations: count(row, "pending_conversations")?,
                    outbox_pending: count(row, "outbox_pending")?,
                    outbox_failed: count(row, "outbox_failed")?,
                    runs_unfinished: count(row, "runs_unfinished")?,
                    given_up: count(row, "given_up")?,
                })
            })?;
            Ok(counts)
        })
        .await
    }
}
