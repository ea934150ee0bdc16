//! The store: one SQLite file with all that must outlive the process.
//!
//! What a method has returned is on disk. One thread writes, and commits whatever has queued up since its last
//! commit as one transaction; a few others read. The order of messages is [`Seq`](crate::model::Seq), assigned on arrival;
//! how far a conversation has come is its cursor, which moves only in the transaction that ends a run.

mod catch_up;
mod check;
mod connection;
mod drafts;
mod error;
mod groups;
mod intake;
mod lock;
mod migrate;
mod outbox;
mod prune;
mod reader;
mod requests;
mod revise;
mod router;
mod runs;
mod setback;
#[cfg(test)]
mod tests;
mod threads;
mod usage;
mod values;
mod writer;

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use self::error::Step;
use self::lock::Lock;
use self::reader::Readers;
use self::writer::{Name, Writer};
use crate::clock::SharedClock;

pub(crate) use self::error::StoreError;
pub(crate) use self::groups::{ChatRow, GroupChats};
pub(crate) use self::outbox::{Again, Listed, NewOutboxRow, OutboxRow, OutboxState};
pub(crate) use self::requests::{Effect, Registration, RequestKey, StoredReply};
pub(crate) use self::router::{News, Unseen};
pub(crate) use self::runs::{ClaimRun, Claimed, FinishRun, RunRow, RunState};
pub(crate) use self::setback::{Setback, patiently};
pub(crate) use self::usage::Counts;

/// How many connections read at a time.
const READERS: usize = 2;

/// The SQLite database; clones share it, and the last one to go closes it.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

/// In the order in which they go: the log is put away when nobody reads it any more, and the lock last.
struct Inner {
    readers: Readers,
    writer: Writer,
    clock: SharedClock,
    lock: Mutex<Option<Lock>>,
}

impl Store {
    /// Opens the store as the gateway: makes it or brings it up to date, and keeps other gateways out.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and [`StoreError::Newer`], and then nothing was touched;
    /// [`StoreError::Locked`] when there is another gateway.
    pub(crate) fn open(path: &Path, clock: SharedClock) -> Result<Self, StoreError> {
        let failed = |error| StoreError::failed("open the store", error);
        let folder = path.parent().unwrap_or(Path::new("."));
        if path.try_exists().map_err(failed)? {
            check::file(path)?;
        } else {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)?;
        let lock = Lock::take(folder)?;
        if !path.try_exists().map_err(failed)? {
            migrate::create(path)?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let (mut connection, found) = connect(path)?;
        if found < migrate::known() {
            migrate::migrate(&mut connection, found, migrate::known())
                .map_err(|error| StoreError::sqlite("bring the store up to date", error))?;
        }
        Self::start(path, connection, clock, Some(lock))
    }

    /// Opens the store beside a gateway, or without one: never makes it, never brings it up to date.
    ///
    /// # Errors
    /// [`StoreError::NotThere`], [`StoreError::Damaged`], [`StoreError::Newer`] and [`StoreError::Older`].
    pub(crate) fn open_beside(path: &Path, clock: SharedClock) -> Result<Self, StoreError> {
        check::file(path)?;
        let (connection, found) = connect(path)?;
        let known = migrate::known();
        if found < known {
            return Err(StoreError::Older { path: path.to_owned(), found, known });
        }
        Self::start(path, connection, clock, None)
    }

    /// Finishes what is queued, closes the file and lets go of the lock; after it every method says so.
    pub(crate) async fn close(&self) {
        self.inner.readers.stop().await;
        self.inner.writer.stop().await;
        // Whoever still holds the store can do nothing with it: the next gateway need not wait for them.
        drop(self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits until a thread of the store has ended: the store was closed, or it can do its work no longer.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.inner.writer.ended() => {}
            () = self.inner.readers.ended() => {}
        }
    }

    /// Whether the last commit met a full disk.
    pub(crate) fn is_full(&self) -> bool {
        self.inner.writer.is_full()
    }

    fn start(
        path: &Path,
        connection: Connection,
        clock: SharedClock,
        lock: Option<Lock>,
    ) -> Result<Self, StoreError> {
        let failed = |error| StoreError::sqlite("open the store", error);
        let readers = (0..READERS).map(|_| connection::reader(path)).collect::<Result<_, _>>();
        let readers = Readers::start(readers.map_err(failed)?)?;
        let writer = Writer::start(connection)?;
        Ok(Self { inner: Arc::new(Inner { readers, writer, clock, lock: Mutex::new(lock) }) })
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    async fn read<T, W>(&self, doing: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Step<T> + Send + 'static,
    {
        self.inner.readers.read(doing, work).await
    }

    async fn write<T, W>(&self, name: Name, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Step<T> + Send + 'static,
    {
        self.inner.writer.write(name, work).await
    }
}

/// Opens the connection that writes, and tells the database's version.
fn connect(path: &Path) -> Result<(Connection, u32), StoreError> {
    let failed = |error| StoreError::sqlite("open the store", error);
    let leave_alone = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    let connection = connection::writer(path).map_err(failed)?;
    // What is refused now must not be tidied up on the way out.
    connection.set_db_config(leave_alone, true).map_err(failed)?;
    let found = check::schema(path, &connection)?;
    connection.set_db_config(leave_alone, false).map_err(failed)?;
    connection::make_durable(&connection).map_err(failed)?;
    Ok((connection, found))
}
