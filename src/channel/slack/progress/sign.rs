//! One sign of work: what is wanted, and what is shown.

use std::time::{Duration, Instant};

use crate::model::Activity;
use crate::text::one_line;

/// The longest status, in characters.
const MOST_STATUS: usize = 100;

/// One sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sign {
    /// What is to be shown; `None`: nothing any more.
    pub(super) wanted: Option<String>,
    /// What is shown, since when.
    pub(super) shown: Option<(String, Instant)>,
    /// What it stands under.
    pub(super) under: String,
    /// What the reaction is to.
    pub(super) message: String,
    /// Whether the reaction is there.
    pub(super) reacted: bool,
    /// The work goes on.
    pub(super) at_work: bool,
    /// There is a Stop button.
    pub(super) button: bool,
}

impl Sign {
    /// Whether something else is shown than wanted, or it is to be shown anew.
    pub(super) fn is_due(&self, now: Instant, renew: Duration) -> bool {
        match (&self.wanted, &self.shown) {
            (None, shown) => shown.is_some() || self.reacted,
            (Some(_), None) => true,
            (Some(wanted), Some((shown, since))) => {
                wanted != shown || now.duration_since(*since) >= renew
            }
        }
    }
}

/// What is shown of an activity, after the app's name; `None`: nothing.
pub(super) fn in_words(activity: &Activity) -> Option<String> {
    let words = match activity {
        Activity::Idle => return None,
        Activity::Working => "is thinking…".to_owned(),
        Activity::Text { .. } => "is writing…".to_owned(),
        Activity::Queued { ahead: 0 } => "is about to begin…".to_owned(),
        Activity::Queued { ahead } => format!("will begin soon: {ahead} ahead…"),
        Activity::Tool { name, .. } => format!("is using {name}…"),
        Activity::Waiting { reason } => format!("is waiting: {reason}"),
    };
    Some(one_line(&words, MOST_STATUS))
}
