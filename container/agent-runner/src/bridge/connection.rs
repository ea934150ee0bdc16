//! One connection of a program inside, carried in both directions until both have ended.

use bytes::Bytes;
use futures_util::future::{self, FutureExt};
use protocol::frame::MAX_PAYLOAD_BYTES;
use protocol::{Frame, FrameKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::Packet;

/// What the gateway says to one connection.
#[derive(Debug)]
pub(super) enum Inward {
    /// Bytes for the program.
    Data(Bytes),
    /// There will be no more of them.
    Finish,
}

/// Carries one connection until both directions have ended or one has broken, and returns its number.
pub(super) async fn carry(
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
        loop {
            // No word and no end: the gateway has reset the connection.
            match inward.recv().await? {
                Inward::Data(bytes) => to_program.write_all(&bytes).await.ok()?,
                Inward::Finish => return to_program.shutdown().await.ok(),
            }
        }
    };
    // A direction that broke is `None`; the other one is of no use to anybody then.
    let both =
        future::try_join(out.map(|ended| ended.ok_or(())), into.map(|ended| ended.ok_or(())));
    if both.await.is_err() {
        // If the writer is gone, so is the gateway.
        say(FrameKind::Reset, Bytes::new()).await.ok();
    }
    number
}
