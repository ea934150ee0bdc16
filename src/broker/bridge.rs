//! The gateway's end of a framed stream, where a socket cannot be mounted: the connections inside it are served as
//! those of a socket are.
//!
//! Every queue is bounded, and so is what all of them together hold of one sandbox: [`MOST_HELD`]. A connection that is not read for [`STUCK`] is reset, so that it does not hold up the
//! others in the same stream for ever.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::frame::{HEADER_BYTES, MAX_PAYLOAD_BYTES};
use protocol::{Frame, FrameKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::door::{MAX_CONNECTIONS, Room};
use super::serve;

/// The most connections that may be open. The other side opens no more than are served at a time; twice as many leave
/// room for those that are just ending.
const MAX_OPEN: usize = 2 * MAX_CONNECTIONS;
/// Frames that wait for one connection.
const INWARD_FRAMES: usize = 2;
/// Frames that wait to be written to the stream.
const OUTWARD_FRAMES: usize = 16;
/// How long a connection may leave what is sent to it unread while others wait behind it.
const STUCK: Duration = Duration::from_secs(10);
/// Bytes on their way between a connection and the one who serves it.
const PIPE_BYTES: usize = 64 * 1024;

/// Bytes that one stream's connections hold at most on the way in: queued, in hand, and in the pipe.
const MOST_HELD: usize = MAX_OPEN * ((INWARD_FRAMES + 1) * FRAME_BYTES + PIPE_BYTES);
/// Bytes of the largest frame.
const FRAME_BYTES: usize = 64 * 1024;
const _: () = assert!(MAX_PAYLOAD_BYTES as usize == FRAME_BYTES && MOST_HELD <= 8 << 20);

/// A frame with its payload.
type Packet = (Frame, Bytes);

/// What the sandbox says to one connection.
enum Inward {
    Data(Bytes),
    Finish,
}

/// Serves the connections in a stream until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, room: Arc<Room>) {
    let (input, output) = tokio::io::split(stream);
    let (outward, outward_rx) = mpsc::channel(OUTWARD_FRAMES);
    let ended = tokio::select! {
        ended = Box::pin(read(input, &room, &outward)) => ended,
        ended = Box::pin(write(output, outward_rx)) => ended,
    };
    if let Err(error) = ended {
        tracing::warn!(
            group.name = %room.client.group,
            sandbox.id = %room.client.sandbox,
            "the broker's stream into a sandbox broke: {error}"
        );
    }
}

async fn read(
    mut input: impl AsyncRead + Unpin,
    room: &Arc<Room>,
    outward: &mpsc::Sender<Packet>,
) -> io::Result<()> {
    let mut open: HashMap<u32, mpsc::Sender<Inward>> = HashMap::new();
    while let Some((frame, payload)) = read_frame(&mut input).await? {
        let number = frame.connection;
        let inward = match frame.kind {
            FrameKind::Open => {
                open.retain(|_, connection| !connection.is_closed());
                if open.len() < MAX_OPEN && !open.contains_key(&number) {
                    open.insert(number, accept(number, room, outward));
                } else {
                    say(outward, number, FrameKind::Reset, Bytes::new()).await;
                }
                continue;
            }
            FrameKind::Reset => {
                open.remove(&number);
                continue;
            }
            FrameKind::Data => Inward::Data(payload),
            FrameKind::Finish => Inward::Finish,
        };
        // Words to a connection that has ended are late, and nothing else.
        let Some(connection) = open.get(&number) else { continue };
        if let Err(error) = connection.send_timeout(inward, STUCK).await {
            open.remove(&number);
            if matches!(error, mpsc::error::SendTimeoutError::Timeout(_)) {
                say(outward, number, FrameKind::Reset, Bytes::new()).await;
            }
        }
    }
    Ok(())
}

/// Opens a connection: one task serves it, one carries it.
fn accept(number: u32, room: &Arc<Room>, outward: &mpsc::Sender<Packet>) -> mpsc::Sender<Inward> {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (tx, rx) = mpsc::channel(INWARD_FRAMES);
    room.spawn(carry(number, ours, rx, outward.clone()));
    let behind = Arc::clone(room);
    room.spawn(async move {
        if let Some(place) = behind.place().await {
            serve::serve(theirs, Arc::clone(&behind), place).await;
        }
    });
    tx
}

/// Carries one connection until the one who serves it has said all, or the sandbox has reset it.
async fn carry(
    number: u32,
    pipe: DuplexStream,
    mut inward: mpsc::Receiver<Inward>,
    outward: mpsc::Sender<Packet>,
) {
    let (mut from_server, mut to_server) = tokio::io::split(pipe);
    let out = async {
        let mut buffer = vec![0; usize::try_from(MAX_PAYLOAD_BYTES).unwrap_or(PIPE_BYTES)];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let bytes = buffer.get(..read).unwrap_or_default();
            say(&outward, number, FrameKind::Data, Bytes::copy_from_slice(bytes)).await;
        }
        say(&outward, number, FrameKind::Finish, Bytes::new()).await;
    };
    let into = async {
        while let Some(word) = inward.recv().await {
            let done = match word {
                Inward::Data(bytes) => to_server.write_all(&bytes).await,
                Inward::Finish => to_server.shutdown().await,
            };
            if done.is_err() {
                // The server listens no more; what it has said is still being carried out.
                while inward.recv().await.is_some() {}
            }
        }
        // Reset, or the stream has ended.
    };
    tokio::select! {
        () = out => {}
        () = into => {}
    }
}

async fn say(outward: &mpsc::Sender<Packet>, connection: u32, kind: FrameKind, payload: Bytes) {
    let length = u32::try_from(payload.len()).unwrap_or(MAX_PAYLOAD_BYTES);
    // When the writer is gone, the stream is about to end for everybody.
    outward.send((Frame { connection, kind, length }, payload)).await.ok();
}

/// Reads a frame; `None` when the stream has ended between two of them.
async fn read_frame(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Packet>> {
    let mut header = [0; HEADER_BYTES];
    if input.read(header.split_at_mut(1).0).await? == 0 {
        return Ok(None);
    }
    input.read_exact(header.split_at_mut(1).1).await?;
    let frame = Frame::decode(header)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not a frame"))?;
    let mut payload = vec![0; usize::try_from(frame.length).map_err(io::Error::other)?];
    input.read_exact(&mut payload).await?;
    Ok(Some((frame, payload.into())))
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut outward: mpsc::Receiver<Packet>,
) -> io::Result<()> {
    while let Some((frame, payload)) = outward.recv().await {
        output.write_all(&frame.encode()).await?;
        output.write_all(&payload).await?;
        if outward.is_empty() {
            output.flush().await?;
        }
    }
    Ok(())
}
