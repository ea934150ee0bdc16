//! What became of a run, written down once.
//!
//! The invariant: nothing is put back before the run's sandbox is known to be gone, and nothing that somebody wished to
//! stop is put back at all.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::follow::Followed;
use super::outcome::{self, Verdict};
use super::reaper::{Ended, Gone};
use super::{Live, Order, Ran, Runs};
use crate::failpoint::fail_point;
use crate::model::{Activity, Conversation};
use crate::store::{self, FinishRun, RunState, StoreError};

/// How often people are told that a sandbox cannot be ended.
const TELL_EVERY: Duration = Duration::from_secs(3);

impl Runs {
    /// Ends a sandbox, then commits what became of its run.
    ///
    /// Only a sandbox that is gone makes it safe to try again: it must not answer beside its successor. Where nobody
    /// can tell before the gateway halts, the run stays unfinished, and the next start takes it up.
    pub(super) async fn close_and_commit(
        &self,
        live: Live,
        order: Order<'_>,
        verdict: Verdict,
        followed: Option<&Followed>,
    ) -> Ran {
        match self.gone(&order.claimed.conversation, live.close()).await {
            Some(gone) => {
                drop(gone);
                self.commit(order, verdict, followed).await
            }
            None => {
                error!(run.id = %order.claimed.run, "the run's sandbox may still live; the next start takes it up");
                Ran::Ended
            }
        }
    }

    /// Waits until a sandbox is gone, and tells people when that takes long; `None` when the gateway halts first.
    pub(super) async fn gone(&self, conversation: &Conversation, mut ended: Ended) -> Option<Gone> {
        loop {
            tokio::select! {
                gone = &mut ended => return gone.ok(),
                () = sleep(TELL_EVERY) => {
                    let reason = "the sandbox may still live and cannot be stopped now".to_owned();
                    self.channels.show(conversation, &Activity::Waiting { reason }).await;
                }
            }
        }
    }

    /// Writes down what became of a run; a store that does not take it is asked again, for nothing else may happen
    /// before.
    pub(super) async fn commit(
        &self,
        order: Order<'_>,
        verdict: Verdict,
        followed: Option<&Followed>,
    ) -> Ran {
        let run = order.claimed.run;
        let verdict = heed(verdict, order);
        let refused = "what became of a run cannot be written down now";
        let attempt = || self.try_commit(order, &verdict, followed);
        if let Err(error) = store::patiently(refused, &self.halt, attempt).await {
            warn!(%error, run.id = %run, "what became of the run was not written down");
            return Ran::Ended;
        }
        if verdict == Verdict::Release {
            return Ran::PutBack;
        }
        fail_point!("run.committed");
        self.outbox.notify_waiters();
        if matches!(verdict, Verdict::Retry { .. }) { Ran::PutBack } else { Ran::Ended }
    }

    /// Gives up what waits in a conversation that is held, by somebody's wish; whether anything waited.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn give_up_waiting(
        &self,
        conversation: &Conversation,
    ) -> Result<bool, StoreError> {
        let waited = self.store.cancel_waiting(conversation, STOPPED).await?;
        if waited {
            self.outbox.notify_waiters();
        }
        Ok(waited)
    }

    async fn try_commit(
        &self,
        order: Order<'_>,
        verdict: &Verdict,
        followed: Option<&Followed>,
    ) -> Result<(), StoreError> {
        let claimed = order.claimed;
        let run = claimed.run;
        let through = followed.map_or(claimed.through, |followed| followed.through);
        match verdict {
            Verdict::Finish { cancelled, answer, session } => {
                let state = if *cancelled { RunState::Cancelled } else { RunState::Done };
                let end = FinishRun {
                    run,
                    state,
                    session: session.clone(),
                    through,
                    answer: Some(answer.clone()),
                };
                self.store.finish_run(end).await?;
                info!(run.id = %run, group.name = %claimed.group.name, "run finished");
            }
            Verdict::Retry { error, why } => {
                let wait = outcome::back_off(self.bounds.retry, claimed.attempt);
                let at = self.clock.now().checked_add(wait).unwrap_or(jiff::Timestamp::MAX);
                self.store.fail_run(run, error, at).await?;
                warn!(run.id = %run, attempt = claimed.attempt, "run failed; it is tried again");
                let reason = format!("{why}; trying again in {} s", wait.as_secs());
                self.channels.show(&claimed.conversation, &Activity::Waiting { reason }).await;
            }
            Verdict::GiveUp { error, sentence } => {
                self.store.give_up_run(run, error, sentence, through).await?;
                warn!(run.id = %run, attempt = claimed.attempt, "run given up; the chat is told");
            }
            Verdict::Release => {
                self.store.release_run(run).await?;
                info!(run.id = %run, "run put back");
            }
        }
        Ok(())
    }
}

/// What is said of messages that somebody wished to stop.
const STOPPED: &str = "Stopped.";

/// The end of a run by somebody's wish; its session stays what it is.
pub(super) fn stopped() -> Verdict {
    Verdict::Finish { cancelled: true, answer: STOPPED.to_owned(), session: None }
}

/// What would be put back although somebody has wished to stop it ends instead, however late the wish came.
fn heed(verdict: Verdict, order: Order<'_>) -> Verdict {
    match verdict {
        Verdict::Retry { .. } | Verdict::Release if order.cancel.is_cancelled() => stopped(),
        verdict => verdict,
    }
}
