//! The runs under way: what people see of them, and how one is found that is to stop.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::{Conversation, RunId, SandboxId};
use crate::store::Claimed;

/// The runs under way, for those who want to see or to stop one.
#[derive(Debug, Default)]
pub(crate) struct Active {
    runs: Mutex<HashMap<RunId, ActiveRun>>,
}

/// A run under way.
#[derive(Debug, Clone)]
pub(crate) struct ActiveRun {
    /// The run.
    pub(crate) id: RunId,
    /// What it is about.
    pub(crate) conversation: Conversation,
    /// Since when.
    pub(crate) since: Instant,
    /// The sandbox that was last started for it, if one was.
    sandbox: Option<SandboxId>,
}

/// The note that a run is under way; taken back when dropped, whatever the run came to.
pub(super) struct Noted<'a> {
    active: &'a Active,
    run: RunId,
}

impl Active {
    /// Notes a run.
    pub(super) fn begin(&self, claimed: &Claimed) -> Noted<'_> {
        let (run, conversation) = (claimed.run, claimed.conversation.clone());
        let since = Instant::now();
        self.runs().insert(run, ActiveRun { id: run, conversation, since, sandbox: None });
        Noted { active: self, run }
    }

    /// Notes that a sandbox is started for a run.
    pub(super) fn moved(&self, run: RunId, sandbox: &SandboxId) {
        if let Some(run) = self.runs().get_mut(&run) {
            run.sandbox = Some(sandbox.clone());
        }
    }

    /// The sandbox that was last started for a run.
    pub(super) fn sandbox(&self, run: RunId) -> Option<SandboxId> {
        self.runs().get(&run)?.sandbox.clone()
    }

    /// The runs under way, oldest first.
    pub(crate) fn list(&self) -> Vec<ActiveRun> {
        let mut runs: Vec<_> = self.runs().values().cloned().collect();
        runs.sort_by_key(|run| run.id.0);
        runs
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunId, ActiveRun>> {
        // Every change is one insert or remove: a panic elsewhere leaves nothing half done.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.active.runs().remove(&self.run);
    }
}
