//! The ledger of runs: a run is claimed by a row before it starts, and its row says how it ended.

mod claim;
mod end;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use super::error::{Step, StoreError};
use super::values::{Count, Millis, conversation, state_column, time, time_if_any, usage};
use crate::model::{Conversation, GroupName, RunId, SandboxId, SandboxKind, Seq, Usage};

pub(crate) use self::claim::{ClaimRun, Claimed};
pub(crate) use self::end::FinishRun;

/// A run, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRow {
    /// Its number.
    pub(crate) id: RunId,
    /// What it is about.
    pub(crate) conversation: Conversation,
    /// The group that it runs for.
    pub(crate) group: GroupName,
    /// The first message that it deals with.
    pub(crate) from: Seq,
    /// The last message that was handed to it.
    pub(crate) through: Seq,
    /// Which attempt at these messages it is, from 1.
    pub(crate) attempt: u32,
    /// How far it is.
    pub(crate) state: RunState,
    /// Where it happens, once it has started.
    pub(crate) sandbox: Option<SandboxId>,
    /// The kind of that sandbox, as far as it is known.
    pub(crate) kind: Option<SandboxKind>,
    /// When it was claimed.
    pub(crate) created_at: Timestamp,
    /// When its sandbox took it.
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) finished_at: Option<Timestamp>,
    /// Later than that of every change to any run before; what `runs_changed_after` goes by.
    pub(crate) updated_at: Timestamp,
    /// What its model calls cost, as the broker counted.
    pub(crate) usage: Usage,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RunState {
    /// It has a row and nothing else.
    Claimed,
    /// A sandbox has it.
    Running,
    /// It ended, and the cursor moved.
    Done,
    /// Somebody ended it, and the cursor moved.
    Cancelled,
    /// It failed; its messages wait for another.
    Failed,
    /// It failed for the last time; the chat was told, and the cursor moved.
    GivenUp,
    /// The gateway ended it; its messages wait for another.
    Interrupted,
}

impl RunState {
    const ALL: [Self; 7] = [
        Self::Claimed,
        Self::Running,
        Self::Done,
        Self::Cancelled,
        Self::Failed,
        Self::GivenUp,
        Self::Interrupted,
    ];

    /// The state as it stands in the column.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Interrupted => "interrupted",
        }
    }

    /// The state of that name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the run may still go on.
    pub(crate) fn is_unfinished(self) -> bool {
        matches!(self, Self::Claimed | Self::Running)
    }
}

state_column!(RunState);
state_column!(SandboxKind);

impl Store {
    /// The runs that have begun and not ended, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn unfinished_runs(&self) -> Result<Vec<RunRow>, StoreError> {
        // By itself SQLite would walk the ledger, which is in the order wanted.
        let sql = "SELECT * FROM runs INDEXED BY runs_unfinished
                   WHERE state IN ('claimed', 'running') ORDER BY id";
        self.read("list the unfinished runs", move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let runs = statement.query_map([], run)?;
            Ok(runs.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The newest runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn runs(&self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        self.read("list the runs", move |connection| {
            let sql = "SELECT * FROM runs ORDER BY id DESC LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let runs = statement.query_map([Count::of(limit)], run)?;
            Ok(runs.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The runs that changed after a time, in the order of their changes. No change is missed by one who asks again
    /// with the `updated_at` of the last row.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn runs_changed_after(
        &self,
        after: Timestamp,
        limit: usize,
    ) -> Result<Vec<RunRow>, StoreError> {
        self.read("list the runs that changed", move |connection| {
            let sql = "SELECT * FROM runs WHERE updated_at > ?1 ORDER BY updated_at LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let runs = statement.query_map(params![Millis(after), Count::of(limit)], run)?;
            Ok(runs.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One run.
    #[cfg(test)]
    pub(crate) async fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError> {
        self.read("look up a run", move |connection| look_up(connection, id)).await
    }
}

fn look_up(connection: &Connection, id: RunId) -> Step<Option<RunRow>> {
    let sql = "SELECT * FROM runs WHERE id = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([id], run).optional()?)
}

/// The run of a number, when it has not ended.
fn unfinished(connection: &Connection, id: RunId) -> Step<Option<RunRow>> {
    let run = look_up(connection, id)?.ok_or_else(|| StoreError::NotThere(format!("run {id}")))?;
    Ok(run.state.is_unfinished().then_some(run))
}

/// The time for a change now: later than that of every change before, whatever the clock says.
pub(super) fn change_time(connection: &Connection, now: Timestamp) -> rusqlite::Result<Millis> {
    let sql = "SELECT max(?1, coalesce((SELECT max(updated_at) FROM runs) + 1, ?1))";
    connection.prepare_cached(sql)?.query_row([Millis(now)], |row| row.get(0))
}

fn run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: row.get("id")?,
        conversation: conversation(row)?,
        group: row.get("group_name")?,
        from: row.get("from_seq")?,
        through: row.get("through_seq")?,
        attempt: row.get("attempt")?,
        state: row.get("state")?,
        sandbox: row.get("sandbox")?,
        kind: row.get("sandbox_kind")?,
        created_at: time(row, "created_at")?,
        started_at: time_if_any(row, "started_at")?,
        finished_at: time_if_any(row, "finished_at")?,
        updated_at: time(row, "updated_at")?,
        usage: usage(row)?,
        error: row.get("error")?,
    })
}
