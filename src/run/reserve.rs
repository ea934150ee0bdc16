//! The sandbox to come: what it needs whoever it will be for is made before anybody waits for it.
//!
//! Making folders and sockets is slow beside starting a sandbox without a daemon, above all while the disk is busy with
//! a message that was just kept. There is never more than one in reserve; who comes when there is none makes everything
//! itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use tracing::debug;

use super::reaper;
use crate::broker::{Broker, Socket};
use crate::ipc::IpcDir;
use crate::model::SandboxId;
use crate::sandbox::spec;

/// At most one sandbox, made ahead.
pub(crate) struct Reserve(Arc<Inner>);

/// A sandbox of which there is an id, met nowhere before, and what was made ahead for it.
pub(super) struct Spare {
    id: SandboxId,
    /// The socket that it will come in by.
    socket: Option<Socket>,
    folders: Option<Folders>,
}

/// The folders of a sandbox that nobody has taken; they go when this is dropped.
struct Folders {
    store: PathBuf,
    id: SandboxId,
}

struct Inner {
    store: PathBuf,
    broker: Broker,
    next: Mutex<Next>,
}

/// How far the next one is.
#[derive(Default)]
enum Next {
    #[default]
    Missing,
    BeingMade,
    Ready(Spare),
}

impl Reserve {
    /// An empty reserve for the gateway whose store lies in this folder.
    pub(crate) fn new(store: PathBuf, broker: Broker) -> Self {
        Self(Arc::new(Inner { store, broker, next: Mutex::default() }))
    }

    /// Takes the one in reserve, or a mere id.
    pub(super) fn take(&self) -> Spare {
        let mut next = self.0.next();
        match std::mem::take(&mut *next) {
            Next::Ready(spare) => spare,
            unready => {
                *next = unready;
                Spare { id: fresh_id(), socket: None, folders: None }
            }
        }
    }

    /// Makes one in the background, if there is none.
    pub(super) fn fill(&self, tasks: &TaskTracker) {
        {
            let mut next = self.0.next();
            if !matches!(*next, Next::Missing) {
                return;
            }
            *next = Next::BeingMade;
        }
        let inner = self.0.clone();
        tasks.spawn_blocking(move || {
            let made = catch_unwind(AssertUnwindSafe(|| inner.make()));
            *inner.next() = match made {
                Ok(Ok(spare)) => Next::Ready(spare),
                Ok(Err(error)) => {
                    debug!(error = format!("{error:#}"), "no sandbox could be put in reserve");
                    Next::Missing
                }
                Err(_panic) => Next::Missing,
            };
        });
    }
}

impl Spare {
    /// Its id.
    pub(super) fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Hands it over to whoever sees to its end from now on: the id, and the socket where there is one.
    pub(super) fn taken(self) -> (SandboxId, Option<Socket>) {
        // Somebody may have tidied up where it waited for weeks.
        let socket = self.socket.filter(Socket::is_there);
        self.folders.into_iter().for_each(std::mem::forget);
        (self.id, socket)
    }
}

impl Inner {
    fn make(&self) -> anyhow::Result<Spare> {
        let (id, user) = (fresh_id(), spec::user());
        let folders = Folders { store: self.store.clone(), id: id.clone() };
        IpcDir::prepare(&ipc_root(&self.store), &id, (user.uid, user.gid))?;
        let dir = spec::own(spec::broker_dir(&self.store, &id), user)?;
        let socket = self.broker.bind(&dir, (user.uid, user.gid))?;
        Ok(Spare { id, socket: Some(socket), folders: Some(folders) })
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        reaper::clear(&self.store, None, &self.id);
    }
}

/// Where the ipc directories of a store lie.
pub(super) fn ipc_root(store: &Path) -> PathBuf {
    store.join("ipc")
}

/// A fresh id for a sandbox: 64 random bits, so that it is not met again in the life of an install.
fn fresh_id() -> SandboxId {
    format!("s{:016x}", fastrand::u64(..)).parse().expect("a letter and hexadecimal digits")
}
