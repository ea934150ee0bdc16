//! Socket Mode: which sockets there are, whose turn it is, and what is done to them on demand.
//!
//! The world knows only where to leave commands for a socket; what becomes of them is its task's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::json::Fields as _;
use super::later::Later;
use super::world::World;

/// What is done to a socket.
#[derive(Debug)]
pub(super) enum Command {
    /// Sends a frame.
    Frame(String),
    /// Closes it as the protocol wants it.
    Close,
    /// Resets its TCP connection.
    Abort,
    /// Neither reads nor writes any more, and keeps the TCP connection.
    Stall,
}

/// The sockets of one app.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: BTreeMap<u64, Socket>,
    /// How many got their `hello`.
    greeted: usize,
    turn: u64,
}

#[derive(Debug)]
struct Socket {
    /// Without a bound: a test that never reads its socket holds what it was sent.
    tx: UnboundedSender<Command>,
    /// Whether it gets no more envelopes, because it is about to close.
    draining: bool,
    /// Whether it fell silent.
    stalled: bool,
}

impl Sockets {
    /// Sends a frame to one of the sockets by turns; returns which.
    pub(super) fn send(&mut self, frame: String) -> Option<u64> {
        let live = || self.open.iter().filter(|(_, socket)| !socket.draining);
        let (&id, socket) = match live().find(|(id, _)| **id > self.turn) {
            Some(next) => next,
            None => live().next()?,
        };
        self.turn = id;
        // A socket that is gone and not yet taken from the list loses it, as a real one does.
        socket.tx.send(Command::Frame(frame)).ok();
        Some(id)
    }

    /// An envelope had no ack in time: a socket that is silent gets no more, as Slack would find
    /// out by its pings.
    pub(super) fn missed(&mut self, id: u64) {
        if let Some(socket) = self.open.get_mut(&id) {
            socket.draining = socket.draining || socket.stalled;
        }
    }

    /// Leaves a command for one socket.
    pub(super) fn command(&mut self, id: u64, command: Command) {
        if let Some(socket) = self.open.get(&id) {
            socket.tx.send(command).ok();
        }
    }

    /// Leaves a command for every socket.
    fn command_all(&mut self, command: impl Fn() -> Command) {
        for socket in self.open.values() {
            socket.tx.send(command()).ok();
        }
    }
}

impl World {
    /// How many sockets are open now and have had their `hello`.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.open.len()
    }

    /// How many sockets there were in all.
    #[must_use]
    pub fn sockets_opened(&self) -> usize {
        self.sockets.greeted
    }

    /// Announces to every socket that it will be closed, and closes it some time later.
    ///
    /// After `warning` a socket still gets envelopes, after anything else it does not.
    pub(super) fn disconnect(&mut self, reason: &str, after: Duration) {
        let frame = goodbye(reason, None).to_string();
        self.sockets.command_all(|| Command::Frame(frame.clone()));
        for (&socket, state) in &mut self.sockets.open {
            state.draining = state.draining || reason != "warning";
            self.later.push(Later::Close { socket, after });
        }
    }

    /// Resets the TCP connection of every socket.
    pub(super) fn abort_sockets(&mut self) {
        self.sockets.command_all(|| Command::Abort);
    }

    /// Every socket falls silent, and its TCP connection stays.
    pub(super) fn stall_sockets(&mut self) {
        self.sockets.command_all(|| Command::Stall);
        for socket in self.sockets.open.values_mut() {
            socket.stalled = true;
        }
    }

    /// Sends text to every socket as it is.
    pub(super) fn frame(&mut self, text: &str) {
        self.sockets.command_all(|| Command::Frame(text.to_owned()));
    }

    /// Takes in a socket, unless there are too many.
    pub(super) fn admit(&mut self) -> Result<(u64, UnboundedReceiver<Command>, String), String> {
        let app = &self.options.app_id;
        let others = self.sockets.open.len();
        if others >= self.options.max_sockets {
            return Err(goodbye("too_many_websockets", Some(others)).to_string());
        }
        let hello = json!({
            "type": "hello",
            "num_connections": others + 1,
            "debug_info": {
                "host": "applink-fake", "build_number": 1, "approximate_connection_time": 18060,
            },
            "connection_info": { "app_id": app },
        });
        let id = self.next_id();
        let (tx, rx) = mpsc::unbounded_channel();
        self.sockets.open.insert(id, Socket { tx, draining: false, stalled: false });
        self.sockets.greeted += 1;
        Ok((id, rx, hello.to_string()))
    }

    /// Forgets a socket that is gone.
    pub(super) fn dismiss(&mut self, id: u64) {
        self.sockets.open.remove(&id);
    }
}

/// The frame that announces the end of a socket.
pub(super) fn goodbye(reason: &str, others: Option<usize>) -> Value {
    let mut frame = json!({
        "type": "disconnect", "reason": reason, "debug_info": { "host": "applink-fake" },
    });
    if let Some(others) = others {
        frame.put("num_connections", others);
    }
    frame
}
