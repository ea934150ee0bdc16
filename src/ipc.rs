//! The files that gateway and agent leave for each other, one directory for each sandbox, read as hostile.
//!
//! Who asks is known by where a file lies, never by what it says. A file is first moved into a directory that no
//! sandbox sees, in one step; only then is it looked at, and read once. What the gateway writes is finished there
//! and then moved in. Names are single components beneath open directories and no link is ever followed; ids are
//! data. What was claimed stays on disk until [`IpcDir::forget`], also over a crash.
//!
//! Files that agents send are read from their group's folder in the same way ([`Outgoing`]).
//!
//! Every call blocks, and all but two are bounded and short enough to be made from the async side: sweeping an
//! empty directory takes microseconds, a full sweep some milliseconds. [`IpcDir::tidy`] and [`IpcDir::remove`] may
//! take seconds and belong on the blocking pool.

mod arrival;
#[cfg(test)]
mod attacks;
mod check;
mod claim;
mod confined;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod outgoing;
mod place;
mod reader;
mod remove;
#[cfg(test)]
mod tests;
mod trash;
mod watch;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::{Input, Reply, layout};

use self::place::Inner;
use crate::model::{GroupName, RequestId, SandboxId};

pub(crate) use self::arrival::Arrival;
pub(crate) use self::check::RejectReason;
pub(crate) use self::claim::ClaimedFile;
pub(crate) use self::outgoing::{MAX_SENT_BYTES, Outgoing};
pub(crate) use self::watch::IpcWatch;

/// How many steps one call of [`IpcDir::tidy`] takes.
const TIDY_STEPS: usize = 4096;

/// The gateway's side of one sandbox's ipc directory.
#[derive(Debug, Clone)]
pub(crate) struct IpcDir(Arc<Inner>);

/// The directories that an agent leaves requests and signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mailbox {
    /// What to say.
    Messages,
    /// What to do.
    Tasks,
    /// Signs of life.
    Progress,
}

/// What one look into a mailbox found.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// What can be read: progress in the order of its numbers, requests oldest first.
    pub(crate) files: Vec<ClaimedFile>,
    /// What cannot, and is out of the agent's reach already.
    pub(crate) rejected: Vec<Rejected>,
    /// Whether the next sweep finds more at once.
    pub(crate) more: bool,
}

/// A file that was not accepted; the agent should learn of it and the log should say so once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Its name, fit to be shown and logged.
    pub(crate) shown: String,
    /// The request that it stands for, where the name allows an answer.
    pub(crate) id: Option<RequestId>,
    /// Why.
    pub(crate) reason: RejectReason,
}

/// An ipc directory could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IpcError {
    /// It is not there: nothing of the sandbox can be adopted.
    #[error("sandbox {0} has no ipc directory")]
    Gone(SandboxId),
    /// Something failed on our side; what was asked for is undone and can be asked for again.
    #[error("cannot {doing} the ipc directory of sandbox {sandbox}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The sandbox.
        sandbox: SandboxId,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl IpcDir {
    /// Makes ahead what a sandbox needs whose group is not known yet, so that [`Self::create`] finds it done.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn prepare(
        root: &Path,
        sandbox: &SandboxId,
        owner: (u32, u32),
    ) -> Result<(), IpcError> {
        place::prepare(root, sandbox, owner).map_err(|source| IpcError::Failed {
            doing: "prepare",
            sandbox: sandbox.clone(),
            source,
        })
    }

    /// Makes the directory of a new sandbox beneath `root`, which is `store/ipc`; what the sandbox sees belongs to
    /// `owner`, user and group id.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn create(
        root: &Path,
        group: &GroupName,
        sandbox: &SandboxId,
        owner: (u32, u32),
    ) -> Result<Self, IpcError> {
        Inner::create(root, group, sandbox, owner)
            .map(Self::new)
            .map_err(|source| IpcError::Failed { doing: "make", sandbox: sandbox.clone(), source })
    }

    /// Opens the directory of a sandbox that an earlier life of the gateway made.
    ///
    /// # Errors
    /// [`IpcError::Gone`] when there is none.
    pub(crate) fn open(
        root: &Path,
        group: &GroupName,
        sandbox: &SandboxId,
        owner: (u32, u32),
    ) -> Result<Self, IpcError> {
        match Inner::open(root, group, sandbox, owner) {
            Ok(inner) => Ok(Self::new(inner)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(IpcError::Gone(sandbox.clone()))
            }
            Err(source) => {
                Err(IpcError::Failed { doing: "open", sandbox: sandbox.clone(), source })
            }
        }
    }

    /// Removes everything that there is of a sandbox, which must have ended; without a group, what was prepared for one
    /// that never had any.
    ///
    /// # Errors
    /// When something cannot be removed, or appears as fast as it goes.
    pub(crate) fn remove(
        root: &Path,
        group: Option<&GroupName>,
        sandbox: &SandboxId,
    ) -> Result<(), IpcError> {
        remove::one(root, group, sandbox).map_err(|source| IpcError::Failed {
            doing: "remove",
            sandbox: sandbox.clone(),
            source,
        })
    }

    /// Removes what is left of every sandbox but `live`: of those that ended while no gateway ran.
    ///
    /// # Errors
    /// When something could not be removed; the rest was.
    pub(crate) fn remove_all_but(root: &Path, live: &[SandboxId]) -> io::Result<()> {
        remove::all_but(root, live)
    }

    fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Where it is on the host, for the mount.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at what lies there"))]
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves something for the agent-runner, which takes inputs in the order in which they were put.
    ///
    /// # Errors
    /// When it could not be written; the agent-runner sees nothing of it then.
    pub(crate) fn put_input(&self, input: &Input) -> Result<(), IpcError> {
        self.failing("write to", || self.0.put_input(input))
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn put_reply(&self, id: &RequestId, reply: &Reply) -> Result<(), IpcError> {
        self.failing("write to", || self.0.put_reply(id, reply))
    }

    /// Puts one of the files that say what the group may see, such as [`layout::CURRENT_TASKS`], in place of what it
    /// said before.
    ///
    /// # Errors
    /// When it could not be written; the old one is still there then.
    pub(crate) fn put_snapshot(&self, name: &'static str, json: &[u8]) -> Result<(), IpcError> {
        self.failing("write to", || self.0.put_snapshot(name, json))
    }

    /// Takes what the agent left, up to a bound; what was taken before and neither forgotten nor put into quarantine
    /// comes first.
    ///
    /// # Errors
    /// When the fault is ours; nothing is lost, and the next sweep finds it.
    pub(crate) fn sweep(&self, from: Mailbox) -> Result<Sweep, IpcError> {
        self.failing("read", || self.0.sweep(from))
    }

    /// Takes `done.json`, if it is there. It is written last: sweep the mailboxes after this to have everything that
    /// the run said.
    ///
    /// # Errors
    /// When the fault is ours; nothing is lost.
    pub(crate) fn take_done(&self) -> Result<Option<Result<ClaimedFile, Rejected>>, IpcError> {
        self.failing("read", || self.0.take_done())
    }

    /// Removes a file whose content has been committed.
    ///
    /// # Errors
    /// When it could not be removed; it comes back with the next sweep.
    pub(crate) fn forget(&self, claimed: ClaimedFile) -> Result<(), IpcError> {
        self.failing("clean", || self.0.forget(claimed))
    }

    /// Puts a file aside whose content was not understood; it is never read again.
    ///
    /// # Errors
    /// When it could not be moved; it comes back with the next sweep.
    pub(crate) fn quarantine(&self, claimed: ClaimedFile) -> Result<(), IpcError> {
        self.failing("clean", || self.0.quarantine(claimed))
    }

    /// Removes some of what was rejected, and returns whether there is more; costs nothing where nothing was.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(crate) fn tidy(&self) -> Result<bool, IpcError> {
        self.failing("clean", || Ok(self.0.tidy(TIDY_STEPS)?.more))
    }

    /// Watches for what the agent leaves; must be called inside a runtime.
    ///
    /// # Errors
    /// When a directory cannot be opened.
    pub(crate) fn watch(&self) -> Result<IpcWatch, IpcError> {
        self.failing("watch", || self.0.watch())
    }

    fn failing<T>(
        &self,
        doing: &'static str,
        act: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, IpcError> {
        act().map_err(|source| IpcError::Failed {
            doing,
            sandbox: self.0.sandbox().clone(),
            source,
        })
    }
}

impl Mailbox {
    const ALL: [Self; 3] = [Self::Messages, Self::Tasks, Self::Progress];

    /// The directory's name.
    fn directory(self) -> &'static str {
        match self {
            Self::Messages => layout::MESSAGES,
            Self::Tasks => layout::TASKS,
            Self::Progress => layout::PROGRESS,
        }
    }

    fn from_directory(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mailbox| mailbox.directory() == name)
    }
}
