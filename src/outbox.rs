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

use crate::channel::{Channel, ChannelState, Content, Parcel, SendError};
use crate::clock::SharedClock;
use crate::failpoint::fail_point;
use crate::ipc::Outgoing;
use crate::model::{ChannelName, Conversation, Receipt};
use crate::store::{self, Again, OutboxRow, OutboxState, Setback, Store, StoreError};

/// The most conversations of one channel that are sent to at the same time.
const AT_ONCE: usize = 16;
/// How long the loop sleeps when nothing wakes it.
const POLL: Duration = Duration::from_secs(30);
/// The same while rows are under way, whose ends wake it.
const BUSY: Duration = Duration::from_secs(1);
/// How long a row waits when nobody was there to take it and nobody comes.
const ABSENT: Duration = Duration::from_secs(300);
/// How often a row is tried before it is given up; the waits between add up to about two hours.
const ATTEMPTS: u32 = 12;
/// What is said when the store does not say what waits.
const UNREADABLE: &str = "the outbox cannot be read now";
/// What is said when the store does not take what became of a row.
const UNWRITABLE: &str = "the outbox cannot be written to now";

/// Sends what waits for one channel.
pub(crate) struct Outbox {
    channel: Arc<dyn Channel>,
    store: Store,
    files: Outgoing,
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
        files: Outgoing,
        clock: SharedClock,
        wake: Arc<Notify>,
    ) -> Self {
        Self { channel, store, files, clock, wake }
    }

    /// Sends until `stop`, then finishes what is under way.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let name = self.channel.name().clone();
        let this = Arc::new(self);
        let span = info_span!("outbox", channel.name = %name);
        async {
            let mut sending = JoinSet::new();
            let mut under_way: Vec<Conversation> = Vec::new();
            let mut setback = Setback::default();
            let mut seen = this.channel.state();
            loop {
                let woken = this.wake.notified();
                // Asked once a turn: a stop that comes in the middle of one is still waited for below.
                let stopping = stop.is_cancelled();
                if stopping && sending.is_empty() {
                    return;
                }
                let pause = match this.due(&name, &mut seen).await {
                    _ if stopping => POLL,
                    Ok((due, pause)) => {
                        setback.over(UNREADABLE);
                        this.start(due, &stop, &mut sending, &mut under_way);
                        pause
                    }
                    Err(error) => setback.refused(UNREADABLE, &error),
                };
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

    /// What is to be sent now, and how long until there is more. As long as the channel is not connected that is
    /// nothing: what waits for it is neither tried nor counted. A state that is not the one `seen` before may be that of
    /// somebody who is there again: those for whom nobody was there need not wait any longer.
    async fn due(
        &self,
        name: &ChannelName,
        seen: &mut ChannelState,
    ) -> Result<(Vec<OutboxRow>, Duration), StoreError> {
        let state = self.channel.state();
        let longest = match state {
            ChannelState::Up { .. } => POLL,
            ChannelState::Partly { .. } => BUSY,
            _ => return Ok((Vec::new(), BUSY)),
        };
        if *seen != state {
            self.store.outbox_returned(name).await?;
            *seen = state;
        }
        let due = self.store.outbox_due(name, AT_ONCE * 2).await?;
        let pause = match self.store.outbox_next_at(name).await? {
            // One that is due is started at once or under way, and its end is the next turn.
            Some(at) => Duration::try_from(at.duration_since(self.clock.now()))
                .map_or(BUSY, |wait| wait.clamp(Duration::from_millis(100), longest)),
            None => longest,
        };
        Ok((due, pause))
    }

    fn start(
        self: &Arc<Self>,
        due: Vec<OutboxRow>,
        stop: &CancellationToken,
        sending: &mut JoinSet<Conversation>,
        under_way: &mut Vec<Conversation>,
    ) {
        for row in due {
            let conversation = row.conversation.clone();
            if under_way.len() >= AT_ONCE || under_way.contains(&conversation) {
                continue;
            }
            under_way.push(conversation.clone());
            let (this, stop) = (self.clone(), stop.clone());
            sending.spawn(
                async move {
                    if let Err(error) = this.send(&row, &stop).await {
                        warn!(%error, chat.id = %conversation.chat, "a row of the outbox was not updated");
                    }
                    conversation
                }
                .in_current_span(),
            );
        }
    }

    /// Sends a row, or looks up whether it was, and writes down what came of it.
    ///
    /// A store that does not take this now is asked again before anything else is done with the row: what the
    /// platform has said must not be forgotten. At `stop` the row stays marked, and the next start looks it up.
    async fn send(&self, row: &OutboxRow, stop: &CancellationToken) -> Result<(), StoreError> {
        let (mut parcel, state) = (self.parcel(row), self.channel.state());
        // A look-up that fails is an attempt as well, or it would go on for ever.
        store::patiently(UNWRITABLE, stop, || self.store.outbox_sending(row.id)).await?;
        fail_point!("outbox.marked");
        if row.state == OutboxState::Sending {
            match self.channel.find(&parcel).await {
                Ok(Some(receipt)) => return self.sent(row, &receipt, stop).await,
                Ok(None) => {}
                // Whatever kept it from being looked up, whether it arrived stays as open as it was.
                Err(SendError::Later { reason, retry_at }) => {
                    let doubt = SendError::Doubtful { reason, retry_at };
                    return self.not_sent(row, doubt, stop).await;
                }
                Err(error) => return self.put_off(row, error, &state, stop).await,
            }
        }
        let mut sent = self.channel.send(&parcel).await;
        if let Err(SendError::Begun { name }) = sent {
            store::patiently(UNWRITABLE, stop, || self.store.outbox_begun(row.id, &name)).await?;
            fail_point!("outbox.begun");
            parcel.begun = Some(name);
            sent = self.channel.send(&parcel).await;
        }
        match sent {
            Ok(receipt) => {
                fail_point!("outbox.taken");
                self.sent(row, &receipt, stop).await
            }
            Err(error) => self.put_off(row, error, &state, stop).await,
        }
    }

    /// The same as [`Self::not_sent`]; but who was not there may have come while that was written down.
    async fn put_off(
        &self,
        row: &OutboxRow,
        error: SendError,
        state: &ChannelState,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let was_absent = error == SendError::Absent;
        self.not_sent(row, error, stop).await?;
        if was_absent && self.channel.state() != *state {
            arrived(&self.store, vec![row.conversation.clone()], &self.wake).await;
        }
        Ok(())
    }

    async fn sent(
        &self,
        row: &OutboxRow,
        receipt: &Receipt,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        store::patiently(UNWRITABLE, stop, || self.store.outbox_sent(row.id, receipt)).await?;
        fail_point!("outbox.confirmed");
        debug!(outbox.id = %row.id, chat.id = %row.conversation.chat, "sent");
        self.clear(row);
        self.wake.notify_waiters();
        Ok(())
    }

    async fn not_sent(
        &self,
        row: &OutboxRow,
        error: SendError,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let reason = error.to_string();
        let is_last = row.attempts + 1 >= ATTEMPTS;
        let refused = match error {
            SendError::Refused { .. } => true,
            SendError::Begun { .. } => is_last,
            // A platform that names a time has not failed.
            SendError::Later { retry_at, .. } | SendError::Doubtful { retry_at, .. } => {
                retry_at.is_none() && is_last
            }
            SendError::Absent => false,
        };
        if refused {
            warn!(outbox.id = %row.id, chat.id = %row.conversation.chat, %reason, "not sent, and given up");
            let attempt =
                || self.store.outbox_failed(row.id, &reason, sentence(&row.content, &error));
            store::patiently(UNWRITABLE, stop, attempt).await?;
            self.clear(row);
            return Ok(());
        }
        let now = self.clock.now();
        let pause = after(now, back_off(row.attempts));
        let again = |named: Option<Timestamp>| named.map_or(Again::After(pause), Again::When);
        store::patiently(UNWRITABLE, stop, async || match &error {
            SendError::Absent => {
                self.store.outbox_absent(row.id, row.state, after(now, ABSENT)).await
            }
            SendError::Later { retry_at, .. } => {
                self.store.outbox_later(row.id, again(*retry_at), &reason).await
            }
            // The row stays marked, so that it is looked up before it is sent again.
            SendError::Doubtful { retry_at, .. } => {
                self.store.outbox_doubtful(row.id, again(*retry_at), &reason).await
            }
            SendError::Begun { .. } => {
                self.store.outbox_doubtful(row.id, again(None), &reason).await
            }
            SendError::Refused { .. } => self.store.outbox_failed(row.id, &reason, None).await,
        })
        .await
    }

    fn parcel(&self, row: &OutboxRow) -> Parcel {
        let content = match &row.content {
            Content::File(file) => Content::File(self.files.whole(file)),
            content => content.clone(),
        };
        Parcel {
            id: row.id,
            conversation: row.conversation.clone(),
            content,
            begun: row.external_id.clone(),
            created_at: row.created_at,
            through: row.through,
            ends: row.ends,
        }
    }

    /// Removes the copy of a file whose row is settled.
    fn clear(&self, row: &OutboxRow) {
        if let Content::File(file) = &row.content
            && let Err(error) = self.files.remove(&file.copy)
        {
            warn!(%error, outbox.id = %row.id, "the copy of a file stays until the next start");
        }
    }
}

/// What the people of a chat are told when something that was to be sent there is given up; `None` when they could not
/// be told that either. Who wanted it sent has been told that it will be.
fn sentence(content: &Content, error: &SendError) -> Option<String> {
    let what = match content {
        Content::Text(_) => "My message".to_owned(),
        Content::File(file) => format!("The file {}", file.name),
        Content::Reaction { emoji, .. } => format!("The reaction :{emoji}:"),
    };
    match (error, content) {
        (SendError::Refused { for_chat, .. }, Content::Text(_)) => {
            Some(format!("{what} could not be sent in full: {}.", for_chat.as_ref()?))
        }
        (SendError::Refused { for_chat, .. }, _) => {
            Some(format!("{what} could not be sent: {}.", for_chat.as_ref()?))
        }
        // A text that did not arrive for hours had no chat to arrive in.
        (_, Content::Text(_)) => None,
        // Whether it arrived nobody knows.
        _ => Some(format!("{what} may not have arrived: it was tried {ATTEMPTS} times.")),
    }
}

/// Says that somebody is there who can take what waits for these conversations.
pub(crate) async fn arrived(store: &Store, present: Vec<Conversation>, wake: &Notify) {
    if let Err(error) = store.outbox_arrived(present).await {
        warn!(%error, "the outbox could not be hurried");
    }
    wake.notify_waiters();
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
mod tests;
