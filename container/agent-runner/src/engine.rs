//! What thinks: the seam between the agent-runner and an engine, and the table of engines.
//!
//! An engine lives from its first prompt to the end of the agent-runner, so one that is slow to start is warm
//! for the next prompt. It is given one prompt at a time, with a [`Link`] for everything that is said meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use protocol::{Failure, FailureKind, FollowUp, Outcome, Prompt, Sign};
use tokio_util::sync::CancellationToken;

use crate::serve::Reporter;
use crate::settings::Settings;

mod instant;
pub(crate) mod native;

/// Every engine by name, with what makes one.
const ENGINES: [(&str, Make); 2] = [
    ("native", |settings| Box::new(native::Native::new(settings))),
    ("instant", |settings| Box::new(instant::Instant { begun: settings.begun })),
];

/// Makes an engine that works in these places.
type Make = fn(&Arc<Settings>) -> Box<dyn Engine>;

/// The most follow-ups that wait for an engine.
const MAX_FOLLOW_UPS: usize = 256;

/// Something that answers prompts.
pub(crate) trait Engine: Send {
    /// Works on a prompt to its end: resumes the prompt's session or starts a fresh one, says signs on the
    /// way, takes follow-ups when it can.
    ///
    /// Ends soon after [`Link::cancelled`]; an engine that does not is dropped in the middle of its work, so
    /// dropping the future must end what it started.
    fn prompt<'run>(
        &'run mut self,
        prompt: &'run Prompt,
        link: &'run Link,
    ) -> BoxFuture<'run, Ended>;

    /// Ends what the engine keeps running between prompts.
    fn close(&mut self) -> BoxFuture<'_, ()>;
}

/// How an engine's work on a prompt ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The answer, or why there is none.
    pub(crate) outcome: Outcome,
    /// The session to resume next time.
    pub(crate) session: Option<String>,
    /// Highest `through` that the session holds from an earlier attempt at the same run.
    pub(crate) through: Option<u64>,
}

impl Ended {
    /// A failure before any work was done.
    pub(crate) fn failed(prompt: &Prompt, message: String) -> Self {
        Self {
            outcome: Outcome::Failed(Failure { kind: FailureKind::Other, message }),
            session: prompt.session.clone(),
            through: None,
        }
    }
}

/// Makes the engine of that name, if there is one.
pub(crate) fn open(name: &str, settings: &Arc<Settings>) -> Option<Box<dyn Engine>> {
    let (_, make) = ENGINES.iter().find(|(known, _)| *known == name)?;
    Some(make(settings))
}

/// What connects an engine with the gateway during one run.
#[derive(Debug)]
pub(crate) struct Link {
    reporter: Arc<Reporter>,
    follow_ups: Mutex<FollowUps>,
    cancel: CancellationToken,
}

#[derive(Debug)]
struct FollowUps {
    waiting: VecDeque<FollowUp>,
    /// The last `seq` that was given to this run, be it one that waits here.
    given: u64,
    /// The highest `through` that was handed to the engine.
    through: Option<u64>,
}

impl Link {
    /// A link for the run of this prompt that reports to `reporter`.
    pub(crate) fn new(reporter: Arc<Reporter>, prompt: &Prompt) -> Self {
        let follow_ups =
            FollowUps { waiting: VecDeque::new(), given: prompt.through, through: None };
        Self { reporter, follow_ups: Mutex::new(follow_ups), cancel: CancellationToken::new() }
    }

    /// Says a sign of life.
    pub(crate) fn say(&self, sign: Sign) {
        self.reporter.say(sign);
    }

    /// Says that the engine can take follow-ups, and takes those that wait.
    pub(crate) fn ready(&self) -> Vec<FollowUp> {
        let mut follow_ups = self.follow_ups();
        self.say(Sign::Ready { through: follow_ups.given });
        let taken: Vec<_> = follow_ups.waiting.drain(..).collect();
        let highest = taken.iter().map(|follow_up| follow_up.through).max();
        follow_ups.through = follow_ups.through.max(highest);
        taken
    }

    /// Returns once the run shall end.
    pub(crate) async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Asks the engine to end the run.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Keeps a follow-up for the engine, if it goes on where this run stands and there is room; it is left for a later
    /// run otherwise.
    pub(crate) fn follow_up(&self, follow_up: FollowUp) {
        let mut follow_ups = self.follow_ups();
        if follow_up.after == follow_ups.given && follow_ups.waiting.len() < MAX_FOLLOW_UPS {
            follow_ups.given = follow_up.through;
            follow_ups.waiting.push_back(follow_up);
        }
    }

    /// The highest `through` that the engine took.
    pub(crate) fn through(&self) -> Option<u64> {
        self.follow_ups().through
    }

    fn follow_ups(&self) -> std::sync::MutexGuard<'_, FollowUps> {
        // A panic while the lock was held leaves a valid queue behind.
        self.follow_ups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_are_those_that_the_settings_know() {
        assert_eq!(ENGINES.map(|(name, _)| name), protocol::ENGINES);
    }
}
