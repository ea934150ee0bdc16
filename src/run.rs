//! One run: gather, prompt, sandbox, commit, outbox.
//!
//! A run is a row of the ledger before it is an act. Outcome, session, cursor and answer are committed in one
//! transaction; until then nothing is consumed, and whatever dies, the messages are still there. A run is tried again
//! only when its sandbox is known to be gone.

mod active;
mod commit;
mod disk;
mod follow;
mod guard;
mod live;
mod opener;
mod outcome;
mod reaper;
mod recover;
mod requests;
mod reserve;
mod shelf;
mod snapshot;
mod supply;
mod venue;

use std::sync::Arc;
use std::time::Duration;

use protocol::{Input, Prompt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use active::Active;
pub(crate) use disk::Given;
pub(crate) use live::Live;
pub(crate) use opener::{NotOpened, Opener};
pub(crate) use outcome::{Audience, End, Verdict};
pub(crate) use reaper::Reaper;
pub(crate) use recover::Unfinished;
pub(crate) use requests::{Asker, Requests};
pub(crate) use reserve::Reserve;
pub(crate) use shelf::{Place, Shelf};
pub(crate) use supply::{Finder, Found, Supply};

use self::venue::Venue;
use crate::channel::Channels;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::failpoint::fail_point;
use crate::model::Activity;
use crate::prompt;
use crate::queue::Waiting;
use crate::session;
use crate::store::{self, ClaimRun, Claimed, Store};

/// The most messages that one prompt holds; older ones are counted and left out.
const MAX_MESSAGES: usize = 200;
/// Bounds of a run that no setting changes; tests tighten them.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The wait before the second attempt; doubled for each one after.
    pub retry: Duration,
    /// How long an agent-runner may give no sign of life.
    pub silence: Duration,
    /// How long an agent-runner may take to end a run that a person has stopped.
    pub cancel: Duration,
    /// How many bytes all that a sandbox may write to may grow by in a run.
    pub growth: u64,
    /// How often that is measured.
    pub measure: Duration,
    /// The pause before a sandbox that could not be stopped is stopped again; doubled up to a minute.
    pub stop: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(5),
            silence: Duration::from_secs(60),
            cancel: Duration::from_secs(5),
            growth: 2 * 1024 * 1024 * 1024,
            measure: Duration::from_secs(2),
            stop: Duration::from_secs(1),
        }
    }
}

/// Everything that a run needs.
pub(crate) struct Runs {
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) channels: Channels,
    pub(crate) supply: Arc<Supply>,
    pub(crate) opener: Opener,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) requests: Arc<dyn Requests>,
    pub(crate) outbox: Arc<Notify>,
    pub(crate) bounds: Bounds,
    /// Cancelled when the grace period of a stopping gateway is over.
    pub(crate) halt: CancellationToken,
    pub(crate) active: Active,
}

/// A run that has been claimed, and the wish to stop it.
#[derive(Clone, Copy)]
struct Order<'a> {
    claimed: &'a Claimed,
    cancel: &'a CancellationToken,
}

/// What a run left in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    /// Nothing that waited for it.
    Ended,
    /// What waited still waits, for another attempt or for another gateway.
    PutBack,
}

/// A run that has been claimed, with the sandbox it happens in.
struct Running<'a> {
    claimed: &'a Claimed,
    live: Live,
    cancel: CancellationToken,
    deadline: tokio::time::Instant,
    /// Whether its sandbox is known to have begun with it: one that a dying gateway half started never does.
    begun: bool,
}

impl Runs {
    /// Runs the agent for a conversation, if anything in it waits.
    pub(crate) async fn execute(&self, waiting: &Waiting, cancel: &CancellationToken) -> Ran {
        let conversation = &waiting.conversation;
        let candidate = self.candidate(&waiting.group);
        let claim = ClaimRun {
            conversation: conversation.clone(),
            max_messages: MAX_MESSAGES,
            seen: waiting.seen,
            sandbox: Some(candidate.id().clone()),
            kind: candidate.kind().or_else(|| self.supply.state().kind()),
        };
        // Until it is claimed the conversation is held here, so that a wish to stop it meanwhile finds the run.
        let refused = "a run cannot be claimed now, and its messages wait";
        let claiming =
            store::patiently(refused, &self.halt, || self.store.claim_run(claim.clone()));
        let (claimed, venue) = tokio::join!(claiming, self.venue(candidate, &waiting.group));
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                debug!(%error, "the gateway ends before the run is claimed; its messages wait");
                None
            }
        };
        fail_point!("run.claimed");
        let Some(claimed) = claimed else {
            if let Venue::Warm(live) = venue {
                self.shelf.put(*live);
            }
            return Ran::PutBack;
        };
        let order = Order { claimed: &claimed, cancel };
        let noted = self.active.begin(&claimed);
        let work = async {
            self.channels.show(conversation, &Activity::Working).await;
            self.attempt(order, venue).await
        };
        let ran = self.guard(order, work).await;
        drop(noted);
        self.opener.reserve.fill(&self.opener.tasks);
        ran
    }

    async fn attempt(&self, order: Order<'_>, venue: Venue) -> Ran {
        let claimed = order.claimed;
        let live = match self.sandbox(order, venue).await {
            Ok(live) => live,
            Err(Some(verdict)) => return self.commit(order, verdict, None).await,
            // What had begun of a sandbox may still live; the next start takes the run up.
            Err(None) => return Ran::Ended,
        };
        fail_point!("run.opened");
        let deadline = self.deadline(claimed);
        let run = Running { claimed, live, cancel: order.cancel.clone(), deadline, begun: true };
        if let Err(error) = run.live.ipc.put_input(&Input::Prompt(Box::new(self.prompt(claimed)))) {
            let end = End::NotPrompted(error.to_string());
            let verdict = judge(&end, claimed);
            return self.close_and_commit(run.live, order, verdict, None).await;
        }
        fail_point!("run.prompted");
        if let Err(error) = self.store.run_started(claimed.run, &run.live.id).await {
            // The ledger then says `claimed`, and whoever adopts the run leaves the prompt again.
            debug!(%error, run.id = %claimed.run, "the start of the run was not noted");
        }
        self.leave_snapshot(&run).await;
        self.see_through(run).await
    }

    /// Follows a run to its end and commits what came of it.
    async fn see_through(&self, mut run: Running<'_>) -> Ran {
        let mut followed = self.follow(&mut run).await;
        fail_point!("run.ended");
        let Running { claimed, live, cancel, .. } = run;
        let order = Order { claimed, cancel: &cancel };
        let verdict = judge(&followed.end, claimed);
        let file = followed.file.take();
        let ended = !matches!(followed.end, End::Done(_)) || live.exit.borrow().is_some();
        // Another attempt goes on in the same sandbox, or when it is gone: never beside it.
        if ended || (!live.is_ours() && matches!(verdict, Verdict::Retry { .. })) {
            return self.close_and_commit(live, order, verdict, Some(&followed)).await;
        }
        let ran = self.commit(order, verdict, Some(&followed)).await;
        if let Some(file) = file
            && let Err(error) = live.ipc.forget(file)
        {
            debug!(%error, run.id = %claimed.run, "a claimed outcome is left behind");
        }
        if live.is_ours() {
            self.shelf.put(live);
        } else {
            drop(live.close());
        }
        ran
    }

    fn prompt(&self, claimed: &Claimed) -> Prompt {
        let text = prompt::render(&prompt::PromptInput {
            messages: &claimed.messages,
            omitted: claimed.omitted,
            group: &claimed.group,
            time_zone: &self.settings.time_zone,
            now: self.clock.now(),
        });
        let system = prompt::system(&prompt::SystemInput {
            assistant: &self.settings.assistant_name,
            group: &claimed.group.name,
            conversation: &claimed.conversation,
        });
        Prompt {
            version: protocol::VERSION,
            run: claimed.run.0,
            conversation: session::key(&claimed.conversation),
            session: claimed.session.as_ref().map(ToString::to_string),
            from: claimed.from.0,
            through: claimed.begun.0,
            text,
            system,
            main: claimed.group.name.is_main(),
            engine: self.settings.engine.clone(),
            model: self.settings.model.model.clone(),
            max_output_bytes: self.settings.runs.max_output_bytes,
        }
    }

    fn deadline(&self, claimed: &Claimed) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.limit(claimed)
    }

    fn limit(&self, claimed: &Claimed) -> Duration {
        claimed.group.settings.timeout.map_or(self.settings.runs.deadline, Duration::from_millis)
    }
}

/// What becomes of a claimed run that has come to this end.
fn judge(end: &End, claimed: &Claimed) -> Verdict {
    let audience = Audience::of(&claimed.conversation, &claimed.group.name);
    outcome::judge(end, claimed.attempt, audience)
}
