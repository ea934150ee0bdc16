//! What can go wrong with the store.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

use crate::model::{ChatId, GroupName};

/// The store could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file is no sound store of ours; it was left as it is.
    #[error(
        "the store {path} is damaged ({detail}); it was left as it is, restore it from a backup"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A newer hermitcrab wrote the file; it was left as it is.
    #[error(
        "the store {path} was written by a newer hermitcrab (version {found}, this one knows {known}); \
         it was left as it is, install the newer one"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file waits for a gateway of this version to bring it up to date; only beside a gateway.
    #[error(
        "the store {path} was written by an older hermitcrab (version {found}, this one needs {known}); \
         start the gateway once to bring it up to date"
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this program needs.
        known: u32,
    },
    /// There was no room; nothing of the operation was done, and it can be tried again.
    #[error("the disk is full")]
    DiskFull,
    /// Another gateway has the store.
    #[error("the store is in use by {holder}")]
    Locked {
        /// Who has it.
        holder: String,
    },
    /// What was named does not exist.
    #[error("there is no {0}")]
    NotThere(String),
    /// What was asked contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// A chat belongs to another group.
    #[error("the chat {chat} belongs to the group {owner}")]
    Taken {
        /// The chat.
        chat: ChatId,
        /// The group that has it.
        owner: GroupName,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Anything else, with its cause.
    #[error("could not {doing}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// A failure with its cause.
    pub(super) fn failed(doing: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Failed { doing, source: Arc::new(source) }
    }

    /// What SQLite said while `doing`.
    pub(super) fn sqlite(doing: &'static str, error: rusqlite::Error) -> Self {
        if is_disk_full(&error) { Self::DiskFull } else { Self::failed(doing, error) }
    }

    /// Whether the same may go well another time: nothing was wrong with what was asked.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::DiskFull | Self::Failed { .. })
    }

    /// Whether there was no room.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull)
    }
}

/// Whether SQLite met a full disk, be it in the log or in the index of the log.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    let index_of_log =
        error.sqlite_error().is_some_and(|it| it.extended_code == ffi::SQLITE_IOERR_SHMSIZE);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || index_of_log
}

/// Why one operation inside a transaction stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// The operation was refused.
    Refused(StoreError),
    /// The operation panicked.
    Panicked,
}

/// A fault in the program that was caught before it took anything else with it.
#[derive(Debug, thiserror::Error)]
#[error("the program has a fault, of which its standard error says more")]
struct Panicked;

/// What one operation inside a transaction comes to.
pub(super) type Step<T> = Result<T, Stop>;

impl Stop {
    /// The same for the caller.
    pub(super) fn into_error(self, doing: &'static str) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::sqlite(doing, error),
            Self::Refused(error) => error,
            Self::Panicked => StoreError::failed(doing, Panicked),
        }
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Does `work`; one that panics has failed, and nothing else has.
///
/// That is safe, and kinder than an end of the process: all that an operation changes is rows, which are rolled back, and
/// one message that meets a fault must not take the gateway down again after each start.
pub(super) fn contain<T>(work: impl FnOnce() -> Step<T>) -> Step<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Stop::Panicked))
}
