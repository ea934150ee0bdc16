//! Faults: what goes wrong on demand, always or the first few times.

use serde::Deserialize;

use super::failure::{Denial, Failure};

/// Something that goes wrong, always or the first few times.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// How many requests it befalls; left out, all.
    #[serde(default)]
    pub first: Option<u32>,
}

/// What goes wrong. Events are counted as they lie on the wire, an SSE `ping` included.
///
/// An answer that is not streamed is refused for [`FaultKind::Break`], sent by half and cut for
/// [`FaultKind::Cut`], sent by half and ended for the damaged events, and held after its headers
/// for a [`FaultKind::Hang`] between events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// An HTTP error in place of an answer.
    Refuse {
        /// Which.
        failure: Failure,
        /// The `retry-after` header, in seconds.
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// The stream breaks off with an `error` event or an exception frame.
    Break {
        /// With which failure.
        failure: Failure,
        /// After how many events.
        after: usize,
    },
    /// The connection closes without an end.
    Cut {
        /// After how many events.
        after: usize,
    },
    /// Every event waits, and so does every byte.
    Slow {
        /// Before each event, in milliseconds.
        #[serde(default)]
        event_ms: u64,
        /// Before each byte, in milliseconds; 0 sends events whole.
        #[serde(default)]
        byte_ms: u64,
    },
    /// One event is not JSON, in an intact frame.
    Malformed {
        /// In place of which event, counted from 0.
        at: usize,
    },
    /// One event is damaged on the wire: bytes that are not UTF-8, or a wrong checksum.
    Garbled {
        /// In place of which event, counted from 0.
        at: usize,
    },
    /// Waits until the test opens [`Server::gate`](super::Server::gate).
    Hang {
        /// The gate's name.
        gate: String,
        /// After how many events; left out, before the first byte of the response.
        #[serde(default)]
        after: Option<usize>,
    },
}

impl FaultKind {
    /// Whether a client that meets this fault has to ask again.
    pub(super) fn spoils(&self) -> bool {
        !matches!(self, Self::Slow { .. } | Self::Hang { .. })
    }
}

impl From<FaultKind> for Fault {
    /// This fault, every time.
    fn from(kind: FaultKind) -> Self {
        Self { kind, first: None }
    }
}

impl Fault {
    /// 429, with a `retry-after` of so many seconds.
    #[must_use]
    pub fn rate_limited(retry_after_s: u64) -> Self {
        let failure = Failure::RateLimited;
        FaultKind::Refuse { failure, retry_after_s: Some(retry_after_s) }.into()
    }

    /// 529 (Bedrock: 503).
    #[must_use]
    pub fn overloaded() -> Self {
        Self::refuse(Failure::Overloaded)
    }

    /// 500.
    #[must_use]
    pub fn internal() -> Self {
        Self::refuse(Failure::Internal)
    }

    /// 401 (Bedrock: 403), whatever the credentials are.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::refuse(Failure::Unauthorized(Denial::Unknown))
    }

    /// 400 with the text that says that the context is full.
    #[must_use]
    pub fn prompt_too_long() -> Self {
        Self::refuse(Failure::PromptTooLong)
    }

    /// Any HTTP error, without a `retry-after`.
    #[must_use]
    pub fn refuse(failure: Failure) -> Self {
        FaultKind::Refuse { failure, retry_after_s: None }.into()
    }

    /// The stream breaks off with this failure after so many events.
    #[must_use]
    pub fn breaks(failure: Failure, after: usize) -> Self {
        FaultKind::Break { failure, after }.into()
    }

    /// The connection closes after so many events.
    #[must_use]
    pub fn cut(after: usize) -> Self {
        FaultKind::Cut { after }.into()
    }

    /// So many milliseconds before each event, and so many before each byte.
    #[must_use]
    pub fn slow(event_ms: u64, byte_ms: u64) -> Self {
        FaultKind::Slow { event_ms, byte_ms }.into()
    }

    /// The event at this place is not JSON.
    #[must_use]
    pub fn malformed(at: usize) -> Self {
        FaultKind::Malformed { at }.into()
    }

    /// The event at this place is damaged on the wire.
    #[must_use]
    pub fn garbled(at: usize) -> Self {
        FaultKind::Garbled { at }.into()
    }

    /// Nothing comes until this gate is opened.
    #[must_use]
    pub fn hang(gate: &str) -> Self {
        FaultKind::Hang { gate: gate.to_owned(), after: None }.into()
    }

    /// Nothing more comes after so many events until this gate is opened.
    #[must_use]
    pub fn hang_after(gate: &str, events: usize) -> Self {
        FaultKind::Hang { gate: gate.to_owned(), after: Some(events) }.into()
    }

    /// Befalls the first `n` requests that meet it, and then no more.
    #[must_use]
    pub fn first(mut self, n: u32) -> Self {
        self.first = Some(n);
        self
    }
}
