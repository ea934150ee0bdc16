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
        let mut failures = 0_u32;
        loop {
            let failure = match Box::pin(beside(&mut sockets, open(workspace, tls, inlet))).await {
                Ok(stream) => {
                    let born = Instant::now();
                    let (told, mut leaving) = mpsc::channel(2);
                    workspace.set_state(ChannelState::Up { since: workspace.clock.now() });
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
                workspace.set_state(ChannelState::Connecting);
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
            workspace.set_state(ChannelState::Refused { reason });
            workspace.pace.refused
        }
        Failure::Passing { why: reason, after } => {
            let wait = after.unwrap_or_else(|| workspace.pace.wait(failures));
            let until = workspace.clock.now().checked_add(wait);
            warn!(channel.name = "slack", workspace = label, reason, "not connected");
            workspace.set_state(ChannelState::BackingOff {
                until: until.unwrap_or(jiff::Timestamp::MAX),
                reason,
            });
            wait
        }
    }
}

/// Opens a socket, up to Slack's `hello`.
async fn open(
    workspace: &Workspace,
    tls: &Arc<ClientConfig>,
    inlet: &Inlet<'_>,
) -> Result<Stream, Failure> {
    workspace.identify().await?;
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
        Frame::Hello { .. } => {
            inlet.connected().await.map_err(|NotKept { reason }| passing(reason))?;
            Ok(stream)
        }
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
