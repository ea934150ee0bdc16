//! Warm sandboxes: kept for the next message of their group, given up as soon as anybody needs the room.
//!
//! Working and warm sandboxes together are never more than the pool has slots: who starts one must hold a place,
//! and a warm one gives its place up when none is free.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::live::Live;
use crate::model::GroupName;

/// How often warm sandboxes are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long one that gives up its place may take before the next one must as well.
const EVICTION: Duration = Duration::from_secs(3);

/// A place for one sandbox; given back when dropped.
pub(crate) type Place = OwnedSemaphorePermit;

/// The warm sandboxes, and the places for all of them.
pub(crate) struct Shelf {
    places: Arc<Semaphore>,
    warm: Mutex<VecDeque<Warm>>,
    idle_timeout: Duration,
    put: Notify,
    shelved: Notify,
}

struct Warm {
    live: Live,
    since: Instant,
}

impl Shelf {
    /// A shelf with room for this many sandboxes, which stay warm for `idle_timeout`.
    pub(crate) fn new(slots: usize, idle_timeout: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(slots)),
            warm: Mutex::new(VecDeque::new()),
            idle_timeout,
            put: Notify::new(),
            shelved: Notify::new(),
        }
    }

    /// Takes a warm sandbox of this group.
    pub(crate) fn take(&self, group: &GroupName) -> Option<Live> {
        let mut warm = self.warm();
        let index = warm.iter().rposition(|warm| warm.live.group.name == *group)?;
        warm.remove(index).map(|warm| warm.live)
    }

    /// Gets a place for a fresh sandbox; the one that has been idle longest gives up its own when none is free. What
    /// has begun to end does so also when this is dropped.
    pub(crate) async fn place(&self) -> Place {
        // In one line with all who wait, from now on.
        let mut place = std::pin::pin!(self.places.clone().acquire_owned());
        loop {
            let put = self.put.notified();
            let full = self.places.available_permits() == 0;
            let idle = if full { self.warm().pop_front() } else { None };
            let news = async {
                match idle {
                    Some(Warm { live, .. }) => {
                        debug!(sandbox.id = %live.id, "a warm sandbox gives up its place");
                        // Its place is free when it is dropped here, or later when nobody waits here any more.
                        timeout(EVICTION, live.close()).await.map(drop).ok();
                    }
                    // What is put here may hold the place that is waited for.
                    None => put.await,
                }
            };
            tokio::select! {
                biased;
                place = &mut place => return place.expect("the shelf never closes its places"),
                () = news => {}
            }
        }
    }

    /// A place, if one is free.
    pub(crate) fn try_place(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Puts a sandbox on the shelf for the next message of its group.
    pub(crate) fn put(&self, mut live: Live) {
        live.growth.renew();
        self.warm().push_back(Warm { live, since: Instant::now() });
        self.put.notify_waiters();
        self.shelved.notify_one();
    }

    /// How many are warm.
    pub(crate) fn warm_count(&self) -> usize {
        self.warm().len()
    }

    /// Gives up what was idle for too long, fills the disk, or has ended, until `stop`; then gives up everything.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Without warm sandboxes there is nothing to look at: an idle gateway does not wake up for it.
            let nothing = self.warm().is_empty();
            tokio::select! {
                () = tokio::time::sleep(LOOK), if !nothing => {}
                () = self.shelved.notified(), if nothing => {}
                () = stop.cancelled() => {}
            }
            for warm in self.expired() {
                debug!(sandbox.id = %warm.live.id, "a warm sandbox is given up");
                drop(warm.live.close());
            }
        }
        self.clear().await;
    }

    /// Gives up all warm sandboxes.
    pub(crate) async fn clear(&self) {
        let all: Vec<Warm> = self.warm().drain(..).collect();
        futures_util::future::join_all(all.into_iter().map(|warm| warm.live.close())).await;
    }

    fn expired(&self) -> Vec<Warm> {
        let mut warm = self.warm();
        let (mut gone, mut kept) = (Vec::new(), VecDeque::new());
        for mut candidate in warm.drain(..) {
            // What an agent has left running in it may fill the disk after the answer.
            let grown = candidate.live.growth.exceeded().now_or_never().is_some();
            let ended = candidate.live.exit.borrow().is_some();
            if grown || ended || candidate.since.elapsed() >= self.idle_timeout {
                gone.push(candidate);
            } else {
                kept.push_back(candidate);
            }
        }
        *warm = kept;
        gone
    }

    fn warm(&self) -> MutexGuard<'_, VecDeque<Warm>> {
        // Every change is one push, pop or drain: a panic elsewhere leaves nothing half done.
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
