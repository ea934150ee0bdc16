//! One tunnel: bytes in both directions, within limits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// How much a tunnel may carry, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes, both directions together.
    bytes: u64,
    /// How long it may be silent in both directions.
    silence: Duration,
    /// How long it may be open.
    lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            silence: Duration::from_secs(120),
            lifetime: Duration::from_secs(3_600),
        }
    }
}

/// Bytes that are carried at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a tunnel has carried, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carried {
    /// Bytes in both directions.
    pub bytes: u64,
    /// How it ended.
    pub end: End,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides have said all.
    Finished,
    /// One side broke.
    Broken,
    /// Nothing came for too long.
    Silent,
    /// It carried too much.
    TooMuch,
    /// It was open for too long.
    TooLong,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Broken => "one side broke",
            Self::Silent => "nothing came for too long",
            Self::TooMuch => "it carried too much",
            Self::TooLong => "it was open for too long",
        })
    }
}

/// Carries bytes until both sides have said all or a limit is reached.
pub(super) async fn carry<A, B>(inside: A, outside: B, limits: Limits) -> Carried
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (from_inside, to_inside) = tokio::io::split(inside);
    let (from_outside, to_outside) = tokio::io::split(outside);
    let carried = AtomicU64::new(0);
    let both = async {
        let up = copy(from_inside, to_outside, &carried, limits.bytes);
        let down = copy(from_outside, to_inside, &carried, limits.bytes);
        match tokio::try_join!(up, down) {
            Ok(_) => End::Finished,
            Err(end) => end,
        }
    };
    let end = tokio::select! {
        end = both => end,
        () = silence(&carried, limits.silence) => End::Silent,
        () = tokio::time::sleep(limits.lifetime) => End::TooLong,
    };
    Carried { bytes: carried.into_inner(), end }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    carried: &AtomicU64,
    max: u64,
) -> Result<(), End> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await.map_err(|_broken| End::Broken)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown().await.map_err(|_broken| End::Broken);
        };
        let size = u64::try_from(read).unwrap_or(u64::MAX);
        if carried.fetch_add(size, Ordering::Relaxed).saturating_add(size) > max {
            return Err(End::TooMuch);
        }
        to.write_all(bytes).await.map_err(|_broken| End::Broken)?;
    }
}

/// Returns when nothing was carried for so long.
async fn silence(carried: &AtomicU64, limit: Duration) {
    loop {
        let before = carried.load(Ordering::Relaxed);
        tokio::time::sleep_until(Instant::now() + limit).await;
        if carried.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_until_both_sides_are_done() {
        let ((inside, mut agent), (outside, mut server)) = (duplex(64), duplex(64));
        let tunnel = carry(inside, outside, Limits::default());
        let talk = async {
            agent.write_all(b"ping").await.unwrap();
            let mut heard = [0; 4];
            server.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"ping");
            agent.shutdown().await.unwrap();
            assert_eq!(server.read(&mut heard).await.unwrap(), 0);
            server.write_all(b"pong!").await.unwrap();
            server.shutdown().await.unwrap();
            let mut rest = Vec::new();
            agent.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"pong!");
        };
        let (carried, ()) = tokio::join!(tunnel, talk);
        assert_eq!(carried, Carried { bytes: 9, end: End::Finished });
    }

    #[tokio::test]
    async fn a_silent_tunnel_is_closed() {
        let ((inside, _agent), (outside, _server)) = (duplex(64), duplex(64));
        let limits = Limits { silence: Duration::from_millis(5), ..Limits::default() };
        assert_eq!(carry(inside, outside, limits).await, Carried { bytes: 0, end: End::Silent });
    }

    #[tokio::test]
    async fn a_tunnel_does_not_live_for_ever() {
        let ((inside, _agent), (outside, _server)) = (duplex(64), duplex(64));
        let limits = Limits { lifetime: Duration::from_millis(5), ..Limits::default() };
        assert_eq!(carry(inside, outside, limits).await.end, End::TooLong);
    }

    #[tokio::test]
    async fn a_tunnel_carries_so_much_and_no_more() {
        let ((inside, mut agent), (outside, mut server)) = (duplex(64), duplex(64));
        let limits = Limits { bytes: 100, ..Limits::default() };
        let talk = async {
            agent.write_all(&[1; 101]).await.ok();
            let mut arrived = Vec::new();
            server.read_to_end(&mut arrived).await.unwrap();
            arrived.len()
        };
        let (carried, arrived) = tokio::join!(carry(inside, outside, limits), talk);
        assert_eq!(carried.end, End::TooMuch);
        assert!(arrived <= 100, "{arrived}");
    }
}
