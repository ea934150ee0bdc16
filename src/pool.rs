//! The pool: bounded slots that runs occupy, filled from the queue, first come first served.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info_span, warn};

use crate::channel::Channels;
use crate::model::Activity;
use crate::queue::{Hold, Queue, Taken};
use crate::run::{Ran, Runs, Unfinished};
use crate::store::RunRow;

/// After this time in the queue people are told how many are ahead.
const TELL_AFTER: Duration = Duration::from_secs(3);
/// How often they are told.
const TELL_EVERY: Duration = Duration::from_secs(3);
/// The most conversations that are told at once.
const TELL_AT_MOST: usize = 100;

/// The bounded slots.
pub(crate) struct Pool {
    slots: Arc<Semaphore>,
    queue: Arc<Queue>,
    runs: Arc<Runs>,
    tasks: TaskTracker,
    /// Woken at the end of each run: the router looks whether its conversation is due again.
    ended: Arc<Notify>,
}

/// A run that an earlier gateway left unfinished, with its conversation, which is held from before anything begins:
/// nobody's wish to stop it is lost.
pub(crate) struct Left {
    /// Its row in the ledger.
    pub(crate) row: RunRow,
    /// Its conversation.
    pub(crate) hold: Hold,
}

impl Pool {
    /// A pool with this many slots; the runs are spawned into `tasks`.
    pub(crate) fn new(
        slots: usize,
        queue: Arc<Queue>,
        runs: Arc<Runs>,
        tasks: TaskTracker,
        ended: Arc<Notify>,
    ) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), queue, runs, tasks, ended }
    }

    /// Whether a conversation that is queued now would start at once.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() == 0 && self.slots.available_permits() > 0
    }

    /// Starts runs as slots get free, until `stop`; the runs themselves go on.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        loop {
            let slot = tokio::select! {
                // Once a gateway winds up, nothing more begins.
                biased;
                () = stop.cancelled() => return,
                slot = self.slots.clone().acquire_owned() => slot,
            };
            let Ok(slot) = slot else { return };
            let Taken { waiting, hold } = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                taken = self.queue.take() => taken,
            };
            let (runs, cancel) = (self.runs.clone(), hold.cancel().clone());
            let run = async move { Box::pin(runs.execute(&waiting, &cancel)).await };
            self.start(hold, slot, run);
        }
    }

    /// Takes up the runs of an earlier gateway as slots get free, before any other begins, until `stop`. One whose
    /// sandbox another kind made waits for that kind, and nobody waits for it.
    pub(crate) async fn take_up(self: &Arc<Self>, left: Vec<Left>, stop: &CancellationToken) {
        let rows: Vec<RunRow> = left.iter().map(|left| left.row.clone()).collect();
        let left_over = tokio::select! {
            left_over = self.runs.left_over(&rows) => left_over,
            () = stop.cancelled() => return,
        };
        for Left { row, hold } in left {
            if let Some(unfinished) = left_over.of(&row) {
                self.take_up_one(unfinished, hold, stop).await;
                continue;
            }
            let (pool, stop) = (self.clone(), stop.clone());
            self.tasks.spawn(async move {
                let unfinished = tokio::select! {
                    unfinished = pool.runs.end_elsewhere(&row) => unfinished,
                    () = stop.cancelled() => return,
                };
                if let Some(unfinished) = unfinished {
                    pool.take_up_one(unfinished, hold, &stop).await;
                }
            });
        }
    }

    async fn take_up_one(&self, left: Unfinished, hold: Hold, stop: &CancellationToken) {
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            slot = self.slots.clone().acquire_owned() => slot,
        };
        let Ok(slot) = slot else { return };
        let (runs, cancel) = (self.runs.clone(), hold.cancel().clone());
        self.start(hold, slot, async move {
            let place = tokio::select! {
                place = runs.shelf.place() => place,
                () = runs.halt.cancelled() => return Ran::Ended,
            };
            Box::pin(runs.take_up(&left, place, &cancel)).await
        });
    }

    fn start(
        &self,
        hold: Hold,
        slot: OwnedSemaphorePermit,
        run: impl Future<Output = Ran> + Send + 'static,
    ) {
        let (runs, ended) = (self.runs.clone(), self.ended.clone());
        let span = info_span!("run", chat.id = %hold.conversation().chat);
        let work = async move {
            // A run sees to its own panics; this is for those before its claim, and for those in seeing to one.
            let ran = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_panic| {
                error!(
                    "a run panicked where nothing could be done about it; the next start takes it up"
                );
                Ran::Ended
            });
            drop(slot);
            runs.channels.show(hold.conversation(), &Activity::Idle).await;
            if ran == Ran::PutBack {
                give_up_if_wished(&runs, hold).await;
            } else {
                drop(hold);
            }
            ended.notify_one();
        };
        self.tasks.spawn(work.instrument(span));
    }

    /// Tells people who wait how many are ahead of them, until `stop`.
    pub(crate) async fn tell(&self, channels: &Channels, stop: CancellationToken) {
        loop {
            let nobody = self.queue.len() == 0;
            tokio::select! {
                () = tokio::time::sleep(TELL_EVERY), if !nobody => {}
                () = self.queue.pushed(), if nobody => {}
                () = stop.cancelled() => return,
            }
            for (ahead, waiting) in self.queue.waiting(TELL_AT_MOST).into_iter().enumerate() {
                if waiting.since.elapsed() >= TELL_AFTER {
                    channels.show(&waiting.conversation, &Activity::Queued { ahead }).await;
                }
            }
        }
    }
}

/// Gives up what was put back, if somebody has wished to stop it too late for the run itself.
async fn give_up_if_wished(runs: &Runs, hold: Hold) {
    let mut held = hold.let_go();
    while let Some(hold) = held {
        if let Err(error) = runs.give_up_waiting(hold.conversation()).await {
            warn!(%error, chat.id = %hold.conversation().chat, "what waits could not be given up");
        }
        held = hold.let_go();
    }
}
