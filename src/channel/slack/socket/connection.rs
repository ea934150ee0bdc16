//! One socket: what comes is handed over beside the reading, and acked once it is kept.
//!
//! The reading never waits for the handing over, so that a pong is seen in time; what is not kept is not acked, and
//! Slack brings it again.

use std::time::Instant;

use futures_util::stream::{FuturesUnordered, SplitSink};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::channel::slack::intake::Inlet;
use crate::channel::slack::pace::Pace;

/// A connected socket.
pub(super) type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The most envelopes that are being handed over at once; what comes beyond is left for Slack to bring again.
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

/// What a `disconnect` frame asks for.
pub(super) fn leaving(frame: &Value) -> Leaving {
    match frame.get("reason").and_then(Value::as_str).unwrap_or("unknown") {
        "warning" | "refresh_requested" => Leaving::Asked,
        "link_disabled" => Leaving::Fatal("link_disabled".to_owned()),
        other => Leaving::Lost(other.chars().take(80).collect()),
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
    let mut until = None;
    let why = loop {
        let written = tokio::select! {
            frame = frames.next() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Message::Text(text))) => {
                        let Ok(frame) = serde_json::from_str::<Value>(&text) else { continue };
                        match frame.get("type").and_then(Value::as_str) {
                            Some("hello") => {}
                            Some("disconnect") => {
                                until = Some(Instant::now() + pace.drain);
                                tell(&told, leaving(&frame));
                            }
                            _ if accepting.len() < MOST_AT_ONCE => accepting.push(accept(inlet, frame)),
                            _ => {}
                        }
                        true
                    }
                    Some(Ok(_)) => true,
                    Some(Err(_error)) => break "the socket broke",
                    None => break "the socket closed",
                }
            }
            Some(ack) = accepting.next(), if !accepting.is_empty() => match ack {
                Some(ack) => write(&mut sink, pace, Message::text(ack)).await,
                None => true,
            },
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
async fn accept(inlet: &Inlet<'_>, envelope: Value) -> Option<String> {
    let id = envelope.get("envelope_id").and_then(Value::as_str).map(str::to_owned);
    let kept = inlet.accept(envelope).await;
    id.filter(|_| kept).map(|id| json!({ "envelope_id": id }).to_string())
}

/// Writes a frame; tells whether the socket took it in time.
async fn write(sink: &mut SplitSink<Stream, Message>, pace: &Pace, frame: Message) -> bool {
    matches!(timeout(pace.step, sink.send(frame)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disconnect_says_what_is_to_be_done() {
        for (frame, expected) in [
            (json!({ "reason": "warning" }), Leaving::Asked),
            (json!({ "reason": "refresh_requested" }), Leaving::Asked),
            (json!({ "reason": "link_disabled" }), Leaving::Fatal("link_disabled".into())),
            (
                json!({ "reason": "too_many_websockets" }),
                Leaving::Lost("too_many_websockets".into()),
            ),
            (json!({}), Leaving::Lost("unknown".into())),
        ] {
            assert_eq!(leaving(&frame), expected, "{frame}");
        }
    }
}
