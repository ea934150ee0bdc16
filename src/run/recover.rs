//! After a crash: what the gateway before this one left unfinished.
//!
//! A run is followed again where it was left: its ipc directory holds all that the agent said. If its sandbox still
//! lives, the run goes on; if it ended meanwhile, an outcome that was left is committed, and without one the run is
//! tried again. Sandboxes that work for no run are removed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::live::Remains;
use super::{Found, Place, Running, Runs};
use crate::model::{GroupName, RunId, SandboxId};
use crate::store::{self, Claimed, RunRow, RunState};

/// The pause before sandboxes are listed again.
const LIST_PAUSE: Duration = Duration::from_secs(2);

/// A run that the gateway before this one left unfinished, and what there is of its sandbox.
pub(crate) struct Unfinished {
    /// Its row in the ledger.
    pub(crate) row: RunRow,
    found: Found,
    lives: bool,
}

impl Runs {
    /// Sorts out what was left: removes the sandboxes that work for nobody, and returns the runs to be taken up.
    pub(crate) async fn left_over(&self, rows: Vec<RunRow>) -> Vec<Unfinished> {
        let found = self.supply.ready().await;
        // Without the list nobody knows which runs still go on: nothing else may begin.
        let live = loop {
            match found.sandbox.list().await {
                Ok(live) => break live,
                Err(error) => {
                    warn!(%error, "the sandboxes of an earlier gateway cannot be listed yet");
                }
            }
            tokio::time::sleep(LIST_PAUSE).await;
        };
        let wanted = |id: &SandboxId| rows.iter().any(|row| row.sandbox.as_ref() == Some(id));
        for orphan in live.iter().filter(|sandbox| !wanted(&sandbox.id)) {
            self.remove(&found, &orphan.group, &orphan.id).await;
        }
        self.opener.clear_away_all_but(&rows).await;
        let lives = |row: &RunRow| {
            live.iter().any(|sandbox| sandbox.running && row.sandbox.as_ref() == Some(&sandbox.id))
        };
        rows.into_iter()
            .map(|row| Unfinished { lives: lives(&row), found: found.clone(), row })
            .collect()
    }

    /// Takes a run up where it was left.
    pub(crate) async fn take_up(
        self: &Arc<Self>,
        left: Unfinished,
        place: Place,
        cancel: CancellationToken,
    ) {
        let id = left.row.id;
        let refused = "an unfinished run cannot be read now";
        match store::patiently(refused, &self.halt, || self.store.claimed(id)).await {
            Ok(Some(claimed)) => {
                let work = self.take_up_claimed(&left, &claimed, place, cancel);
                self.guard(&claimed, work).await;
            }
            Ok(None) => self.put_back(id).await,
            Err(error) => {
                warn!(%error, run.id = %id, "an unfinished run was not read; the next start takes it up");
            }
        }
    }

    async fn take_up_claimed(
        &self,
        left: &Unfinished,
        claimed: &Claimed,
        place: Place,
        cancel: CancellationToken,
    ) {
        let Some(sandbox) = &left.row.sandbox else { return self.put_back(left.row.id).await };
        let remains = Remains { found: &left.found, id: sandbox, lives: left.lives };
        let adopted = self.opener.adopt(&remains, &claimed.group, place).await;
        let live = match adopted {
            Ok(live) => live,
            Err(error) => {
                info!(%error, run.id = %claimed.run, "nothing is left of the run's sandbox; it begins anew");
                self.remove(&left.found, &claimed.group.name, sandbox).await;
                return self.put_back(claimed.run).await;
            }
        };
        info!(run.id = %claimed.run, sandbox.id = %sandbox, lives = left.lives, "a run was taken up");
        let _noted = self.active.begin(claimed);
        let deadline = self.deadline(claimed);
        let begun = left.row.state == RunState::Running;
        let run = Running { claimed, live, cancel, deadline, begun };
        if !begun {
            // Whether the prompt was left is unknown. Should it be there twice, the second outcome is nobody's.
            let prompt = protocol::Input::Prompt(Box::new(self.prompt(claimed)));
            if let Err(error) = run.live.ipc.put_input(&prompt) {
                warn!(%error, run.id = %claimed.run, "the prompt could not be left again");
            }
        }
        super::fail_point!("run.taken_up");
        self.see_through(run).await;
    }

    async fn put_back(&self, run: RunId) {
        let refused = "an unfinished run cannot be put back now";
        match store::patiently(refused, &self.halt, || self.store.release_run(run)).await {
            Ok(()) => info!(run.id = %run, "an unfinished run begins anew"),
            Err(error) => {
                warn!(%error, run.id = %run, "an unfinished run was not put back; the next start takes it up");
            }
        }
    }

    async fn remove(&self, found: &Found, group: &GroupName, id: &SandboxId) {
        if let Err(error) = found.sandbox.stop(id, Duration::ZERO).await {
            warn!(%error, sandbox.id = %id, "a sandbox of an earlier gateway could not be removed");
        }
        self.opener.clear_away(group, id).await;
    }
}
