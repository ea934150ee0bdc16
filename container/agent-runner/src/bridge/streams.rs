//! Frames on the two byte streams to the gateway.

use std::io;

use protocol::Frame;
use protocol::frame::HEADER_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Packet;

/// Reads frames until the input ends between two of them.
pub(super) async fn read(
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
pub(super) async fn write(
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
