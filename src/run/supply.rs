//! Where sandboxes come from now: one kind, or none and why.
//!
//! No sandbox is no reason to stop: messages are kept, people are told, and one is looked for again until it is
//! there. Runs that fail because the kind itself went away do not count as attempts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::model::SandboxKind;
use crate::sandbox::{Sandbox, SandboxError, Strength};

/// The first wait before a sandbox is looked for again.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Finds a kind of sandbox that can be used now.
#[async_trait]
pub(crate) trait Finder: Send + Sync {
    /// Finds one and probes it.
    ///
    /// # Errors
    /// When there is none, with what mends it.
    async fn find(&self) -> Result<Found, SandboxError>;

    /// Reaches a kind that need not be the one in use, to ask about what it made.
    ///
    /// # Errors
    /// When it is not to be had.
    async fn reach(&self, kind: SandboxKind) -> Result<Arc<dyn Sandbox>, SandboxError>;
}

/// A kind of sandbox that can be used.
#[derive(Clone)]
pub(crate) struct Found {
    /// The kind.
    pub(crate) sandbox: Arc<dyn Sandbox>,
    /// What it enforces.
    pub(crate) strength: Strength,
}

/// What there is now.
#[derive(Clone)]
pub(crate) enum State {
    /// It is being looked for.
    Looking,
    /// It is there.
    Ready(Found),
    /// There is none: a sentence for people, with what mends it.
    Missing(String),
}

impl State {
    /// A line for `status`, and whether runs can start.
    pub(crate) fn line(&self) -> (String, bool) {
        match self {
            Self::Looking => ("looking for one".to_owned(), false),
            Self::Ready(found) => (found.strength.description.clone(), true),
            Self::Missing(problem) => (problem.clone(), false),
        }
    }

    /// The kind that is there.
    pub(crate) fn kind(&self) -> Option<SandboxKind> {
        match self {
            Self::Ready(found) => Some(found.sandbox.kind()),
            Self::Looking | Self::Missing(_) => None,
        }
    }

    /// What the kind cannot enforce here, one sentence each.
    pub(crate) fn weaknesses(&self) -> &[String] {
        match self {
            Self::Ready(found) => &found.strength.weaknesses,
            Self::Looking | Self::Missing(_) => &[],
        }
    }

    /// Why there is none, and what mends it; `None` while one is there or still looked for.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            Self::Missing(problem) => Some(problem),
            Self::Looking | Self::Ready(_) => None,
        }
    }
}

/// The supply of sandboxes.
pub(crate) struct Supply {
    finder: Arc<dyn Finder>,
    state: watch::Sender<State>,
    lost: Notify,
}

impl Supply {
    /// A supply that looks with this finder.
    pub(crate) fn new(finder: Arc<dyn Finder>) -> Self {
        Self { finder, state: watch::Sender::new(State::Looking), lost: Notify::new() }
    }

    /// What there is now.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until there is a sandbox.
    pub(crate) async fn ready(&self) -> Found {
        let mut states = self.state.subscribe();
        loop {
            if let State::Ready(found) = &*states.borrow_and_update() {
                return found.clone();
            }
            if states.changed().await.is_err() {
                // The sender lives as long as this supply, so this is never reached while anybody waits.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Reaches a kind that need not be the one in use, to ask about what it made.
    ///
    /// # Errors
    /// When it is not to be had.
    pub(crate) async fn reach(&self, kind: SandboxKind) -> Result<Arc<dyn Sandbox>, SandboxError> {
        self.finder.reach(kind).await
    }

    /// Says that the kind itself does not work any more.
    pub(crate) fn report(&self, error: &SandboxError) {
        self.state.send_replace(State::Missing(in_words(error)));
        self.lost.notify_one();
    }

    /// Looks for a sandbox whenever there is none, until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut wait = FIRST_WAIT;
        loop {
            let found = tokio::select! {
                found = self.finder.find() => found,
                () = stop.cancelled() => return,
            };
            match found {
                Ok(found) => {
                    info!(sandbox = %found.strength.description, "the sandbox is ready");
                    wait = FIRST_WAIT;
                    self.state.send_replace(State::Ready(found));
                    tokio::select! {
                        () = self.lost.notified() => {}
                        () = stop.cancelled() => return,
                    }
                    // A kind that comes and goes is not asked without a pause.
                    tokio::time::sleep(FIRST_WAIT).await;
                }
                Err(error) => {
                    let problem = in_words(&error);
                    self.state.send_if_modified(|state| match state {
                        State::Missing(known) if *known == problem => false,
                        _ => {
                            warn!(%problem, "there is no sandbox; messages are kept and wait");
                            *state = State::Missing(problem.clone());
                            true
                        }
                    });
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = stop.cancelled() => return,
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }
}

/// A sentence for people, with what mends it.
fn in_words(error: &SandboxError) -> String {
    match error.remedy() {
        Some((reason, mend)) => format!("{reason}; {mend}"),
        None => error.to_string(),
    }
}
