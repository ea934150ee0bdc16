//! The writer: one thread that commits all that has queued up since its last commit as one transaction.
//!
//! Each operation runs in a savepoint of its own, so that one which fails takes no other with it. Nobody is told
//! that an operation is done before the transaction with it is on disk; when that fails, all of them hear it. One that
//! panics has failed like any other.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Step, StoreError, contain};
use super::threads::{Inbox, Threads};
use crate::failpoint::fail_point;

/// How many operations share a commit at most, so that the log stays short and the first does not wait for long.
const GROUP: usize = 128;

/// How long a commit waits at most for others to join it.
const PATIENCE: Duration = Duration::from_micros(300);

/// The way to the writing thread.
pub(super) struct Writer {
    threads: Threads<Box<dyn Operation>>,
    full: Arc<AtomicBool>,
}

/// What an operation is called, in errors and by the crash tests.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// What it does, after "could not".
    pub(super) doing: &'static str,
    /// The place before the commit.
    pub(super) before_commit: &'static str,
    /// The place after the commit, before anybody hears of it.
    pub(super) after_commit: &'static str,
    /// What it must outlive.
    pub(super) durability: Durability,
}

/// What an operation must outlive once it is said to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durability {
    /// The end of the process only. What it tells is over with the machine: no sandbox outlives that.
    Process,
    /// A loss of power as well.
    Machine,
}

impl Name {
    /// The same for an operation that tells of a sandbox at work, which a loss of power ends as well.
    ///
    /// It costs no fsync of its own; whatever is committed for good after it makes it so too.
    pub(super) const fn while_powered(self) -> Self {
        Self { durability: Durability::Process, ..self }
    }
}

/// Names an operation: a word for the crash tests, and what it does.
macro_rules! name {
    ($point:literal, $doing:literal) => {
        $crate::store::writer::Name {
            doing: $doing,
            before_commit: concat!("store.", $point, ".before_commit"),
            after_commit: concat!("store.", $point, ".after_commit"),
            durability: $crate::store::writer::Durability::Machine,
        }
    };
}

pub(super) use name;

impl Writer {
    /// Starts the thread with its connection.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let full = Arc::new(AtomicBool::new(false));
        let mut thread = WriterThread::new(connection, Arc::clone(&full));
        let work = move |inbox: &mut Inbox<Box<dyn Operation>>| thread.work(inbox);
        let threads = Threads::start("store-writer", vec![work])
            .map_err(|error| StoreError::failed("start the writer", error))?;
        Ok(Self { threads, full })
    }

    /// Carries out `work` in a transaction, and returns when it is on disk.
    ///
    /// # Errors
    /// What `work` or the commit came to; then nothing of it was done.
    pub(super) async fn write<T, W>(&self, name: Name, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Step<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let pending = Pending { name, work: Some(work), result: None, reply };
        self.threads.submit(Box::new(pending)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Whether the last commit met a full disk.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Waits until the thread has ended, of itself or by [`Writer::stop`].
    pub(super) async fn ended(&self) {
        self.threads.ended().await;
    }

    /// Waits until all that is queued is on disk and the thread has ended.
    pub(super) async fn stop(&self) {
        self.threads.stop().await;
    }
}

/// One operation in the queue.
trait Operation: Send {
    fn name(&self) -> Name;

    /// Does it, inside the transaction; tells what went wrong.
    fn apply(&mut self, connection: &Connection) -> Result<(), StoreError>;

    /// Tells the one who waits, now that the transaction has ended.
    fn settle(self: Box<Self>, commit: &Result<(), StoreError>);
}

/// An operation with what it does and who waits for it.
struct Pending<T, W> {
    name: Name,
    work: Option<W>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Operation for Pending<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Step<T> + Send,
{
    fn name(&self) -> Name {
        self.name
    }

    fn apply(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = contain(|| work(connection)).map_err(|stop| stop.into_error(self.name.doing));
        let outcome = result.as_ref().map(|_| ()).map_err(Clone::clone);
        self.result = Some(result);
        outcome
    }

    fn settle(self: Box<Self>, commit: &Result<(), StoreError>) {
        let answer = match (commit, self.result) {
            (_, Some(Err(own))) => Err(own),
            (Ok(()), Some(done)) => done,
            (Err(error), _) => Err(error.clone()),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone; the operation stands all the same.
        self.reply.send(answer).ok();
    }
}

/// The last commit, from which the size of the next can be guessed.
struct Commit {
    ended: Instant,
    took: Duration,
    /// How many had a part in it or waited for the next.
    company: usize,
}

impl Commit {
    /// Fills a group with what is queued. In a rush those who had a part in the last commit are given a moment to
    /// come again: without it half of them would always wait out a commit that the other half shares. One who comes
    /// alone never waits.
    fn gather(&self, group: &mut Vec<Box<dyn Operation>>, inbox: &mut Inbox<Box<dyn Operation>>) {
        let patience = (self.took / 4).min(PATIENCE);
        let rush = self.ended.elapsed() < patience;
        let expected = if rush { self.company.min(GROUP) } else { 1 };
        let start = Instant::now();
        loop {
            while group.len() < GROUP
                && let Some(more) = inbox.try_next()
            {
                group.push(more);
            }
            if group.len() >= expected || start.elapsed() >= patience {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Tells each member of a group what became of it.
fn settle(group: &mut Vec<Box<dyn Operation>>, committed: &Result<(), StoreError>) {
    for operation in group.drain(..) {
        operation.settle(committed);
    }
}

/// The thread's side.
struct WriterThread {
    connection: Connection,
    /// What commits outlive now; the connection comes as durable as can be.
    durability: Cell<Durability>,
    full: Arc<AtomicBool>,
}

impl WriterThread {
    fn new(connection: Connection, full: Arc<AtomicBool>) -> Self {
        Self { connection, durability: Cell::new(Durability::Machine), full }
    }

    fn work(&mut self, inbox: &mut Inbox<Box<dyn Operation>>) {
        let mut group = Vec::with_capacity(GROUP);
        let mut last = Commit { ended: Instant::now(), took: Duration::ZERO, company: 0 };
        while let Some(first) = inbox.next() {
            group.push(first);
            last.gather(&mut group, inbox);
            let start = Instant::now();
            let committed = self.commit(&mut group);
            let company = group.len() + inbox.len();
            settle(&mut group, &committed);
            let ended = Instant::now();
            last = Commit { ended, took: ended - start, company };
        }
        self.checkpoint();
    }

    /// Carries out a group.
    fn commit(&self, group: &mut [Box<dyn Operation>]) -> Result<(), StoreError> {
        let before = self.connection.total_changes();
        let committed = self.transaction(group);
        if committed.is_err()
            && !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "the store could not roll back");
        }
        match &committed {
            Ok(()) if self.connection.total_changes() != before => self.note_full(false),
            Err(error) if error.is_disk_full() => self.note_full(true),
            _ => {}
        }
        committed
    }

    fn transaction(&self, group: &mut [Box<dyn Operation>]) -> Result<(), StoreError> {
        let durability = group.iter().map(|operation| operation.name().durability).max();
        self.set_durability(durability.unwrap_or(Durability::Machine))?;
        self.execute("BEGIN IMMEDIATE")?;
        for operation in group.iter_mut() {
            self.execute("SAVEPOINT operation")?;
            let applied = operation.apply(&self.connection);
            // SQLite ends the whole transaction by itself on some errors, a full disk among them.
            if self.connection.is_autocommit() {
                return Err(applied.err().unwrap_or(StoreError::Closed));
            }
            if let Err(error) = applied {
                if error.is_disk_full() {
                    return Err(error);
                }
                self.execute("ROLLBACK TO operation")?;
            }
            self.execute("RELEASE operation")?;
        }
        for operation in group.iter() {
            fail_point!(operation.name().before_commit);
        }
        self.execute("COMMIT")?;
        for operation in group.iter() {
            fail_point!(operation.name().after_commit);
        }
        Ok(())
    }

    /// Sets what the next commits outlive (<https://sqlite.org/pragma.html#pragma_synchronous>).
    fn set_durability(&self, durability: Durability) -> Result<(), StoreError> {
        if self.durability.replace(durability) == durability {
            return Ok(());
        }
        let synchronous = match durability {
            Durability::Process => "NORMAL",
            Durability::Machine => "FULL",
        };
        let set = self.connection.pragma_update(None, "synchronous", synchronous);
        set.map_err(|error| StoreError::sqlite("commit to the store", error))
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        let run = || self.connection.prepare_cached(sql)?.execute([]);
        run().map(|_| ()).map_err(|error| StoreError::sqlite("commit to the store", error))
    }

    fn note_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!("the disk is full: nothing can be kept until there is room");
            } else {
                tracing::info!("the store can write again");
            }
        }
    }

    /// Leaves the database in one file, as far as nobody else reads it.
    fn checkpoint(&self) {
        let truncated =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()));
        if let Err(error) = truncated {
            tracing::warn!(%error, "the store's log stays beside it until the next start");
        }
    }
}

#[cfg(test)]
mod tests;
