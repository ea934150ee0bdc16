//! Carries broker connections over standard input and output, where a socket cannot be mounted.
//!
//! Every queue is bounded: what the gateway does not read stops the programs inside, and what a program does
//! not read stops the gateway, until [`STUCK`] has passed; then that one connection is reset, so that it does
//! not hold up the others for ever.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use protocol::frame::{HEADER_BYTES, MAX_PAYLOAD_BYTES};
use protocol::{Frame, FrameKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{EXIT_IO, note};

/// The most connections at a time; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// Frames that wait for one program inside.
const INWARD_FRAMES: usize = 16;
/// Frames that wait for the gateway.
const OUTWARD_FRAMES: usize = 16;
/// How long a program may leave its connection unread while others wait behind it.
const STUCK: Duration = Duration::from_secs(10);
/// How long to wait for the port: the bridge of a gateway that was restarted may just be ending.
const BIND_PATIENCE: Duration = Duration::from_secs(10);

/// Bridges until standard input ends.
pub(crate) fn run(port: u16) -> ExitCode {
    let bridged =
        tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            let bridged = runtime.block_on(async {
                let listener = bind(port).await?;
                Bridge::default().carry(listener, tokio::io::stdin(), tokio::io::stdout()).await
            });
            // Standard input is read by a thread that cannot be stopped.
            runtime.shutdown_background();
            bridged
        });
    match bridged {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("the bridge broke: {error}"));
            ExitCode::from(EXIT_IO)
        }
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    let until = Instant::now() + BIND_PATIENCE;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            bound => return bound,
        }
    }
}

/// A frame with its payload.
type Packet = (Frame, Bytes);

/// What the gateway says to one connection.
#[derive(Debug)]
enum Inward {
    Data(Bytes),
    Finish,
}

/// The connections that are open.
#[derive(Debug, Default)]
struct Bridge {
    inward: HashMap<u32, mpsc::Sender<Inward>>,
    opened: u32,
    connections: JoinSet<u32>,
}

impl Bridge {
    /// Carries frames between the listener's connections and the two streams until `input` ends.
    async fn carry(
        mut self,
        listener: TcpListener,
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<()> {
        let (outward, outward_rx) = mpsc::channel(OUTWARD_FRAMES);
        let (frames, mut frames_rx) = mpsc::channel(1);
        let mut streams = JoinSet::new();
        streams.spawn(read_frames(input, frames));
        streams.spawn(write_frames(output, outward_rx));
        loop {
            let room = self.connections.len() < MAX_CONNECTIONS;
            tokio::select! {
                Some(ended) = streams.join_next() => {
                    return ended.map_err(io::Error::other)?;
                }
                Some(closed) = self.connections.join_next() => {
                    if let Ok(connection) = closed {
                        self.inward.remove(&connection);
                    }
                }
                Some((frame, payload)) = frames_rx.recv() => {
                    self.take(frame, payload, &outward).await;
                }
                accepted = listener.accept(), if room => match accepted {
                    Ok((stream, _)) => self.open(stream.into_split(), &outward),
                    // Out of descriptors, most likely; a connection that ends frees some.
                    Err(_error) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
            }
        }
    }

    fn open(&mut self, halves: (OwnedReadHalf, OwnedWriteHalf), outward: &mpsc::Sender<Packet>) {
        self.opened = self.opened.wrapping_add(1);
        let (tx, rx) = mpsc::channel(INWARD_FRAMES);
        self.inward.insert(self.opened, tx);
        self.connections.spawn(connection(self.opened, halves, rx, outward.clone()));
    }

    /// Hands a frame of the gateway's to its connection; a connection that is gone needs none.
    async fn take(&mut self, frame: Frame, payload: Bytes, outward: &mpsc::Sender<Packet>) {
        let Some(connection) = self.inward.get(&frame.connection) else { return };
        let inward = match frame.kind {
            FrameKind::Data => Inward::Data(payload),
            FrameKind::Finish => Inward::Finish,
            FrameKind::Reset | FrameKind::Open => {
                self.inward.remove(&frame.connection);
                return;
            }
        };
        if connection.send_timeout(inward, STUCK).await.is_err() {
            self.inward.remove(&frame.connection);
            let reset = Frame { connection: frame.connection, kind: FrameKind::Reset, length: 0 };
            // If the writer is gone, the loop is about to end.
            outward.send((reset, Bytes::new())).await.ok();
        }
    }
}

/// Carries one connection until both directions have ended or one has broken, and returns its number.
async fn connection(
    number: u32,
    (mut from_program, mut to_program): (OwnedReadHalf, OwnedWriteHalf),
    mut inward: mpsc::Receiver<Inward>,
    outward: mpsc::Sender<Packet>,
) -> u32 {
    let say = |kind, payload: Bytes| {
        let length = u32::try_from(payload.len()).unwrap_or(MAX_PAYLOAD_BYTES);
        outward.send((Frame { connection: number, kind, length }, payload))
    };
    let out = async {
        say(FrameKind::Open, Bytes::new()).await.ok()?;
        let mut buffer = vec![0; usize::try_from(MAX_PAYLOAD_BYTES).ok()?];
        loop {
            let read = from_program.read(&mut buffer).await.ok()?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            say(FrameKind::Data, Bytes::copy_from_slice(bytes)).await.ok()?;
        }
        say(FrameKind::Finish, Bytes::new()).await.ok()
    };
    let into = async {
        while let Some(Inward::Data(bytes)) = next(&mut inward).await? {
            to_program.write_all(&bytes).await.ok()?;
        }
        to_program.shutdown().await.ok()
    };
    // `None` is a direction that broke: the other one is of no use to anybody then.
    if futures_util::future::try_join(async { out.await.ok_or(()) }, async { into.await.ok_or(()) })
        .await
        .is_err()
    {
        say(FrameKind::Reset, Bytes::new()).await.ok();
    }
    number
}

/// The next word for a connection: `None` when the gateway reset it, `Some(None)` when it finished.
async fn next(inward: &mut mpsc::Receiver<Inward>) -> Option<Option<Inward>> {
    match inward.recv().await? {
        Inward::Finish => Some(None),
        data @ Inward::Data(_) => Some(Some(data)),
    }
}

/// Reads frames until the input ends between two of them.
async fn read_frames(
    mut input: impl AsyncRead + Unpin,
    frames: mpsc::Sender<Packet>,
) -> io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    loop {
        match input.read_exact(&mut header).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let frame = Frame::decode(header)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a frame"))?;
        let length = usize::try_from(frame.length).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        input.read_exact(&mut payload).await?;
        if frames.send((frame, payload.into())).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes frames, and flushes whenever none waits.
async fn write_frames(
    mut output: impl AsyncWrite + Unpin,
    mut packets: mpsc::Receiver<Packet>,
) -> io::Result<()> {
    while let Some((frame, payload)) = packets.recv().await {
        output.write_all(&frame.encode()).await?;
        output.write_all(&payload).await?;
        if packets.is_empty() {
            output.flush().await?;
        }
    }
    Ok(())
}
