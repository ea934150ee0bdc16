//! The terminal: `hermitcrab chat` and everybody else who speaks its wire over the socket in the store's folder.
//!
//! A message is confirmed only once it is on disk, and an answer counts as sent only once a terminal has said that
//! it has shown it. A terminal that comes back says what it has seen, so nothing is shown twice; a terminal that
//! does not read loses its connection and nobody else's time. The socket is private to the owner: who can open it
//! is the owner.

mod backlog;
mod clients;
mod connection;
pub(crate) mod socket;
pub(crate) mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::clients::Clients;
pub(crate) use self::wire::WelcomeInfo;
use self::wire::{Ends, GatewayFrame};
use super::{Channel, ChannelState, Intake, Parcel, SendError};
use crate::clock::SharedClock;
use crate::model::{Activity, ChannelName, Conversation, GroupName, Receipt};

/// The socket's name in the store's folder.
pub(crate) const SOCKET: &str = "chat.sock";
/// The most terminals at once.
const MAX_CLIENTS: usize = 64;
/// The usual [`Terminal::patience`].
const ACK_PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait when no connection can be accepted, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a terminal wants to know that only the gateway knows.
#[async_trait]
pub(crate) trait Desk: Send + Sync {
    /// What a terminal of this group is told when it comes; `None` when there is no such group.
    async fn welcome(&self, group: &GroupName) -> Option<WelcomeInfo>;

    /// Whether a text that is said here now would wake the assistant.
    async fn addressed(&self, conversation: &Conversation, text: &str) -> bool;

    /// The gateway's state, as `hermitcrab status --json` shows it.
    async fn status(&self) -> serde_json::Value;
}

/// The channel `terminal`.
pub(crate) struct Terminal {
    name: ChannelName,
    desk: Arc<dyn Desk>,
    clock: SharedClock,
    clients: Arc<Clients>,
    path: PathBuf,
    /// Taken by the first [`Channel::run`].
    listener: Mutex<Option<UnixListener>>,
    state: Mutex<ChannelState>,
    /// How long a terminal may take to show an answer and say so.
    patience: Duration,
}

impl Terminal {
    /// Listens at `store/chat.sock`; terminals that connect wait until [`Channel::run`].
    ///
    /// To be called by the holder of the store's lock, in a runtime.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn bind(
        store_dir: &Path,
        desk: Arc<dyn Desk>,
        clock: SharedClock,
    ) -> io::Result<Self> {
        let path = store_dir.join(SOCKET);
        let listener = socket::bind(&path)?;
        Ok(Self {
            name: ChannelName::terminal(),
            desk,
            clock,
            clients: Arc::new(Clients::new()),
            path,
            listener: Mutex::new(Some(listener)),
            state: Mutex::new(ChannelState::Connecting),
            patience: ACK_PATIENCE,
        })
    }

    /// Changes whenever somebody has come, or has woken up, to take what waits in the outbox.
    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        self.clients.arrivals()
    }

    /// The conversations in which somebody is there now.
    pub(crate) fn present(&self) -> Vec<Conversation> {
        self.clients.conversations()
    }

    async fn serve(&self, listener: &UnixListener, intake: &dyn Intake) {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = accept(listener) => {
                    if connections.len() < MAX_CLIENTS {
                        connections.push(connection::serve(self, stream, intake));
                    } else {
                        debug!("a terminal too many was turned away");
                    }
                }
                Some(()) = connections.next() => {}
            }
        }
    }

    fn set_state(&self, state: ChannelState) {
        *lock(&self.state) = state;
    }
}

/// Accepts the next connection; a shortage of descriptors passes.
async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _address)) => return stream,
            Err(error) => {
                warn!(channel.name = "terminal", %error, "no terminal can be let in now");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[async_trait]
impl Channel for Terminal {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    fn state(&self) -> ChannelState {
        lock(&self.state).clone()
    }

    async fn run(&self, intake: &dyn Intake, stop: CancellationToken) {
        let listener = lock(&self.listener).take();
        let Some(listener) = listener else {
            return stop.cancelled().await;
        };
        self.set_state(ChannelState::Up { since: self.clock.now() });
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.serve(&listener, intake) => {}
        }
        self.set_state(ChannelState::Connecting);
        if let Err(error) = socket::remove(&self.path) {
            warn!(channel.name = "terminal", %error, "the socket stays behind");
        }
    }

    async fn send(&self, parcel: &Parcel) -> Result<Receipt, SendError> {
        let mut news = self.clients.news();
        let audience = self.clients.of(&parcel.conversation);
        if audience.is_empty() {
            return Err(SendError::Absent);
        }
        for client in &audience {
            client.tell(parcel.id, || GatewayFrame::Answer {
                outbox: parcel.id.0,
                text: parcel.content.to_string(),
                through: parcel.through.map(|through| through.0),
                ends: parcel
                    .ends
                    .map(|end| Ends { through: end.through.0, answered: end.answered }),
            });
        }
        let deadline = Instant::now() + self.patience;
        loop {
            news.mark_unchanged();
            if audience.iter().any(|client| client.has(parcel.id)) {
                return Ok(Receipt { external_id: None });
            }
            // Whoever left without a word says what was seen when coming back, so this is no doubt: it is absence.
            if audience.iter().all(|client| client.is_gone()) {
                return Err(SendError::Absent);
            }
            if timeout_at(deadline, news.changed()).await.is_err() {
                // A terminal that sleeps is not there: what waits for it is kept until it wakes up.
                audience.iter().for_each(|client| client.give_up_waiting());
                if audience.iter().any(|client| client.has(parcel.id)) {
                    return Ok(Receipt { external_id: None });
                }
                return Err(SendError::Absent);
            }
        }
    }

    async fn find(&self, parcel: &Parcel) -> Result<Option<Receipt>, SendError> {
        let audience = self.clients.of(&parcel.conversation);
        if audience.is_empty() {
            return Err(SendError::Absent);
        }
        let shown = audience.iter().any(|client| client.has(parcel.id));
        Ok(shown.then_some(Receipt { external_id: None }))
    }

    async fn show(&self, conversation: &Conversation, activity: &Activity) {
        for client in self.clients.of(conversation) {
            match activity {
                // The end is never dropped: somebody waits for it.
                Activity::Idle => client.backlog.must(GatewayFrame::Idle),
                other => client.backlog.may(GatewayFrame::from(other)),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder replaces the value whole, so what a poisoned lock guards is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
