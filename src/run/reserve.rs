//! The sandbox to come: what it needs whoever it will be for is made before anybody waits for it.
//!
//! Making folders and sockets is slow beside starting a sandbox without a daemon, above all while the disk is busy with
//! a message that was just kept. There is never more than one in reserve; who comes when there is none makes everything
//! itself. What is left of one that never began, the next start of the gateway clears away like any other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::broker::{Broker, Socket};
use crate::ipc::IpcDir;
use crate::model::SandboxId;
use crate::sandbox::spec;

/// A sandbox in reserve.
pub(crate) struct Reserve(Arc<Inner>);

struct Inner {
    store: PathBuf,
    broker: Broker,
    stock: Mutex<Stock>,
}

/// What there is.
#[derive(Default)]
struct Stock {
    next: Next,
    /// The socket of what is ready, and of what was taken and has not begun.
    sockets: HashMap<SandboxId, Socket>,
}

/// How far the next one is.
#[derive(Default)]
enum Next {
    #[default]
    Missing,
    BeingMade,
    Ready(SandboxId),
}

impl Reserve {
    /// An empty reserve for the gateway whose store lies in this folder.
    pub(crate) fn new(store: PathBuf, broker: Broker) -> Self {
        Self(Arc::new(Inner { store, broker, stock: Mutex::default() }))
    }

    /// An id for a sandbox to start: the one in reserve, or a new one.
    pub(super) fn take(&self) -> SandboxId {
        let mut stock = self.0.stock();
        match &stock.next {
            Next::Ready(id) => {
                let id = id.clone();
                stock.next = Next::Missing;
                id
            }
            Next::Missing | Next::BeingMade => fresh_id(),
        }
    }

    /// The socket of a sandbox that begins, if it comes from here.
    pub(super) fn socket(&self, id: &SandboxId) -> Option<Socket> {
        self.0.stock().sockets.remove(id)
    }

    /// Makes one in the background, if there is none.
    pub(super) fn fill(&self, tasks: &TaskTracker) {
        {
            let mut stock = self.0.stock();
            if !matches!(stock.next, Next::Missing) {
                return;
            }
            stock.next = Next::BeingMade;
        }
        let inner = self.0.clone();
        tasks.spawn_blocking(move || {
            let id = fresh_id();
            let made = inner.make(&id);
            let mut stock = inner.stock();
            stock.next = match made {
                Ok(socket) => {
                    stock.sockets.insert(id.clone(), socket);
                    Next::Ready(id)
                }
                Err(error) => {
                    debug!(error = format!("{error:#}"), "no sandbox could be put in reserve");
                    Next::Missing
                }
            };
        });
    }
}

impl Inner {
    fn make(&self, id: &SandboxId) -> anyhow::Result<Socket> {
        let user = spec::user();
        IpcDir::prepare(&self.store.join("ipc"), id, (user.uid, user.gid))?;
        spec::own(spec::broker_dir(&self.store, id), user)?;
        Ok(self.broker.bind(&spec::broker_dir(&self.store, id), (user.uid, user.gid))?)
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fresh id for a sandbox: 64 random bits, so that it is not met again in the life of an install.
fn fresh_id() -> SandboxId {
    format!("s{:016x}", fastrand::u64(..)).parse().expect("a letter and hexadecimal digits")
}
