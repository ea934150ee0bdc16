//! Where a run happens: in a warm sandbox of its group, or in a fresh one that is prepared while the run is claimed.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tracing::{debug, error, warn};

use super::live::Live;
use super::opener::{NotOpened, OpenError, Prepared};
use super::outcome::{End, Verdict};
use super::reserve::Spare;
use super::supply::State;
use super::{Order, Runs, commit, follow, judge};
use crate::model::{GroupName, SandboxId, SandboxKind};
use crate::sandbox::SandboxError;
use crate::store::Claimed;

/// Where a run that is being claimed may happen.
pub(super) enum Candidate {
    Warm(Box<Live>),
    Spare(Spare),
}

/// Where a run that was claimed happens, unless that does not fit.
pub(super) enum Venue {
    /// In a sandbox that waited for its group's next message.
    Warm(Box<Live>),
    /// In one that is prepared.
    Fresh(Box<Prepared>),
    /// In one that is still to be prepared.
    Missing(Spare),
}

impl Candidate {
    /// The id of the sandbox.
    pub(super) fn id(&self) -> &SandboxId {
        match self {
            Self::Warm(live) => &live.id,
            Self::Spare(spare) => spare.id(),
        }
    }

    /// Its kind, if it is known already.
    pub(super) fn kind(&self) -> Option<SandboxKind> {
        match self {
            Self::Warm(live) => Some(live.kind),
            Self::Spare(_) => None,
        }
    }
}

impl Runs {
    /// Where a run of this group may happen.
    pub(super) fn candidate(&self, group: &GroupName) -> Candidate {
        match self.shelf.take(group) {
            Some(live) => Candidate::Warm(Box::new(live)),
            None => Candidate::Spare(self.opener.reserve.take()),
        }
    }

    /// Does what can be done for a run while it is being claimed. A panic in it is not the claim's matter.
    pub(super) async fn venue(&self, candidate: Candidate, group: &GroupName) -> Venue {
        let ready = AssertUnwindSafe(self.make_ready(candidate, group)).catch_unwind().await;
        ready.unwrap_or_else(|_panic| {
            error!(group.name = %group, "making a sandbox ready panicked; another one is made");
            Venue::Missing(self.opener.reserve.take())
        })
    }

    async fn make_ready(&self, candidate: Candidate, group: &GroupName) -> Venue {
        let spare = match candidate {
            Candidate::Warm(mut live) => {
                follow::turn_away(&live);
                live.look_again(&self.opener);
                return Venue::Warm(live);
            }
            Candidate::Spare(spare) => spare,
        };
        let State::Ready(found) = self.supply.state() else { return Venue::Missing(spare) };
        match self.opener.prepare(&found, group, spare).await {
            Ok(prepared) => Venue::Fresh(Box::new(prepared)),
            Err(NotOpened { error, .. }) => {
                debug!(%error, "the sandbox could not be prepared ahead of its run");
                Venue::Missing(self.opener.reserve.take())
            }
        }
    }

    /// Gets a sandbox that fits: the warm one, or a fresh one. Without one it says what becomes of the run, or nothing
    /// where the gateway halts before that is known.
    pub(super) async fn sandbox(
        &self,
        order: Order<'_>,
        venue: Venue,
    ) -> Result<Live, Option<Verdict>> {
        let claimed = order.claimed;
        let (mut prepared, mut spare, mut unfit) = (None, None, None);
        match venue {
            Venue::Warm(live) if live.fits(&claimed.group) => return Ok(*live),
            Venue::Warm(live) => unfit = Some(live.close()),
            Venue::Fresh(fresh) => prepared = Some(*fresh),
            Venue::Missing(unmade) => spare = Some(unmade),
        }
        let room = async {
            let left = match unfit {
                Some(ended) => ended.await.ok().and_then(|gone| gone.place),
                None => None,
            };
            let place = match left {
                Some(place) => place,
                None => self.shelf.place().await,
            };
            (place, self.supply.ready().await)
        };
        let (place, found) = tokio::select! {
            room = room => room,
            () = order.cancel.cancelled() => return Err(Some(commit::stopped())),
            () = self.halt.cancelled() => return Err(Some(Verdict::Release)),
        };
        // One that another kind prepared is of no use any more.
        let prepared = match prepared.filter(|prepared| prepared.kind() == found.sandbox.kind()) {
            Some(prepared) => prepared,
            None => {
                let spare = spare.unwrap_or_else(|| self.opener.reserve.take());
                match self.opener.prepare(&found, &claimed.group.name, spare).await {
                    Ok(prepared) => prepared,
                    Err(not_opened) => return Err(self.not_opened(claimed, not_opened).await),
                }
            }
        };
        let (id, kind) = (prepared.id(), prepared.kind());
        if (claimed.sandbox.as_ref(), claimed.kind) != (Some(id), Some(kind))
            && let Err(error) = self.store.run_moved(claimed.run, id, kind).await
        {
            warn!(%error, run.id = %claimed.run, "where the run happens could not be noted; it is tried again");
            return Err(Some(judge(&End::NotStarted, claimed)));
        }
        self.active.moved(claimed.run, id);
        match self.opener.start(prepared, &claimed.group, place).await {
            Ok(live) => Ok(live),
            Err(not_opened) => Err(self.not_opened(claimed, not_opened).await),
        }
    }

    /// What becomes of a run whose sandbox did not come to live, once nothing is left of that.
    async fn not_opened(&self, claimed: &Claimed, not_opened: NotOpened) -> Option<Verdict> {
        let NotOpened { error, ended } = not_opened;
        let verdict = match &error {
            OpenError::Sandbox(error) if is_absence(error) => {
                warn!(%error, "the sandbox is not to be had any more; the run waits");
                self.supply.report(error);
                Verdict::Release
            }
            _ => judge(&End::NotStarted, claimed),
        };
        warn!(error = format!("{:#}", anyhow::Error::new(error)), run.id = %claimed.run, "no sandbox for the run");
        self.gone(&claimed.conversation, ended).await.map(|_gone| verdict)
    }
}

/// Whether the kind of sandbox itself is missing, rather than this one having failed.
fn is_absence(error: &SandboxError) -> bool {
    matches!(error, SandboxError::Unavailable { .. } | SandboxError::NoImage { .. })
}
