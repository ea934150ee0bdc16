//! One socket, from its upgrade to its end. A task of its own owns it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::Shared;
use super::fault::FaultKind;
use super::sockets::{Command, goodbye};
use super::world::World;

/// How many commands a socket takes up before it sends what they made.
const BATCH: usize = 256;
/// What Slack writes into its pings.
const PING: Bytes = Bytes::from_static(b"Ping from applink-fake");

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

/// Why a socket is no longer written to.
enum End {
    /// It is to be closed as the protocol wants it.
    Close,
    /// Its connection is to be reset.
    Abort,
    /// It is to fall silent.
    Stall,
    /// The client is gone.
    Gone,
}

/// Writes and reads side by side: a client that acks while it is written to must not have to wait
/// for either.
async fn run(
    shared: &Arc<Shared>,
    stream: WebSocketStream<TcpStream>,
    mut commands: UnboundedReceiver<Command>,
) {
    let (mut sink, mut frames) = stream.split();
    let end = tokio::select! {
        end = write(&mut sink, &mut commands, shared.options.ping_interval) => end,
        () = read(shared, &mut frames) => End::Gone,
    };
    let stream = sink.reunite(frames).expect("these are the two halves of one stream");
    match end {
        End::Close => close(stream).await,
        End::Abort => reset(&stream),
        End::Stall => stall(stream, commands).await,
        End::Gone => {}
    }
}

async fn write(
    sink: &mut SplitSink<WebSocketStream<TcpStream>, Message>,
    commands: &mut UnboundedReceiver<Command>,
    interval: Duration,
) -> End {
    let mut pings = interval_at(Instant::now() + interval, interval);
    let mut batch = Vec::new();
    loop {
        let sent = tokio::select! {
            _ = pings.tick() => sink.send(Message::Ping(PING)).await,
            taken = commands.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return End::Gone;
                }
                for command in batch.drain(..) {
                    let text = match command {
                        Command::Frame(text) => text,
                        Command::Close => return End::Close,
                        Command::Abort => return End::Abort,
                        Command::Stall => return End::Stall,
                    };
                    if sink.feed(Message::text(text)).await.is_err() {
                        return End::Gone;
                    }
                }
                sink.flush().await
            }
        };
        if sent.is_err() {
            return End::Gone;
        }
    }
}

async fn read(shared: &Arc<Shared>, frames: &mut SplitStream<WebSocketStream<TcpStream>>) {
    // The answer to a close is sent by reading on until there is nothing more.
    while let Some(Ok(frame)) = frames.next().await {
        if let Message::Text(text) = frame {
            shared.change(|world| world.ack(&text));
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
