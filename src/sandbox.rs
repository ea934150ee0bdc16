//! Sandboxes: where runs happen, behind one trait.
//!
//! A sandbox is made from a checked [`SandboxSpec`] and from nothing else. What a kind cannot enforce it declares
//! in [`Strength`]; a probe at start refuses to serve from a sandbox that is weaker than declared.

#[cfg(any(test, feature = "fakes"))]
pub mod contract;
#[cfg(any(test, feature = "fakes"))]
pub mod fake;

#[cfg(target_os = "linux")]
pub mod bubblewrap;
pub mod docker;
mod folders;
pub mod install;
mod mounts;
mod probe;
pub mod runner;
pub mod select;
pub mod spec;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::model::SandboxKind;
use crate::model::{GroupName, SandboxId};

/// A way to make sandboxes.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Which kind.
    fn kind(&self) -> SandboxKind;

    /// Tries one for real: what it enforces, and whether it can be used now.
    ///
    /// # Errors
    /// When no sandbox can be had, with what mends it, or when one is weaker than declared.
    async fn probe(&self) -> Result<Strength, SandboxError>;

    /// Makes ahead what can be made of a sandbox that is about to be started; whether that is anything, so that it must
    /// be stopped should it never start.
    ///
    /// # Errors
    /// When it could not be made; nothing of it is left behind.
    async fn prepare(&self, _id: &SandboxId, _group: &GroupName) -> Result<bool, SandboxError> {
        Ok(false)
    }

    /// Starts a sandbox, prepared or not; returns once its agent-runner has been started, not when it is ready.
    ///
    /// # Errors
    /// When it could not be started; nothing of it is left behind.
    async fn start(&self, spec: &SandboxSpec) -> Result<(), SandboxError>;

    /// Waits until a sandbox has ended.
    ///
    /// # Errors
    /// When the kind cannot tell now; the sandbox may still live.
    async fn wait(&self, id: &SandboxId) -> Result<Exit, SandboxError>;

    /// Ends a sandbox, politely for `grace` and then at once, and removes what is left of it.
    ///
    /// # Errors
    /// When it may still live.
    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), SandboxError>;

    /// The sandboxes of this install that are there, of this gateway or of one before it.
    ///
    /// # Errors
    /// When the kind cannot be asked now.
    async fn list(&self) -> Result<Vec<LiveSandbox>, SandboxError>;

    /// Opens the broker's stream into a sandbox that has no mounted socket: `agent-runner bridge` runs inside.
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn bridge(&self, id: &SandboxId) -> Result<Box<dyn ByteStream>, SandboxError>;
}

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Everything that a sandbox is made from. All paths are absolute, exist, and were checked by whoever built this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Its id.
    pub id: SandboxId,
    /// The group it works for.
    pub group: GroupName,
    /// The image, for the kinds that have images.
    pub image: String,
    /// The agent-runner binary on the host.
    pub runner: PathBuf,
    /// The agent-runner's arguments after `init`.
    pub runner_args: Vec<String>,
    /// The user and group ids that everything inside runs as; the writable mounts belong to them.
    pub user: User,
    /// The mounts, in the order in which they are made.
    pub mounts: Vec<Mount>,
    /// How much it may use.
    pub limits: Limits,
    /// The time zone inside, as an IANA name.
    pub time_zone: String,
}

/// A user inside a sandbox; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// One mount of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The path on the host.
    pub host: PathBuf,
    /// The path inside.
    pub inside: PathBuf,
    /// Whether the agent may write there.
    pub access: Access,
}

/// What a mount allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// How much a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of everything inside together, in bytes; there is no swap beyond it.
    pub memory_bytes: u64,
    /// Processors, in thousandths.
    pub milli_cpus: u32,
    /// Processes and threads.
    pub pids: u32,
    /// The size of `/tmp`, in bytes.
    pub tmp_bytes: u64,
    /// The largest file that may be written, in bytes.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const GIB: u64 = 1024 * 1024 * 1024;
        Self {
            memory_bytes: 2 * GIB,
            milli_cpus: 2_000,
            pids: 512,
            tmp_bytes: GIB / 2,
            file_bytes: 2 * GIB,
        }
    }
}

/// How a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The agent-runner ended with this status.
    Code(i32),
    /// Memory ran out.
    OutOfMemory,
    /// It is gone, and nobody knows how.
    Gone,
}

/// A sandbox that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSandbox {
    /// Its id.
    pub id: SandboxId,
    /// The group it works for.
    pub group: GroupName,
    /// Whether it still runs.
    pub running: bool,
}

/// What a kind enforces here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strength {
    /// A line for `status`, such as `Docker 27.1, image hermitcrab-agent:latest`.
    pub description: String,
    /// What it cannot enforce here, one plain sentence each; empty where it enforces everything.
    pub weaknesses: Vec<String>,
    /// Whether the broker's socket can be mounted; otherwise the bridge is used.
    pub socket: bool,
}

/// A sandbox could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kind is not to be had here now; nothing is wrong with the request.
    #[error("no sandbox can be had: {reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
        /// The command that mends it.
        mend: String,
    },
    /// The image is missing and could not be built.
    #[error("the image {image} is missing: {reason}")]
    NoImage {
        /// The image.
        image: String,
        /// Why it could not be built.
        reason: String,
        /// The command that mends it.
        mend: String,
    },
    /// A sandbox is weaker than declared.
    #[error("the sandbox is weaker than it must be: {what}")]
    Weak {
        /// What it let through.
        what: String,
    },
    /// There is no such sandbox.
    #[error("there is no sandbox {0}")]
    Unknown(SandboxId),
    /// This kind cannot do that.
    #[error("this kind of sandbox cannot {0}")]
    Unsupported(&'static str),
    /// Something failed underneath.
    #[error("cannot {doing}")]
    Failed {
        /// What was being done.
        doing: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SandboxError {
    /// Why there is no sandbox, and the command that mends it, where one is known.
    pub(crate) fn remedy(&self) -> Option<(String, &str)> {
        match self {
            Self::Unavailable { reason, mend } => Some((reason.clone(), mend)),
            Self::NoImage { mend, .. } => Some((self.to_string(), mend)),
            _ => None,
        }
    }

    /// Something failed underneath while doing this.
    pub(crate) fn failed(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { doing: doing.into(), source: source.into() }
    }
}
