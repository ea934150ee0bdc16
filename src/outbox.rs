//! The outbox: what waits to be sent, sent in order, each once.
//!
//! One loop per channel, so that a failing channel holds up no other. A row is marked before it is sent and marked
//! again when the platform has it; a row found marked but not confirmed is looked up on the platform before it is
//! sent again. Only the oldest unsent row of a conversation is ever under way, which keeps the order within it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

use crate::channel::{Channel, Parcel, RunEnd, SendError};
use crate::clock::SharedClock;
use crate::failpoint::fail_point;
use crate::model::{ChannelName, Conversation, Receipt};
use crate::store::{OutboxRow, OutboxState, Store, StoreError};

/// The most conversations of one channel that are sent to at the same time.
const AT_ONCE: usize = 16;
/// How long the loop sleeps when nothing wakes it.
const POLL: Duration = Duration::from_secs(30);
/// How long a row waits when nobody was there to take it and nobody comes.
const ABSENT: Duration = Duration::from_secs(300);
/// How often a row is tried before it is given up; the waits between add up to about two hours.
const ATTEMPTS: u32 = 12;

/// Sends what waits for one channel.
pub(crate) struct Outbox {
    channel: Arc<dyn Channel>,
    store: Store,
    clock: SharedClock,
    wake: Arc<Notify>,
}

impl Outbox {
    /// An outbox for a channel; `wake` says that there may be something to send.
    ///
    /// All channels share it, so it must wake all who wait: one alone could be the wrong one. None misses it, for
    /// each begins to listen before it looks into the store.
    pub(crate) fn new(
        channel: Arc<dyn Channel>,
        store: Store,
        clock: SharedClock,
        wake: Arc<Notify>,
    ) -> Self {
        Self { channel, store, clock, wake }
    }

    /// Sends until `stop`, then finishes what is under way.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let name = self.channel.name().clone();
        let this = Arc::new(self);
        let span = info_span!("outbox", channel.name = %name);
        async {
            let mut sending = JoinSet::new();
            let mut under_way: Vec<Conversation> = Vec::new();
            loop {
                let woken = this.wake.notified();
                // Asked once a turn: a stop that comes in the middle of one is still waited for below.
                let stopping = stop.is_cancelled();
                if !stopping {
                    this.start_due(&name, &mut sending, &mut under_way).await;
                } else if sending.is_empty() {
                    return;
                }
                let pause = this.pause(&name).await;
                tokio::select! {
                    () = woken => {}
                    () = stop.cancelled(), if !stopping => {}
                    Some(sent) = sending.join_next() => {
                        if let Ok(conversation) = sent {
                            under_way.retain(|other| *other != conversation);
                        } else {
                            under_way.clear();
                            sending.shutdown().await;
                        }
                    }
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
        .instrument(span)
        .await;
    }

    async fn start_due(
        self: &Arc<Self>,
        name: &ChannelName,
        sending: &mut JoinSet<Conversation>,
        under_way: &mut Vec<Conversation>,
    ) {
        if under_way.len() >= AT_ONCE {
            return;
        }
        let due = match self.store.outbox_due(name, AT_ONCE * 2).await {
            Ok(due) => due,
            Err(error) => {
                warn!(%error, "the outbox cannot be read; it is tried again");
                return;
            }
        };
        for row in due {
            let conversation = row.conversation.clone();
            if under_way.len() >= AT_ONCE || under_way.contains(&conversation) {
                continue;
            }
            under_way.push(conversation.clone());
            let this = self.clone();
            sending.spawn(
                async move {
                    if let Err(error) = this.deliver(row).await {
                        warn!(%error, chat.id = %conversation.chat, "a row of the outbox could not be updated");
                    }
                    conversation
                }
                .in_current_span(),
            );
        }
    }

    async fn pause(&self, name: &ChannelName) -> Duration {
        match self.store.outbox_next_at(name).await {
            Ok(Some(at)) => {
                let wait = at.duration_since(self.clock.now());
                Duration::try_from(wait)
                    .unwrap_or(Duration::ZERO)
                    .clamp(Duration::from_millis(100), POLL)
            }
            _ => POLL,
        }
    }

    async fn deliver(&self, row: OutboxRow) -> Result<(), StoreError> {
        let parcel = parcel(&row);
        if row.state == OutboxState::Sending {
            match self.channel.find(&parcel).await {
                Ok(Some(receipt)) => return self.sent(&row, &receipt).await,
                Ok(None) => {}
                Err(error) => return self.not_sent(&row, error).await,
            }
        }
        self.store.outbox_sending(row.id).await?;
        fail_point!("outbox.marked");
        match self.channel.send(&parcel).await {
            Ok(receipt) => {
                fail_point!("outbox.taken");
                self.sent(&row, &receipt).await
            }
            Err(error) => self.not_sent(&row, error).await,
        }
    }

    async fn sent(&self, row: &OutboxRow, receipt: &Receipt) -> Result<(), StoreError> {
        self.store.outbox_sent(row.id, receipt).await?;
        fail_point!("outbox.confirmed");
        debug!(outbox.id = %row.id, chat.id = %row.conversation.chat, "sent");
        self.wake.notify_waiters();
        Ok(())
    }

    async fn not_sent(&self, row: &OutboxRow, error: SendError) -> Result<(), StoreError> {
        let now = self.clock.now();
        let reason = error.to_string();
        match error {
            SendError::Absent => {
                self.store.outbox_absent(row.id, row.state, after(now, ABSENT)).await
            }
            SendError::Refused { .. } => {
                warn!(outbox.id = %row.id, chat.id = %row.conversation.chat, %reason, "not sent, and given up");
                self.store.outbox_failed(row.id, &reason).await
            }
            SendError::Later { .. } | SendError::Doubtful { .. }
                if row.attempts + 1 >= ATTEMPTS =>
            {
                warn!(outbox.id = %row.id, chat.id = %row.conversation.chat, %reason, "not sent, and given up");
                self.store.outbox_failed(row.id, &reason).await
            }
            SendError::Later { retry_at, .. } => {
                let at = retry_at.unwrap_or_else(|| after(now, back_off(row.attempts)));
                self.store.outbox_later(row.id, at, &reason).await
            }
            // The row stays marked, so that it is looked up before it is sent again.
            SendError::Doubtful { .. } => {
                self.store
                    .outbox_doubtful(row.id, after(now, back_off(row.attempts)), &reason)
                    .await
            }
        }
    }
}

/// Says that somebody is there who can take what waits for these conversations.
pub(crate) async fn arrived(store: &Store, present: Vec<Conversation>, wake: &Notify) {
    if let Err(error) = store.outbox_arrived(present).await {
        warn!(%error, "the outbox could not be hurried");
    }
    wake.notify_waiters();
}

fn parcel(row: &OutboxRow) -> Parcel {
    Parcel {
        id: row.id,
        conversation: row.conversation.clone(),
        text: row.text.clone(),
        through: row.through,
        ends: row.ends.map(|(through, answered)| RunEnd { through, answered }),
    }
}

/// One second, doubled with each attempt up to half an hour, and up to a quarter more so that rows spread out.
fn back_off(attempts: u32) -> Duration {
    let seconds = 1_u64.checked_shl(attempts).unwrap_or(u64::MAX).min(1_800);
    let base = Duration::from_secs(seconds);
    base + base.mul_f64(fastrand::f64() / 4.0)
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_under_the_cap() {
        for (attempts, seconds) in [(0, 1), (1, 2), (5, 32), (11, 1_800), (200, 1_800)] {
            let wait = back_off(attempts).as_secs_f64();
            let base = f64::from(seconds);
            assert!((base..=base * 1.25).contains(&wait), "{attempts}: {wait}");
        }
    }
}
