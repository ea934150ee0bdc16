//! The frames that carry broker connections through one byte stream, where a socket cannot be mounted.
//!
//! `agent-runner bridge` runs beside the agent, accepts connections on the sandbox's loopback and sends what
//! they say to its standard output; the gateway's broker is at the other end. A frame is a header of nine bytes,
//! `connection: u32`, `kind: u8`, `length: u32`, big-endian, and then `length` bytes.

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 9;
/// The most bytes that one frame may carry.
pub const MAX_PAYLOAD_BYTES: u32 = 64 * 1024;

/// The most connections that the bridge has open at a time, which is as many as the broker serves; further ones wait
/// in the sandbox.
pub const MAX_CONNECTIONS: usize = 16;

/// What a frame says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A new connection; no payload. Sent by the bridge only.
    Open,
    /// Bytes of the connection.
    Data,
    /// The sender will send no more bytes; the other direction goes on.
    Finish,
    /// The connection is gone in both directions.
    Reset,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The connection; numbers are chosen by the bridge and not used again.
    pub connection: u32,
    /// What it says.
    pub kind: FrameKind,
    /// How many payload bytes follow.
    pub length: u32,
}

impl Frame {
    /// Writes the header.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d] = self.connection.to_be_bytes();
        let [w, x, y, z] = self.length.to_be_bytes();
        let kind = match self.kind {
            FrameKind::Open => 0,
            FrameKind::Data => 1,
            FrameKind::Finish => 2,
            FrameKind::Reset => 3,
        };
        [a, b, c, d, kind, w, x, y, z]
    }

    /// Reads a header; `None` when it is not one, or promises more than [`MAX_PAYLOAD_BYTES`].
    #[must_use]
    pub fn decode(header: [u8; HEADER_BYTES]) -> Option<Self> {
        let [a, b, c, d, kind, w, x, y, z] = header;
        let kind = match kind {
            0 => FrameKind::Open,
            1 => FrameKind::Data,
            2 => FrameKind::Finish,
            3 => FrameKind::Reset,
            _ => return None,
        };
        let length = u32::from_be_bytes([w, x, y, z]);
        (length <= MAX_PAYLOAD_BYTES).then_some(Self {
            connection: u32::from_be_bytes([a, b, c, d]),
            kind,
            length,
        })
    }
}
