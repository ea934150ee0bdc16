//! What happens some time after a change: it waits without the lock.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::Shared;
use super::delivery::{Envelope, EnvelopeKind};
use super::sockets::Command;

/// Something that the world left to be done.
#[derive(Debug)]
pub(super) enum Later {
    /// Waits for an ack, and sends again.
    Ack {
        /// The id that the ack has to name.
        id: String,
        /// What was sent.
        envelope: Arc<Envelope>,
        /// Which attempt it was.
        attempt: u32,
        /// Told when the ack comes; closed at once when there was no socket.
        acked: oneshot::Receiver<()>,
    },
    /// Shows uploaded files in a conversation.
    Share {
        /// The conversation.
        channel: String,
        /// The message that shows them.
        message: Value,
    },
    /// Closes a socket.
    Close {
        /// The socket.
        socket: u64,
        /// When.
        after: Duration,
    },
}

impl Later {
    /// Does it, when it is time.
    pub(super) async fn run(self, shared: Arc<Shared>) {
        match self {
            Self::Ack { id, envelope, attempt, acked } => {
                let timeout = shared.options.ack_timeout;
                let reason = match tokio::time::timeout(timeout, acked).await {
                    Ok(Ok(())) => return,
                    Err(_elapsed) => "timeout",
                    // There was no socket; the next attempt is not made sooner for that.
                    Ok(Err(_closed)) => {
                        tokio::time::sleep(timeout).await;
                        "connection_failed"
                    }
                };
                shared.change(|world| world.give_up(&id));
                let Ok(done) = usize::try_from(attempt) else { return };
                let Some(&delay) = shared.options.retry_delays.get(done) else { return };
                if envelope.kind == EnvelopeKind::EventsApi {
                    tokio::time::sleep(delay).await;
                    shared.change(|world| world.attempt(envelope, attempt + 1, reason));
                }
            }
            Self::Share { channel, message } => {
                tokio::time::sleep(shared.options.share_delay).await;
                shared.change(|world| world.say(&channel, message));
            }
            Self::Close { socket, after } => {
                tokio::time::sleep(after).await;
                shared.change(|world| world.sockets.command(socket, Command::Close));
            }
        }
    }
}
