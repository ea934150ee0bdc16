//! The end of a gateway.
//!
//! It has three steps: what brings work in ends at once; runs get a grace period; what is left is put back and begins
//! anew with the next start. All of it together ends at one deadline, whatever hangs.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Gateway;

/// How long a stop may take as a whole; the service files give it twice as much.
const STOP: Duration = Duration::from_secs(45);
/// How long of that runs may go on.
const GRACE: Duration = Duration::from_secs(10);
/// How long of it is left to the store alone, which must write down what it has taken.
const LAST: Duration = Duration::from_secs(10);

/// How long a stop may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// All of it.
    pub stop: Duration,
    /// The part in which runs may go on.
    pub grace: Duration,
    /// The part that is kept for the store.
    pub last: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stop: STOP, grace: GRACE, last: LAST }
    }
}

impl Gateway {
    /// How many conversations have a run under way, or wait for another attempt at one, and how long a stop leaves them
    /// to end it.
    pub fn under_way(&self) -> (usize, Duration) {
        (self.runs.len(), self.patience.grace)
    }

    /// Ends the grace period of a stop when cancelled: what still runs is put back at once, in order.
    pub fn haste(&self) -> CancellationToken {
        self.haste.clone()
    }

    /// Stops: takes nothing more, lets runs end for a while, sends what is ready, and closes the store. What hangs is
    /// left behind at the deadline, and taken up by the next start.
    pub async fn stop(self) {
        info!("the gateway stops");
        let deadline = Instant::now() + self.patience.stop;
        self.intake.cancel();
        self.work.cancel();
        for tracker in [&self.runs, &self.outboxes, &self.tasks] {
            tracker.close();
        }
        let ended = tokio::select! {
            () = self.runs.wait() => true,
            () = sleep(self.patience.grace) => false,
            () = self.haste.cancelled() => false,
        };
        if !ended {
            warn!("runs are still under way; they begin anew with the next start");
        }
        self.halt.cancel();
        self.outbox.cancel();
        let wound_up = deadline.checked_sub(self.patience.last).unwrap_or(deadline);
        if timeout_at(wound_up, self.wind_up()).await.is_err() {
            let (runs, outboxes, tasks) = (self.runs.len(), self.outboxes.len(), self.tasks.len());
            warn!(runs, outboxes, tasks, "something did not end in time and is left behind");
        }
        self.desk.close();
        if timeout_at(deadline, self.store.close()).await.is_err() {
            warn!("the store could not write down all that it has taken");
        }
        info!("the gateway has stopped");
    }

    /// Waits until all that ran has ended, and ends the warm sandboxes.
    async fn wind_up(&self) {
        let sandboxes = async {
            loop {
                self.runs.wait().await;
                // A run that ended just now may have put its sandbox back.
                self.shelf.clear().await;
                // Among them are those who wait for the ends of the sandboxes, and the one who begins runs: it may have
                // begun its last as all this was asked.
                self.tasks.wait().await;
                if self.runs.is_empty() {
                    return;
                }
            }
        };
        tokio::join!(sandboxes, self.outboxes.wait());
        self.broker.settle().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_files_leave_time_for_a_stop() {
        let seconds = |file: &str, before: &str| -> u64 {
            let (_, rest) = file.split_once(before).unwrap();
            rest.split(|c: char| !c.is_ascii_digit())
                .find(|word| !word.is_empty())
                .unwrap()
                .parse()
                .unwrap()
        };
        let systemd = seconds(include_str!("../../systemd/hermitcrab.service"), "TimeoutStopSec=");
        let launchd =
            seconds(include_str!("../../launchd/hermitcrab.plist"), "<key>ExitTimeOut</key>");
        for service in [systemd, launchd] {
            assert!(Duration::from_secs(service) >= STOP + STOP, "{service} s");
        }
        assert!(GRACE + LAST < STOP);
    }
}
