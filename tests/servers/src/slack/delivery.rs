//! Envelopes: sent to one socket, acked or not, and sent again.
//!
//! The first attempt is queued on its socket while the world is locked, so that events leave in
//! the order in which they happened; only what comes later waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot;

use super::interact;
use super::json::Fields as _;
use super::json::text;
use super::later::Later;
use super::log::Log;
use super::world::World;

/// What kind of thing an envelope tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeKind {
    /// Something happened.
    EventsApi,
    /// Somebody typed a command.
    SlashCommands,
    /// Somebody pressed a button or sent a form.
    Interactive,
}

impl EnvelopeKind {
    /// The word in `type`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::EventsApi => "events_api",
            Self::SlashCommands => "slash_commands",
            Self::Interactive => "interactive",
        }
    }
}

/// One attempt to deliver something.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The id that the ack has to name; each attempt has its own.
    pub envelope_id: String,
    /// The kind.
    pub kind: EnvelopeKind,
    /// The id of the event, the same in each attempt; empty for what is no event.
    pub event_id: String,
    /// The type of the event, with its subtype after a slash: `message`, `message/file_share`.
    pub event: String,
    /// The conversation that it is about.
    pub channel: String,
    /// The message that it is about.
    pub ts: String,
    /// 0 the first time.
    pub attempt: u32,
    /// The socket; `None`: there was none, and a first attempt is lost with that.
    pub socket: Option<u64>,
    /// When it was queued on the socket.
    pub sent: Instant,
    /// How long after that the ack came. An ack that came too late to stop the next attempt is
    /// here too.
    pub acked: Option<Duration>,
    /// What the ack carried; `null`: nothing.
    pub answer: Value,
}

/// All deliveries, and who waits for which ack.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    log: Log<Delivery>,
    /// The number in the log of every attempt that has had no ack, ever: one may come late.
    numbers: HashMap<String, usize>,
    waiting: HashMap<String, Waiting>,
    acked: usize,
    /// How many acks are still to be ignored.
    ignore: usize,
    strays: Log<String>,
}

#[derive(Debug)]
struct Waiting {
    envelope: Arc<Envelope>,
    socket: u64,
    acked: oneshot::Sender<()>,
}

/// Something to deliver.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) kind: EnvelopeKind,
    /// The payload, written out once for all attempts.
    payload: String,
    event_id: String,
    event: String,
    channel: String,
    ts: String,
    user: String,
}

impl Envelope {
    /// Something to deliver, with what a test wants to know of it.
    pub(super) fn new(kind: EnvelopeKind, payload: &Value) -> Self {
        let event = payload.at("event");
        let mut name = text(event, "type").to_owned();
        if let Some(subtype) = event.at("subtype").as_str() {
            name = format!("{name}/{subtype}");
        }
        let channel = [
            event.at("channel"),
            event.at("item").at("channel"),
            payload.at("channel_id"),
            payload.at("channel").at("id"),
        ];
        let ts =
            [event.at("ts"), event.at("item").at("ts"), payload.at("container").at("message_ts")];
        let user = [payload.at("user_id"), payload.at("user").at("id")];
        let first = |places: &[&Value]| {
            places.iter().find_map(|place| place.as_str()).unwrap_or_default().to_owned()
        };
        Self {
            kind,
            event_id: text(payload, "event_id").to_owned(),
            event: name,
            channel: first(&channel),
            ts: first(&ts),
            user: first(&user),
            payload: payload.to_string(),
        }
    }

    /// The frame of one attempt.
    fn frame(&self, id: &str, attempt: u32, reason: &str) -> String {
        let (payload, kind) = (&self.payload, self.kind.word());
        let accepts = self.kind != EnvelopeKind::EventsApi;
        let retry = match self.kind {
            EnvelopeKind::EventsApi => {
                format!(r#","retry_attempt":{attempt},"retry_reason":"{reason}""#)
            }
            _ => String::new(),
        };
        format!(
            r#"{{"envelope_id":"{id}","payload":{payload},"type":"{kind}","accepts_response_payload":{accepts}{retry}}}"#
        )
    }
}

impl World {
    /// Every attempt to deliver something, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> &Log<Delivery> {
        &self.deliveries.log
    }

    /// How many attempts were acked in time.
    #[must_use]
    pub fn acked(&self) -> usize {
        self.deliveries.acked
    }

    /// How many attempts wait for their ack now.
    #[must_use]
    pub fn unacked(&self) -> usize {
        self.deliveries.waiting.len()
    }

    /// How long each ack took, shortest first: `times[times.len() * 99 / 100]` is the p99.
    #[must_use]
    pub fn ack_times(&self) -> Vec<Duration> {
        let mut times: Vec<Duration> = self.deliveries().iter().filter_map(|d| d.acked).collect();
        times.sort_unstable();
        times
    }

    /// Frames from a client that acked nothing which was sent.
    #[must_use]
    pub fn strays(&self) -> &Log<String> {
        &self.deliveries.strays
    }

    /// Sends something for the first time.
    pub(super) fn send(&mut self, envelope: Envelope) {
        self.attempt(Arc::new(envelope), 0, "");
    }

    /// Sends something, again or not.
    pub(super) fn attempt(&mut self, envelope: Arc<Envelope>, attempt: u32, reason: &str) {
        let id = format!("{:08x}-0000-4000-8000-{:012x}", self.next_id(), attempt);
        let socket = self.sockets.send(envelope.frame(&id, attempt, reason));
        let number = self.deliveries.log.push(Delivery {
            envelope_id: id.clone(),
            kind: envelope.kind,
            event_id: envelope.event_id.clone(),
            event: envelope.event.clone(),
            channel: envelope.channel.clone(),
            ts: envelope.ts.clone(),
            attempt,
            socket,
            sent: Instant::now(),
            acked: None,
            answer: Value::Null,
        });
        // Slack does not keep events for an app that is not connected at all.
        if socket.is_none() && attempt == 0 {
            return;
        }
        let (tx, acked) = oneshot::channel();
        if let Some(socket) = socket {
            self.deliveries.numbers.insert(id.clone(), number);
            let waiting = Waiting { envelope: Arc::clone(&envelope), socket, acked: tx };
            self.deliveries.waiting.insert(id.clone(), waiting);
        }
        self.later.push(Later::Ack { id, envelope, attempt, acked });
    }

    /// Takes in a frame of a client.
    pub(super) fn ack(&mut self, frame: &str) {
        let json: Value = serde_json::from_str(frame).unwrap_or_default();
        let id = text(&json, "envelope_id");
        if let Some(left) = self.deliveries.ignore.checked_sub(1) {
            self.deliveries.ignore = left;
            return;
        }
        let Some(number) = self.deliveries.numbers.remove(id) else {
            self.deliveries.strays.push(frame.to_owned());
            return;
        };
        if let Some(delivery) = self.deliveries.log.get_mut(number) {
            delivery.acked = Some(delivery.sent.elapsed());
            delivery.answer = json.at("payload").clone();
        }
        let Some(Waiting { envelope, acked, .. }) = self.deliveries.waiting.remove(id) else {
            return;
        };
        // Nobody waits any more when the server is ending.
        if acked.send(()).is_ok() {
            self.deliveries.acked += 1;
            interact::answered(self, &envelope, json.at("payload"));
        }
    }

    /// From now on, so many acks are taken in as if they had been lost on the way.
    pub(super) fn ignore_acks(&mut self, acks: usize) {
        self.deliveries.ignore = acks;
    }

    /// No longer waits for an ack.
    pub(super) fn give_up(&mut self, id: &str) {
        if let Some(waiting) = self.deliveries.waiting.remove(id) {
            self.sockets.missed(waiting.socket);
        }
    }
}

impl Envelope {
    /// Whom and where an answer in the ack is for.
    pub(super) fn asker(&self) -> (&str, &str) {
        (&self.channel, &self.user)
    }
}
