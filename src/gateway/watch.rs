//! The watch over the loops: a gateway of which a part has ended lives and does nothing, so it is ended as a whole, in
//! order, and whoever sees to it that it runs starts it anew.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error};

/// The watch over the loops; clones watch together.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    fallen: Arc<watch::Sender<Option<String>>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { fallen: Arc::new(watch::Sender::new(None)) }
    }
}

impl Watch {
    /// Spawns a loop that is to go on until `stop`, and notes when it ends before, or panics.
    pub(super) fn spawn(
        &self,
        tasks: &TaskTracker,
        part: impl Into<String>,
        stop: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let (watch, part, stop) = (self.clone(), part.into(), stop.clone());
        let work = async move {
            // Whatever a loop leaves half done is not used again: the gateway ends.
            let how = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => "ended",
                Err(_panic) => "panicked",
            };
            error!("a part of the gateway, the {part}, {how}");
            watch.fallen.send_if_modified(|fallen| {
                let is_first = fallen.is_none();
                fallen.get_or_insert(part);
                is_first
            });
        };
        tasks.spawn(work.in_current_span());
    }

    /// Waits until a loop has ended before its time; which one.
    pub(super) async fn fallen(&self) -> String {
        let mut fallen = self.fallen.subscribe();
        loop {
            if let Some(part) = &*fallen.borrow_and_update() {
                return part.clone();
            }
            if fallen.changed().await.is_err() {
                // The sender lives as long as this watch, so this is never reached while anybody waits.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_ends_or_panics_before_the_stop_is_noted_and_no_other() {
        let (watch, tasks, stop) = (Watch::default(), TaskTracker::new(), CancellationToken::new());
        let until = stop.clone();
        watch.spawn(&tasks, "good", &stop, async move { until.cancelled().await });
        assert_eq!(watch.fallen().now_or_never(), None);
        watch.spawn(&tasks, "router", &stop, async {});
        assert_eq!(watch.fallen().await, "router");

        let other = Watch::default();
        other.spawn(&tasks, "pool", &stop, async { panic!("on purpose") });
        assert_eq!(other.fallen().await, "pool");

        let last = Watch::default();
        let until = stop.clone();
        last.spawn(&tasks, "good", &stop, async move { until.cancelled().await });
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        assert_eq!(last.fallen().now_or_never(), None);
    }
}
