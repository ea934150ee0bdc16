//! One socket: what comes is handed over beside the reading, and acked once it is kept.
//!
//! The reading waits for the handing over only when much is in flight: then what comes stays with Slack until there is
//! room. What is not kept is not acked, and Slack brings it again.

use std::time::Instant;

use futures_util::stream::{FuturesUnordered, SplitSink};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracing::warn;

use crate::channel::slack::event::{Envelope, Frame, Goodbye};
use crate::channel::slack::intake::Inlet;
use crate::channel::slack::pace::Pace;

/// A connected socket.
pub(super) type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The most envelopes that are being handed over at once. Beyond them the socket is not read until there is room. Where
/// there is none for long, what comes is not acked, so that Slack brings it again, and messages are fetched whether it
/// does or not: the socket itself must stay alive, and its good-byes be heard.
const MOST_AT_ONCE: usize = 1_024;

/// Why a socket is to be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Slack is about to close it, as it does every few hours.
    Asked,
    /// It is gone.
    Lost(String),
    /// Slack does not want us.
    Fatal(String),
}

/// What a socket's good-bye asks for.
pub(super) fn leaving(goodbye: Goodbye) -> Leaving {
    match goodbye {
        Goodbye::Warning | Goodbye::Refresh => Leaving::Asked,
        Goodbye::LinkDisabled => Leaving::Fatal("link_disabled".to_owned()),
        Goodbye::TooManySockets => Leaving::Lost("too_many_websockets".to_owned()),
        Goodbye::Other(reason) => Leaving::Lost(reason),
    }
}

/// Serves a socket to its end; `told` learns at once when it is to be replaced.
pub(super) async fn serve(
    stream: Stream,
    inlet: &Inlet<'_>,
    pace: &Pace,
    told: mpsc::Sender<Leaving>,
) {
    let (mut sink, mut frames) = stream.split();
    let mut accepting = FuturesUnordered::new();
    let mut ping = interval(pace.ping);
    let mut heard = Instant::now();
    // When something was last done with, or begun.
    let mut moved = Instant::now();
    let (mut until, mut is_told) = (None, false);
    let why = loop {
        let is_full = accepting.len() >= MOST_AT_ONCE;
        let is_stuck = is_full && moved.elapsed() > pace.step;
        let written = tokio::select! {
            frame = frames.next(), if !is_full || is_stuck => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Message::Text(text))) => {
                        let Ok(frame) = serde_json::from_str::<Value>(&text) else { continue };
                        match Frame::parse(&frame) {
                            Frame::Hello => {}
                            Frame::Goodbye(goodbye) => {
                                until = Some(Instant::now() + pace.drain);
                                tell(&told, leaving(goodbye));
                            }
                            Frame::Envelope(envelope) if !is_full => {
                                moved = heard;
                                accepting.push(accept(inlet, envelope));
                            }
                            Frame::Envelope(envelope) => {
                                if !std::mem::replace(&mut is_told, true) {
                                    warn!(channel.name = "slack", "more comes than can be kept; the rest is fetched later");
                                }
                                inlet.passed_over(&envelope);
                            }
                            Frame::Unknown { kind } => inlet.odd(&kind),
                        }
                        true
                    }
                    Some(Ok(_)) => true,
                    Some(Err(_error)) => break "the socket broke",
                    None => break "the socket closed",
                }
            }
            Some(ack) = accepting.next(), if !accepting.is_empty() => {
                moved = Instant::now();
                match ack {
                    Some(ack) => write(&mut sink, pace, Message::text(ack)).await,
                    None => true,
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > pace.silence {
                    break "the socket fell silent";
                }
                if until.is_some_and(|until| Instant::now() > until) {
                    break "the socket was replaced";
                }
                write(&mut sink, pace, Message::Ping(vec![1].into())).await
            }
        };
        // Who does not listen cannot say that it is silent.
        if is_full && !is_stuck {
            heard = Instant::now();
        }
        if !written {
            break "the socket takes nothing";
        }
    };
    tell(&told, Leaving::Lost(why.to_owned()));
}

/// Tells why, unless enough was told already.
fn tell(told: &mpsc::Sender<Leaving>, leaving: Leaving) {
    if let Err(error) = told.try_send(leaving) {
        tracing::trace!(%error, "nobody waits for the end of a socket");
    }
}

/// Hands an envelope over; the ack that it has earned.
async fn accept(inlet: &Inlet<'_>, envelope: Envelope) -> Option<String> {
    let id = envelope.id.clone();
    let kept = inlet.accept(envelope).await;
    kept.then(|| json!({ "envelope_id": id }).to_string())
}

/// Writes a frame; tells whether the socket took it in time.
async fn write(sink: &mut SplitSink<Stream, Message>, pace: &Pace, frame: Message) -> bool {
    matches!(timeout(pace.step, sink.send(frame)).await, Ok(Ok(())))
}
