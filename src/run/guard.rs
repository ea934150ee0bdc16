//! A run that panics ends like any other attempt that failed.
//!
//! The invariant: its sandbox is gone before it is tried again, and its row in the ledger ends, so that its
//! conversation goes on. What panicked is nobody else's matter.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tracing::error;

use super::outcome::End;
use super::{Order, Ran, Runs, judge};

impl Runs {
    /// Sees a claimed run through; one that panics ends as a failed attempt.
    pub(super) async fn guard(&self, order: Order<'_>, work: impl Future<Output = Ran>) -> Ran {
        if let Ok(ran) = AssertUnwindSafe(work).catch_unwind().await {
            return ran;
        }
        let claimed = order.claimed;
        error!(run.id = %claimed.run, group.name = %claimed.group.name, "a run panicked");
        // The run began with the sandbox that its row names, and may have gone on in another. It let go of both, so
        // that the reaper has them.
        let started = self.active.sandbox(claimed.run);
        for id in claimed.sandbox.iter().chain(&started) {
            if !self.opener.reaper.gone(id).await {
                // The next start takes it up.
                return Ran::Ended;
            }
        }
        self.commit(order, judge(&End::Panicked, claimed), None).await
    }
}
