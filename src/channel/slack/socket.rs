//! Socket Mode: the connection by which Slack tells us what happens, without a public address.
//!
//! There is always one socket that takes what comes, and while it is replaced there are two: the old one is read
//! until it ends. Who turns us away is not asked again at once: waits grow, tokens that are no good are a state and
//! not a loop.

mod connection;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, connect_async_tls_with_config};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::connection::{Leaving, Stream};
use super::event::Frame;
use super::fault::ApiError;
use super::intake::Inlet;
use super::workspace::Workspace;
use crate::channel::{ChannelState, NotKept};

/// So many sockets in a row that hardly lived are replaced at once, as long as Slack asked for it.
const PATIENT: u32 = 3;

/// Why there is no socket, or none any longer.
enum Failure {
    /// The tokens are no good.
    Fatal(String),
    /// It may work later.
    Passing { why: String, after: Option<Duration> },
}

/// Keeps a workspace connected until `stop`.
pub(super) async fn run(
    workspace: &Workspace,
    tls: &Arc<ClientConfig>,
    inlet: &Inlet<'_>,
    stop: &CancellationToken,
) {
    let mut sockets: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    let work = async {
        let (mut failures, mut is_refresh) = (0_u32, false);
        loop {
            let opened = Box::pin(beside(&mut sockets, open(workspace, tls))).await;
            // What comes over a new socket is not read before the marks are set.
            let marked = match opened {
                Ok(stream) => {
                    let has_gap = !is_refresh || sockets.is_empty();
                    let marked = inlet.connected(has_gap).await;
                    marked.map_or_else(|NotKept { reason }| Err(passing(reason)), |()| Ok(stream))
                }
                Err(failure) => Err(failure),
            };
            is_refresh = false;
            let failure = match marked {
                Ok(stream) => {
                    let born = Instant::now();
                    let (told, mut leaving) = mpsc::channel(2);
                    workspace.set_link(ChannelState::Up { since: workspace.clock.now() });
                    info!(channel.name = "slack", workspace = workspace.label(), "connected");
                    let pace = &workspace.pace;
                    sockets.push(Box::pin(connection::serve(stream, inlet, pace, told)));
                    let left = beside(&mut sockets, leaving.recv()).await;
                    let settled = born.elapsed() >= workspace.pace.settled;
                    failures = if settled { 0 } else { failures };
                    match left.unwrap_or(Leaving::Lost("closed".to_owned())) {
                        Leaving::Fatal(code) => Failure::Fatal(code),
                        Leaving::Asked if failures < PATIENT => {
                            failures += u32::from(!settled);
                            is_refresh = true;
                            continue;
                        }
                        Leaving::Asked => passing("refreshed too often"),
                        Leaving::Lost(why) => passing(why),
                    }
                }
                Err(failure) => failure,
            };
            failures = failures.saturating_add(1);
            let wait = note(workspace, failure, failures);
            beside(&mut sockets, sleep(wait)).await;
            if !matches!(workspace.state(), ChannelState::Refused { .. }) {
                workspace.set_link(ChannelState::Connecting);
            }
        }
    };
    tokio::select! {
        () = work => {}
        // The state stays as it was: what is still to be said before the end can be said without a socket.
        () = stop.cancelled() => {}
    }
}

fn passing(why: impl Into<String>) -> Failure {
    Failure::Passing { why: why.into(), after: None }
}

/// Waits for something while the sockets go on.
async fn beside<T>(
    sockets: &mut FuturesUnordered<BoxFuture<'_, ()>>,
    wanted: impl Future<Output = T>,
) -> T {
    let mut wanted = std::pin::pin!(wanted);
    loop {
        tokio::select! {
            biased;
            Some(()) = sockets.next(), if !sockets.is_empty() => {}
            out = &mut wanted => return out,
        }
    }
}

/// Says what is wrong, and how long it is to be left alone.
fn note(workspace: &Workspace, failure: Failure, failures: u32) -> Duration {
    let label = workspace.label();
    match failure {
        Failure::Fatal(reason) => {
            if !matches!(workspace.state(), ChannelState::Refused { .. }) {
                warn!(
                    channel.name = "slack",
                    workspace = label,
                    reason,
                    "Slack refuses the tokens"
                );
            }
            workspace.set_link(ChannelState::Refused { reason });
            workspace.pace.refused
        }
        Failure::Passing { why: reason, after } => {
            let wait = after.unwrap_or_else(|| workspace.pace.wait(failures));
            let until = workspace.clock.now().checked_add(wait);
            warn!(channel.name = "slack", workspace = label, reason, "not connected");
            workspace.set_link(ChannelState::BackingOff {
                until: until.unwrap_or(jiff::Timestamp::MAX),
                reason,
            });
            wait
        }
    }
}

/// Asks whether the bot's token is good again as long as Slack turns it away, until `stop`. The socket, for which there is
/// another token, may be up all the time.
pub(super) async fn watch(workspace: &Workspace, inlet: &Inlet<'_>, stop: &CancellationToken) {
    let work = async {
        loop {
            workspace.turned_away.notified().await;
            while workspace.is_turned_away() {
                sleep(workspace.pace.refused).await;
                if workspace.identify().await.is_err() {
                    continue;
                }
                info!(
                    channel.name = "slack",
                    workspace = workspace.label(),
                    "the token is good again"
                );
                // What came meanwhile could not be read.
                if let Err(NotKept { reason }) = inlet.connected(true).await {
                    warn!(channel.name = "slack", reason, "not caught up after a refusal");
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// Opens a socket, up to Slack's `hello`.
async fn open(workspace: &Workspace, tls: &Arc<ClientConfig>) -> Result<Stream, Failure> {
    workspace.take_part().await?.map_err(Failure::Fatal)?;
    let url = workspace.api.socket_url().await?;
    let step = workspace.pace.step;
    let connector = Some(Connector::Rustls(tls.clone()));
    let connecting = connect_async_tls_with_config(url, None, true, connector);
    let mut stream = match timeout(step, connecting).await {
        Ok(Ok((stream, _response))) => stream,
        Ok(Err(_error)) => return Err(passing("the socket cannot be connected")),
        Err(_elapsed) => return Err(passing("the socket does not connect in time")),
    };
    let first = match timeout(step, stream.next()).await {
        Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str(&text).unwrap_or(Value::Null),
        Ok(_) => return Err(passing("the socket closed before hello")),
        Err(_elapsed) => return Err(passing("no hello in time")),
    };
    match Frame::parse(&first) {
        Frame::Hello => Ok(stream),
        Frame::Goodbye(goodbye) => Err(match connection::leaving(goodbye) {
            Leaving::Fatal(code) => Failure::Fatal(code),
            Leaving::Asked => passing("refreshed before hello"),
            Leaving::Lost(why) => passing(why),
        }),
        Frame::Envelope(_) | Frame::Unknown { .. } => Err(passing("an unknown first frame")),
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Limited { after } => {
                Self::Passing { why: "rate limited".to_owned(), after: Some(after) }
            }
            ApiError::Refused { code } => {
                let refused = ApiError::Refused { code: code.clone() };
                // Without its scope the app's token is of no use, either.
                if refused.fatal().is_some() || refused.code() == Some("missing_scope") {
                    Self::Fatal(code)
                } else {
                    Self::Passing { why: code, after: None }
                }
            }
            ApiError::Failed { what } => passing(what),
        }
    }
}
