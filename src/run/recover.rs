//! After a crash: what the gateway before this one left unfinished.
//!
//! A run is followed again where it was left: its ipc directory holds all that the agent said. If its sandbox still
//! lives, the run goes on; if it ended meanwhile, an outcome that was left is committed, and without one the run is
//! tried again. Only the kind that made a sandbox is believed when it says that it is gone: as long as it is not to be
//! had, the run waits, and everything else goes on. Sandboxes that work for no run are removed, those of a kind that was
//! used before as well, should it be to be had.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::opener::Remains;
use super::reaper::{Doomed, Ended, Maker};
use super::{Found, NotOpened, Order, Place, Ran, Running, Runs};
use crate::model::{SandboxId, SandboxKind};
use crate::sandbox::LiveSandbox;
use crate::store::{self, RunRow, RunState};

/// The pause before sandboxes are listed again.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the kinds that are not in use may take to say what they still have: nothing begins before.
const ELSEWHERE: Duration = Duration::from_secs(2);

/// A run that the gateway before this one left unfinished, and what there is of its sandbox.
pub(crate) struct Unfinished {
    /// Its row in the ledger.
    pub(crate) row: RunRow,
    found: Found,
    lives: bool,
}

/// What was left, as far as the kind that is there now can tell.
pub(crate) struct LeftOver {
    found: Found,
    live: Vec<LiveSandbox>,
}

impl LeftOver {
    /// The run with what there is of its sandbox; `None` when another kind made it, which must be asked.
    pub(crate) fn of(&self, row: &RunRow) -> Option<Unfinished> {
        let ours = self.found.sandbox.kind();
        if row.sandbox.is_some() && row.kind.is_some_and(|kind| kind != ours) {
            return None;
        }
        let its =
            |sandbox: &LiveSandbox| sandbox.running && row.sandbox.as_ref() == Some(&sandbox.id);
        let lives = self.live.iter().any(its);
        Some(Unfinished { row: row.clone(), found: self.found.clone(), lives })
    }
}

impl Runs {
    /// Sorts out what was left: ends the sandboxes that work for none of these runs.
    pub(crate) async fn left_over(&self, rows: &[RunRow]) -> LeftOver {
        let found = self.supply.ready().await;
        // Without the list nobody knows which runs still go on: nothing else may begin.
        let live = loop {
            match found.sandbox.list().await {
                Ok(live) => break live,
                Err(error) => {
                    warn!(%error, "the sandboxes of an earlier gateway cannot be listed yet");
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        let here = |sandbox: LiveSandbox| (Maker::Here(found.sandbox.clone()), sandbox);
        let mut there: Vec<(Maker, LiveSandbox)> = live.iter().cloned().map(here).collect();
        there.extend(self.list_elsewhere(found.sandbox.kind()).await);
        let wanted = |id: &SandboxId| rows.iter().any(|row| row.sandbox.as_ref() == Some(id));
        // What belongs to an orphan goes with it.
        let kept = rows.iter().filter_map(|row| row.sandbox.clone());
        let kept = kept.chain(there.iter().map(|(_, sandbox)| sandbox.id.clone())).collect();
        for (maker, LiveSandbox { id, group, .. }) in there {
            if !wanted(&id) {
                drop(self.opener.reaper.end(Doomed {
                    ipc: self.opener.ipc_of(&group, &id),
                    store: Some(self.settings.store_dir()),
                    id,
                    group,
                    maker: Some(maker),
                    // It takes up room until it is gone.
                    place: self.shelf.try_place(),
                    exit: None,
                    way: None,
                }));
            }
        }
        self.opener.clear_away_all_but(kept).await;
        LeftOver { found, live }
    }

    /// What the kinds that are not in use still have of this install, as far as they can be asked now. To open a kind
    /// is to let it tidy up what it left without a sandbox.
    async fn list_elsewhere(&self, in_use: SandboxKind) -> Vec<(Maker, LiveSandbox)> {
        let mut there = Vec::new();
        for kind in SandboxKind::ALL.into_iter().filter(|kind| *kind != in_use) {
            let list = async { self.supply.reach(kind).await?.list().await };
            match tokio::time::timeout(ELSEWHERE, list).await {
                Ok(Ok(live)) => there.extend(live.into_iter().map(|one| (Maker::Away(kind), one))),
                Ok(Err(error)) => debug!(%error, %kind, "a kind that is not in use is not asked"),
                Err(_elapsed) => debug!(%kind, "a kind that is not in use does not answer"),
            }
        }
        there
    }

    /// Ends the sandbox of a run, which another kind made than the one in use; `None` when the gateway halts first.
    /// What the sandbox left is looked through by whoever takes the run up.
    pub(crate) async fn end_elsewhere(&self, row: &RunRow) -> Option<Unfinished> {
        let (Some(id), Some(kind)) = (&row.sandbox, row.kind) else { return None };
        warn!(
            run.id = %row.id, group.name = %row.group, sandbox.id = %id, %kind,
            "an unfinished run waits until the kind of sandbox that it was in says that it is gone"
        );
        let ended = self.end_by(kind, row, id);
        self.gone(&row.conversation, ended).await?;
        Some(Unfinished { row: row.clone(), found: self.supply.ready().await, lives: false })
    }

    fn end_by(&self, kind: SandboxKind, row: &RunRow, id: &SandboxId) -> Ended {
        self.opener.reaper.end(Doomed {
            id: id.clone(),
            group: row.group.clone(),
            maker: Some(Maker::Away(kind)),
            place: None,
            exit: None,
            way: None,
            ipc: None,
            store: None,
        })
    }

    /// Takes a run up where it was left.
    pub(crate) async fn take_up(
        &self,
        left: &Unfinished,
        place: Place,
        cancel: &CancellationToken,
    ) -> Ran {
        let id = left.row.id;
        let refused = "an unfinished run cannot be read now";
        match store::patiently(refused, &self.halt, || self.store.claimed(id)).await {
            Ok(Some(claimed)) => {
                let order = Order { claimed: &claimed, cancel };
                let work = self.take_up_claimed(left, order, place);
                self.guard(order, work).await
            }
            Ok(None) => {
                // Its group is gone: there is nobody to follow it for, and nothing to try again.
                self.forsake(left, place).await;
                Ran::Ended
            }
            Err(error) => {
                warn!(%error, run.id = %id, "an unfinished run was not read; the next start takes it up");
                Ran::Ended
            }
        }
    }

    async fn take_up_claimed(&self, left: &Unfinished, order: Order<'_>, place: Place) -> Ran {
        let claimed = order.claimed;
        let Some(sandbox) = &left.row.sandbox else { return self.put_back(order).await };
        let remains = Remains { found: &left.found, id: sandbox, lives: left.lives };
        let live = match self.opener.adopt(&remains, &claimed.group, place).await {
            Ok(live) => live,
            Err(NotOpened { error, ended }) => {
                info!(%error, run.id = %claimed.run, "nothing is left of the run's sandbox; it begins anew");
                if self.gone(&claimed.conversation, ended).await.is_none() {
                    return Ran::Ended;
                }
                return self.put_back(order).await;
            }
        };
        info!(run.id = %claimed.run, sandbox.id = %sandbox, lives = left.lives, "a run was taken up");
        let _noted = self.active.begin(claimed);
        let deadline = self.deadline(claimed);
        let begun = left.row.state == RunState::Running;
        let run = Running { claimed, live, cancel: order.cancel.clone(), deadline, begun };
        if !begun {
            // Whether the prompt was left is unknown. Should it be there twice, the second outcome is nobody's.
            let prompt = protocol::Input::Prompt(Box::new(self.prompt(claimed)));
            if let Err(error) = run.live.ipc.put_input(&prompt) {
                warn!(%error, run.id = %claimed.run, "the prompt could not be left again");
            }
        }
        super::fail_point!("run.taken_up");
        self.see_through(run).await
    }

    async fn put_back(&self, order: Order<'_>) -> Ran {
        info!(run.id = %order.claimed.run, "an unfinished run begins anew");
        self.commit(order, super::Verdict::Release, None).await
    }

    /// Ends the sandbox of a run whose group is gone, and then the run.
    async fn forsake(&self, left: &Unfinished, place: Place) {
        let RunRow { id: run, group, sandbox, conversation, .. } = &left.row;
        if let Some(sandbox) = sandbox {
            let ended = self.opener.reaper.end(Doomed {
                id: sandbox.clone(),
                group: group.clone(),
                maker: Some(Maker::Here(left.found.sandbox.clone())),
                place: Some(place),
                exit: None,
                way: None,
                ipc: self.opener.ipc_of(group, sandbox),
                store: Some(self.settings.store_dir()),
            });
            if self.gone(conversation, ended).await.is_none() {
                return;
            }
        }
        let refused = "an unfinished run cannot be put back now";
        match store::patiently(refused, &self.halt, || self.store.release_run(*run)).await {
            Ok(()) => info!(run.id = %run, "an unfinished run of a group that is gone has ended"),
            Err(error) => warn!(%error, run.id = %run, "an unfinished run could not be put back"),
        }
    }
}
