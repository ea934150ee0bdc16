//! The chat's line to the gateway: it comes back by itself, what was not confirmed is said again under the same id,
//! and an answer that was shown already is not handed on twice. What the person has entered is here from then on until
//! the gateway has confirmed or refused it, so that none is forgotten however the chat ends.

mod event;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

pub(super) use self::event::{Answer, Event, Unkept};
use crate::channel::terminal::socket;
use crate::channel::terminal::wire::{self, ClientFrame, Frames, GatewayFrame, WireError};
use crate::model::GroupName;

/// The first pause before the gateway is called again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a line may take to be written.
const WRITING: Duration = Duration::from_secs(30);
/// How long [`Link::settle`] waits.
const SETTLING: Duration = Duration::from_secs(5);

/// The line.
#[derive(Debug)]
pub(super) struct Link {
    socket: PathBuf,
    group: GroupName,
    thread: Option<String>,
    /// The highest outbox id that was shown.
    seen: u64,
    /// The highest one that was handed on, and is shown by now or will be.
    handed: u64,
    /// What was entered and not yet said, oldest first.
    unsaid: VecDeque<String>,
    /// What was said and not yet confirmed, oldest first.
    unconfirmed: Vec<(String, String)>,
    /// How often this connection's gateway was asked for its state, and has not answered yet.
    states_due: usize,
    connection: Option<Connection>,
    pause: Duration,
    call_at: Instant,
    /// Whether nobody answers.
    away: watch::Sender<bool>,
}

#[derive(Debug)]
struct Connection {
    frames: Frames<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Link {
    /// A line that is not connected yet.
    pub(super) fn new(socket: PathBuf, group: GroupName, thread: Option<String>) -> Self {
        Self {
            socket,
            group,
            thread,
            seen: 0,
            handed: 0,
            unsaid: VecDeque::new(),
            unconfirmed: Vec::new(),
            states_due: 0,
            connection: None,
            pause: FIRST_PAUSE,
            call_at: Instant::now(),
            away: watch::Sender::new(false),
        }
    }

    /// Whether the gateway does not answer; changes when it leaves and when it is back.
    pub(super) fn away(&self) -> watch::Receiver<bool> {
        self.away.subscribe()
    }

    /// Whether the gateway does not answer now.
    pub(super) fn is_away(&self) -> bool {
        *self.away.borrow()
    }

    /// The next thing that comes over the line. Nothing is lost when this is dropped half-way.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let Some(connection) = &mut self.connection else {
                self.call().await;
                continue;
            };
            let frame = match connection.frames.next().await {
                Ok(Some(frame)) => frame,
                Err(WireError::NotUnderstood(_)) => {
                    self.connection = None;
                    self.call_later();
                    let reason = "the gateway is of another version; restart it".to_owned();
                    return Event::Refused(reason);
                }
                Ok(None) | Err(_) => {
                    self.connection = None;
                    self.away.send_replace(true);
                    self.call_later();
                    return Event::Lost;
                }
            };
            match frame {
                GatewayFrame::Answer { outbox, .. } if outbox <= self.seen => {
                    self.shown(outbox).await;
                }
                // It waits to be shown, and is confirmed then.
                GatewayFrame::Answer { outbox, .. } if outbox <= self.handed => {}
                frame => return self.event(frame),
            }
        }
    }

    /// Takes what was entered, to be said later with [`Link::say_next`].
    pub(super) fn say_later(&mut self, text: String) {
        self.unsaid.push_back(text);
    }

    /// What was entered and not said yet, oldest first.
    pub(super) fn unsaid(&self) -> Vec<&str> {
        self.unsaid.iter().map(String::as_str).collect()
    }

    /// Says the oldest of that. Returns its id; `None` when all is said.
    pub(super) async fn say_next(&mut self) -> Option<String> {
        let text = self.unsaid.pop_front()?;
        Some(self.say(text).await)
    }

    /// Says something; it is said again after a reconnection until it is confirmed. Returns its id.
    pub(super) async fn say(&mut self, text: String) -> String {
        let id = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        self.unconfirmed.push((id.clone(), text.clone()));
        self.write(ClientFrame::Say { id: id.clone(), text }).await;
        id
    }

    /// Asks for the end of the run under way.
    pub(super) async fn cancel(&mut self) {
        self.write(ClientFrame::Cancel).await;
    }

    /// Confirms that an answer was shown.
    pub(super) async fn shown(&mut self, outbox: u64) {
        self.seen = self.seen.max(outbox);
        self.write(ClientFrame::Ack { outbox }).await;
    }

    /// Gives an answer back that was neither shown nor taken: the gateway hands it on again if it must.
    pub(super) fn give_back(&mut self, outbox: u64) {
        self.handed = self.handed.min(outbox.saturating_sub(1));
    }

    /// Says all that was entered, if there is a gateway, and waits until it has heard everything, confirmations too; not
    /// for long. Returns what it did not keep.
    pub(super) async fn settle(&mut self) -> Vec<Unkept> {
        let mut unkept = Vec::new();
        if self.connection.is_none() {
            return unkept;
        }
        let heard = async {
            while self.say_next().await.is_some() {}
            // Frames are taken in order, so the answer to the last one says that all are taken.
            self.ask_state().await;
            while self.states_due > 0 {
                match self.next().await {
                    Event::NotKept { unkept: one, .. } => unkept.push(one),
                    Event::Lost | Event::Refused(_) => return,
                    _ => {}
                }
            }
        };
        if timeout(SETTLING, heard).await.is_err() {
            tracing::debug!("the gateway did not say that it has heard everything");
        }
        unkept
    }

    /// What was said and neither confirmed nor refused, oldest first.
    pub(super) fn unconfirmed(&self) -> Vec<&str> {
        self.unconfirmed.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// Asks for the gateway's state.
    pub(super) async fn ask_state(&mut self) {
        self.states_due += 1;
        self.write(ClientFrame::Status).await;
    }

    fn event(&mut self, frame: GatewayFrame) -> Event {
        match frame {
            GatewayFrame::Welcome(info) => {
                self.pause = FIRST_PAUSE;
                self.away.send_replace(false);
                Event::Welcome(info)
            }
            GatewayFrame::Refused { reason } => {
                self.connection = None;
                self.call_later();
                Event::Refused(reason)
            }
            GatewayFrame::Kept { id, seq, addressed } => {
                self.settled(&id);
                Event::Kept { id, seq, addressed }
            }
            GatewayFrame::NotKept { id, reason } => {
                let text = self.settled(&id);
                Event::NotKept { id, unkept: Unkept { text, reason } }
            }
            GatewayFrame::Answer { outbox, text, through, ends } => {
                self.handed = self.handed.max(outbox);
                Event::Answer(Answer { outbox, text, through, ends })
            }
            GatewayFrame::Said { text } => Event::Said(text),
            GatewayFrame::Taken { outbox } => Event::Taken(outbox),
            GatewayFrame::Status { state } => {
                self.states_due = self.states_due.saturating_sub(1);
                Event::State(state)
            }
            activity => Event::Activity(activity),
        }
    }

    /// What this message said, of which the gateway has told what became.
    fn settled(&mut self, id: &str) -> String {
        let mut said = self.unconfirmed.extract_if(.., |(other, _)| other == id);
        said.next().map(|(_, text)| text).unwrap_or_default()
    }

    /// Calls the gateway once, when it is time; the connection is kept only when all was said that must be.
    async fn call(&mut self) {
        sleep_until(self.call_at).await;
        let hello = ClientFrame::Hello {
            version: wire::VERSION,
            group: self.group.to_string(),
            thread: self.thread.clone(),
            seen: Some(self.seen),
        };
        let says = self
            .unconfirmed
            .iter()
            .map(|(id, text)| ClientFrame::Say { id: id.clone(), text: text.clone() });
        let dial = async {
            let (reader, mut writer) = socket::connect(&self.socket).await?.into_split();
            for frame in std::iter::once(hello).chain(says) {
                wire::write(&mut writer, &frame).await?;
            }
            Ok::<_, std::io::Error>(Connection { frames: Frames::new(reader), writer })
        };
        match timeout(WRITING, dial).await {
            Ok(Ok(connection)) => {
                self.connection = Some(connection);
                self.states_due = 0;
            }
            Ok(Err(_)) | Err(_) => {
                self.away.send_replace(true);
                self.call_later();
            }
        }
    }

    fn call_later(&mut self) {
        self.call_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Writes a frame, if there is a connection; one that breaks is found out by whoever reads.
    async fn write(&mut self, frame: ClientFrame) {
        let Some(connection) = &mut self.connection else { return };
        match timeout(WRITING, wire::write(&mut connection.writer, &frame)).await {
            Ok(Ok(())) => {}
            // The reader will see the end of the connection, unless only writing failed.
            Ok(Err(_)) | Err(_) => tracing::debug!("a line to the gateway was not written"),
        }
    }
}

#[cfg(test)]
mod tests;
