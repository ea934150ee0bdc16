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
use protocol::frame::MAX_CONNECTIONS;
use protocol::{Frame, FrameKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{EXIT_IO, note};
use connection::Inward;

mod connection;
mod streams;

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
        streams.spawn(streams::read(input, frames));
        streams.spawn(streams::write(output, outward_rx));
        loop {
            // Further ones wait in the kernel's queue.
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
        self.connections.spawn(connection::carry(self.opened, halves, rx, outward.clone()));
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

#[cfg(test)]
mod tests {
    use protocol::frame::HEADER_BYTES;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::net::TcpStream;

    use super::*;

    /// A bridge on a free port, and the gateway's ends of its streams.
    async fn bridge() -> (std::net::SocketAddr, DuplexStream, DuplexStream, JoinSet<io::Result<()>>)
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to_bridge, input) = tokio::io::duplex(256 * 1024);
        let (output, from_bridge) = tokio::io::duplex(256 * 1024);
        let mut tasks = JoinSet::new();
        tasks.spawn(Bridge::default().carry(listener, input, output));
        (address, to_bridge, from_bridge, tasks)
    }

    async fn receive(stream: &mut DuplexStream) -> (u32, FrameKind, Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header).await.unwrap();
        let frame = Frame::decode(header).unwrap();
        let mut payload = vec![0; frame.length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        (frame.connection, frame.kind, payload)
    }

    async fn send(stream: &mut DuplexStream, connection: u32, kind: FrameKind, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        stream.write_all(&Frame { connection, kind, length }.encode()).await.unwrap();
        stream.write_all(payload).await.unwrap();
    }

    #[tokio::test]
    async fn connections_are_carried_beside_each_other() {
        let (address, mut to, mut from, mut tasks) = bridge().await;
        let mut programs = Vec::new();
        for number in [1, 2] {
            let mut program = TcpStream::connect(address).await.unwrap();
            program.write_all(b"hello").await.unwrap();
            assert_eq!(receive(&mut from).await, (number, FrameKind::Open, Vec::new()));
            assert_eq!(receive(&mut from).await, (number, FrameKind::Data, b"hello".to_vec()));
            programs.push(program);
        }
        for (number, program) in (1..).zip(&mut programs) {
            let words = format!("answer {number}");
            send(&mut to, number, FrameKind::Data, words.as_bytes()).await;
            send(&mut to, number, FrameKind::Finish, b"").await;
            let mut said = String::new();
            program.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, words, "the end was carried too");
            program.shutdown().await.unwrap();
            assert_eq!(receive(&mut from).await, (number, FrameKind::Finish, Vec::new()));
        }
        drop(to);
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_reset_ends_one_connection_and_unknown_ones_are_ignored() {
        let (address, mut to, mut from, _tasks) = bridge().await;
        let mut program = TcpStream::connect(address).await.unwrap();
        assert_eq!(receive(&mut from).await.1, FrameKind::Open);
        send(&mut to, 77, FrameKind::Data, b"nobody").await;
        send(&mut to, 1, FrameKind::Reset, b"").await;
        assert_eq!(program.read(&mut [0; 8]).await.unwrap_or(0), 0);
        assert_eq!(receive(&mut from).await.1, FrameKind::Reset);
    }

    #[tokio::test]
    async fn what_is_not_a_frame_ends_the_bridge() {
        let (_address, mut to, _from, mut tasks) = bridge().await;
        to.write_all(&[9; HEADER_BYTES]).await.unwrap();
        let error = tasks.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn more_than_all_buffers_hold_comes_through_whole() {
        let (address, mut to, mut from, mut tasks) = bridge().await;
        let bytes: Vec<u8> = (0..4_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
        let outgoing = bytes.clone();
        let program = async move {
            writer.write_all(&outgoing).await.unwrap();
            writer.shutdown().await.unwrap();
            let mut back = Vec::new();
            reader.read_to_end(&mut back).await.unwrap();
            back
        };
        let gateway = async {
            loop {
                match receive(&mut from).await {
                    (1, FrameKind::Open, _) => {}
                    (1, FrameKind::Data, payload) => {
                        send(&mut to, 1, FrameKind::Data, &payload).await;
                    }
                    (1, FrameKind::Finish, _) => {
                        return send(&mut to, 1, FrameKind::Finish, b"").await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let (back, ()) = tokio::join!(program, gateway);
        assert!(back == bytes);
        drop(to);
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}
