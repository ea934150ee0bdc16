//! A run that panics ends like any other attempt that failed.
//!
//! The invariant: its sandbox is gone before it is tried again, and its row in the ledger ends, so that its
//! conversation goes on. What panicked is nobody else's matter.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::error;

use super::outcome::{self, End};
use super::{Runs, live};
use crate::store::Claimed;

impl Runs {
    /// Sees a claimed run through; one that panics ends as a failed attempt.
    pub(super) async fn guard(&self, claimed: &Claimed, work: impl Future<Output = ()>) {
        if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
            return;
        }
        error!(run.id = %claimed.run, group.name = %claimed.group.name, "a run panicked");
        tokio::select! {
            gone = self.abandon(claimed) => if gone {
                let verdict = outcome::judge(&End::Panicked, claimed.attempt);
                self.commit(claimed, verdict, None).await;
            },
            // The next start takes it up.
            () = self.halt.cancelled() => {}
        }
    }

    /// Removes the sandbox of a run that let go of it; whether it is known to be gone.
    async fn abandon(&self, claimed: &Claimed) -> bool {
        let found = self.supply.ready().await;
        // The run began with the one that its row names, and may have gone on in another.
        let started = self.active.sandbox(claimed.run);
        for id in claimed.sandbox.iter().chain(&started) {
            if !live::stopped(&*found.sandbox, id, Duration::ZERO).await {
                // As long as it may live it takes up a place, and the run stays unfinished.
                self.shelf.place().await.forget();
                return false;
            }
            self.opener.clear_away(&claimed.group.name, id).await;
        }
        true
    }
}
