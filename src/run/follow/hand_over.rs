//! Follow-ups: what is said in a conversation while its run is under way.
//!
//! The agent says up to where it was given messages, and is given those after that place. Nobody else knows it after a
//! restart, and none of them may fall between two follow-ups: the run's end would consume it unseen.

use protocol::{FollowUp, Input};
use tracing::{debug, warn};

use super::Course;
use crate::model::Seq;
use crate::prompt;
use crate::run::{Running, Runs};
use crate::trigger::{Place, Rule};

/// The most messages that are looked through for one that is addressed to the assistant.
const MAX_FOLLOW_UPS: usize = 50;

impl Runs {
    /// Hands over what was said in the conversation since the agent's place, if any of it is addressed to the assistant.
    ///
    /// The agent is asked for its place because nobody else knows it after a restart; what it says counts between what
    /// the run began with and what was handed over.
    pub(super) async fn hand_over(&self, run: &Running<'_>, course: &mut Course, reached: Seq) {
        let group = &run.claimed.group;
        let after = reached.clamp(run.claimed.begun, course.latest).max(course.left);
        let said = match self.store.messages(&run.claimed.conversation, after, MAX_FOLLOW_UPS).await
        {
            Ok(said) => said,
            Err(error) => {
                debug!(%error, run.id = %run.claimed.run, "follow-ups wait for the next run");
                return;
            }
        };
        // Whatever this run is about has woken the assistant.
        let place = Place::of(&run.claimed.conversation, true);
        let rule = Rule::new(group, &self.settings.assistant_name, place);
        if !said.iter().any(|kept| rule.wakes(kept)) {
            return;
        }
        let extended = match self.store.extend_run(run.claimed.run, after).await {
            Ok(Some(messages)) => messages,
            Ok(None) => return,
            Err(error) => {
                debug!(%error, run.id = %run.claimed.run, "follow-ups wait for the next run");
                return;
            }
        };
        let Some(through) = extended.last().map(|kept| kept.seq) else { return };
        let follow_up = FollowUp {
            run: run.claimed.run.0,
            after: after.0,
            through: through.0,
            text: prompt::follow_up(&extended, group, &self.settings.time_zone),
        };
        if let Err(error) = run.live.ipc.put_input(&Input::FollowUp(follow_up)) {
            warn!(%error, run.id = %run.claimed.run, "follow-ups could not be handed over; they wait for the next run");
            return;
        }
        crate::failpoint::fail_point!("run.handed_over");
        (course.left, course.latest) = (through, through);
    }
}
