//! Socket Mode: sockets from upgrade to close, and what is done to them on demand.
//!
//! Each socket has one task that owns it; the world knows only where to leave commands for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::Shared;
use super::fault::FaultKind;
use super::json::Fields as _;
use super::later::Later;
use super::world::World;

/// How many commands a socket takes up before it sends what they made.
const BATCH: usize = 256;
/// What Slack writes into its pings.
const PING: Bytes = Bytes::from_static(b"Ping from applink-fake");

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
    fn admit(&mut self) -> Result<(u64, UnboundedReceiver<Command>, String), String> {
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

    fn dismiss(&mut self, id: u64) {
        self.sockets.open.remove(&id);
    }
}

/// The frame that announces the end of a socket.
fn goodbye(reason: &str, others: Option<usize>) -> Value {
    let mut frame = json!({
        "type": "disconnect", "reason": reason, "debug_info": { "host": "applink-fake" },
    });
    if let Some(others) = others {
        frame.put("num_connections", others);
    }
    frame
}

/// A socket's life, from the answer to its upgrade on.
pub(super) async fn serve(shared: Arc<Shared>, upgrade: OnUpgrade, fault: Option<FaultKind>) {
    let Some(stream) = upgrade.await.ok().and_then(websocket) else { return };
    let mut stream = stream.await;
    if fault == Some(FaultKind::Hang) {
        shared.released().await;
    }
    let refused = match &fault {
        Some(FaultKind::Error { code }) => Err(goodbye(code, None).to_string()),
        Some(FaultKind::DropAfter) => return,
        _ => shared.change(World::admit),
    };
    match refused {
        Err(frame) => {
            // The client may be gone already; then there is nobody to tell.
            if stream.send(Message::text(frame)).await.is_ok() {
                close(stream).await;
            }
        }
        Ok((id, commands, hello)) => {
            if stream.send(Message::text(hello)).await.is_ok() {
                run(&shared, stream, commands).await;
            }
            shared.change(|world| world.dismiss(id));
        }
    }
}

/// The TCP stream beneath, so that it can be reset.
fn websocket(upgraded: Upgraded) -> Option<impl Future<Output = WebSocketStream<TcpStream>>> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let read = parts.read_buf.to_vec();
    Some(WebSocketStream::from_partially_read(parts.io.into_inner(), read, Role::Server, None))
}

async fn run(
    shared: &Arc<Shared>,
    mut stream: WebSocketStream<TcpStream>,
    mut commands: UnboundedReceiver<Command>,
) {
    let interval = shared.options.ping_interval;
    let mut pings = interval_at(Instant::now() + interval, interval);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            _ = pings.tick() => if stream.send(Message::Ping(PING)).await.is_err() { return },
            taken = commands.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return;
                }
                for command in batch.drain(..) {
                    match command {
                        Command::Frame(text) => {
                            if stream.feed(Message::text(text)).await.is_err() { return }
                        }
                        Command::Close => return close(stream).await,
                        Command::Abort => return reset(&stream),
                        Command::Stall => return stall(stream, commands).await,
                    }
                }
                if stream.flush().await.is_err() { return }
            }
            frame = stream.next() => match frame {
                Some(Ok(Message::Text(text))) => shared.change(|world| world.ack(&text)),
                // The answer to a close is sent by reading on until there is nothing more.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

/// Says goodbye, and reads on until the other side does.
async fn close(mut stream: WebSocketStream<TcpStream>) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    if stream.close(Some(frame)).await.is_ok() {
        // Whatever comes now is too late to count.
        while let Some(Ok(_)) = stream.next().await {}
    }
}

/// Keeps the connection and does nothing with it until it is closed or aborted on demand.
async fn stall(stream: WebSocketStream<TcpStream>, mut commands: UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Abort => return reset(&stream),
            Command::Close => return,
            Command::Frame(_) | Command::Stall => {}
        }
    }
}

/// Makes the connection one that is reset when it is dropped.
fn reset(stream: &WebSocketStream<TcpStream>) {
    // It fails for a connection that is gone already.
    stream.get_ref().set_zero_linger().ok();
}
