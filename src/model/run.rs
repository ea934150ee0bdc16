//! Runs as others see them: what they cost, what they are doing, what they sent, what they happen in.

use super::Seq;

/// Tokens and money of model calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many calls.
    pub requests: u64,
    /// Input tokens that were not cached.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to the cache.
    pub cache_write_tokens: u64,
    /// The price, in millionths of a dollar, by the list prices that the broker knows.
    pub cost_micros: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.cost_micros += other.cost_micros;
    }
}

/// What a conversation's run is doing, for people who wait: shown, then forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// Waiting for a slot.
    Queued {
        /// How many conversations are ahead.
        ahead: usize,
    },
    /// The agent is at work.
    Working,
    /// The agent uses a tool.
    Tool {
        /// The tool.
        name: String,
        /// What it does, in a few words.
        summary: String,
    },
    /// A piece of the answer as it is written.
    Text {
        /// The piece.
        delta: String,
    },
    /// The agent waits for the model's provider, or the run for its next attempt.
    Waiting {
        /// Why, in a sentence.
        reason: String,
    },
    /// The run is over; its answer, if any, comes through the outbox.
    Idle,
}

/// A platform's word that it has a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The platform's id of what was sent, where it gives one.
    pub external_id: Option<String>,
}

/// What ends a run in its chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// The last message that the run dealt with.
    pub through: Seq,
    /// Whether it answered; otherwise it says why not.
    pub answered: bool,
}

/// The kinds of sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxKind {
    /// Docker or Podman, through the Engine API.
    Docker,
    /// The daemonless kind on Linux.
    Bubblewrap,
    /// The stand-in of the tests.
    Fake,
}

impl SandboxKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Docker, Self::Bubblewrap, Self::Fake];

    /// The kind as it stands in the store, and in sentences.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Bubblewrap => "bubblewrap",
            Self::Fake => "fake",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl std::fmt::Display for SandboxKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
