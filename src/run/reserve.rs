//! The sandbox to come: what it needs whoever it will be for is made before anybody waits for it.
//!
//! Making folders and sockets is slow beside starting a sandbox without a daemon, above all while the disk is busy with
//! a message that was just kept. There is never more than one in reserve; who comes when there is none makes everything
//! itself. What is left of one that never began, the next start of the gateway clears away like any other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::broker::{Broker, Socket};
use crate::ipc::IpcDir;
use crate::model::SandboxId;
use crate::sandbox::spec;

/// At most one sandbox, made ahead.
pub(crate) struct Reserve(Arc<Inner>);

/// A sandbox that nobody has begun yet.
pub(super) struct Spare {
    /// Its id, met nowhere before.
    pub(super) id: SandboxId,
    /// The socket that it will come in by; none where nothing was made ahead.
    pub(super) socket: Option<Socket>,
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
                Spare { id: fresh_id(), socket: None }
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
            let made = inner.make().inspect_err(|error| {
                debug!(error = format!("{error:#}"), "no sandbox could be put in reserve");
            });
            *inner.next() = made.map_or(Next::Missing, Next::Ready);
        });
    }
}

impl Inner {
    fn make(&self) -> anyhow::Result<Spare> {
        let (id, user) = (fresh_id(), spec::user());
        IpcDir::prepare(&self.store.join("ipc"), &id, (user.uid, user.gid))?;
        let dir = spec::own(spec::broker_dir(&self.store, &id), user)?;
        let socket = self.broker.bind(&dir, (user.uid, user.gid))?;
        Ok(Spare { id, socket: Some(socket) })
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fresh id for a sandbox: 64 random bits, so that it is not met again in the life of an install.
fn fresh_id() -> SandboxId {
    format!("s{:016x}", fastrand::u64(..)).parse().expect("a letter and hexadecimal digits")
}
