//! The pool: bounded slots that runs occupy, filled from the queue, first come first served.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info_span};

use crate::channel::Channels;
use crate::model::{Activity, Conversation};
use crate::queue::Queue;
use crate::run::{Runs, Unfinished};

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
                slot = self.slots.clone().acquire_owned() => slot,
                () = stop.cancelled() => return,
            };
            let Ok(slot) = slot else { return };
            let waiting = tokio::select! {
                waiting = self.queue.take() => waiting,
                () = stop.cancelled() => return,
            };
            let runs = self.runs.clone();
            let conversation = waiting.conversation.clone();
            self.start(conversation, slot, async move { Box::pin(runs.execute(&waiting)).await });
        }
    }

    /// Takes up a run of an earlier gateway, as soon as a slot is free.
    pub(crate) async fn take_up(&self, left: Unfinished) {
        let conversation = left.row.conversation.clone();
        let cancel = self.queue.begin(&conversation);
        let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
        let runs = self.runs.clone();
        self.start(conversation, slot, async move {
            let place = runs.shelf.place().await;
            runs.take_up(left, place, cancel).await;
        });
    }

    fn start(
        &self,
        conversation: Conversation,
        slot: OwnedSemaphorePermit,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        let (queue, ended) = (self.queue.clone(), self.ended.clone());
        let span = info_span!("run", chat.id = %conversation.chat);
        let work = async move {
            // A run sees to its own panics; this is for those before its claim, and for those in seeing to one.
            if AssertUnwindSafe(run).catch_unwind().await.is_err() {
                error!(
                    "a run panicked where nothing could be done about it; the next start takes it up"
                );
            }
            drop(slot);
            queue.end(&conversation);
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
