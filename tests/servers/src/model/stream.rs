//! The way an answer takes to the client: in steps, so that a fault is a step among others.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::fault::FaultKind;
use super::gate::{Gate, Gates};
use super::message::Message;
use super::wire::{Body, Wire};

/// One step of an answer.
#[derive(Debug)]
enum Step {
    Send(Bytes),
    Wait(Duration),
    Hold(Gate),
    Cut,
}

/// A body that sends these events, with what goes wrong on the way.
pub(super) fn body(
    events: Vec<Bytes>,
    fault: Option<&FaultKind>,
    wire: &dyn Wire,
    gates: &Gates,
) -> Body {
    let steps: VecDeque<Step> = match fault {
        Some(FaultKind::Slow { event_ms, byte_ms }) => slow(events, *event_ms, *byte_ms).collect(),
        fault => {
            let mut steps: VecDeque<Step> = events.into_iter().map(Step::Send).collect();
            strike(&mut steps, fault, wire, gates);
            steps
        }
    };
    Body::new(StreamBody::new(stream::unfold(steps, take)))
}

/// A body that is a whole message, with what goes wrong on the way.
pub(super) fn whole(message: &Message, fault: Option<&FaultKind>, gates: &Gates) -> Body {
    let json = Bytes::from(message.whole().to_string());
    let half = json.slice(..json.len() / 2);
    let steps: VecDeque<Step> = match fault {
        Some(FaultKind::Slow { event_ms, byte_ms }) => {
            slow(vec![json], *event_ms, *byte_ms).collect()
        }
        Some(FaultKind::Cut { .. }) => [Step::Send(half), Step::Cut].into(),
        Some(FaultKind::Malformed { .. } | FaultKind::Garbled { .. }) => [Step::Send(half)].into(),
        Some(FaultKind::Hang { gate, after: Some(_) }) => {
            [Step::Hold(gates.named(gate)), Step::Send(json)].into()
        }
        _ => [Step::Send(json)].into(),
    };
    Body::new(StreamBody::new(stream::unfold(steps, take)))
}

fn strike(steps: &mut VecDeque<Step>, fault: Option<&FaultKind>, wire: &dyn Wire, gates: &Gates) {
    match fault {
        Some(FaultKind::Break { failure, after }) => {
            steps.truncate(*after);
            steps.push_back(Step::Send(wire.breaking(failure)));
        }
        Some(FaultKind::Cut { after }) => {
            steps.truncate(*after);
            steps.push_back(Step::Cut);
        }
        Some(FaultKind::Malformed { at }) => replace(steps, *at, wire.malformed()),
        Some(FaultKind::Garbled { at }) => replace(steps, *at, wire.garbled()),
        Some(FaultKind::Hang { gate, after: Some(after) }) => {
            steps.insert((*after).min(steps.len()), Step::Hold(gates.named(gate)));
        }
        // The others come before the first byte, or are no fault of a stream.
        _ => {}
    }
}

fn replace(steps: &mut VecDeque<Step>, at: usize, event: Bytes) {
    if let Some(step) = steps.get_mut(at) {
        *step = Step::Send(event);
    }
}

fn slow(events: Vec<Bytes>, event_ms: u64, byte_ms: u64) -> impl Iterator<Item = Step> {
    events.into_iter().flat_map(move |event| {
        let size = if byte_ms == 0 { event.len().max(1) } else { 1 };
        let pieces: Vec<Bytes> = event.chunks(size).map(Bytes::copy_from_slice).collect();
        let bytes = pieces
            .into_iter()
            .flat_map(move |piece| [Step::Wait(Duration::from_millis(byte_ms)), Step::Send(piece)]);
        std::iter::once(Step::Wait(Duration::from_millis(event_ms))).chain(bytes)
    })
}

async fn take(mut steps: VecDeque<Step>) -> Option<(io::Result<Frame<Bytes>>, VecDeque<Step>)> {
    loop {
        match steps.pop_front()? {
            Step::Wait(time) if time.is_zero() => {}
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hold(gate) => gate.pass().await,
            Step::Send(bytes) => {
                // To pause lets hyper flush: each event leaves alone, also before a cut.
                tokio::task::yield_now().await;
                return Some((Ok(Frame::data(bytes)), steps));
            }
            Step::Cut => {
                tokio::task::yield_now().await;
                return Some((Err(io::ErrorKind::ConnectionAborted.into()), steps));
            }
        }
    }
}
