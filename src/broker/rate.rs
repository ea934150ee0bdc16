//! How many model calls a group may make in a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::GroupName;

/// Calls per minute and group: far more than a working agent makes, far fewer than a loop gone wild.
pub(super) const CALLS_PER_MINUTE: u32 = 120;

/// Time that one call takes up of the minute.
const INTERVAL: Duration = Duration::from_millis(60_000 / CALLS_PER_MINUTE as u64);
/// How far ahead of an even pace a group may run.
const BURST: Duration = Duration::from_secs(60);

/// The calls of all groups, each by the time at which an even pace would have caught up with it.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<GroupName, Instant>>);

impl Rates {
    /// Counts a call; when it is one too many, says how long to wait and does not count it.
    pub(super) fn admit(&self, group: &GroupName, now: Instant) -> Result<(), Duration> {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Groups that made no calls of late need not be remembered.
        rates.retain(|_, caught_up| *caught_up > now);
        let next = rates.get(group).copied().unwrap_or(now) + INTERVAL;
        match next.duration_since(now).checked_sub(BURST) {
            None | Some(Duration::ZERO) => {
                rates.insert(group.clone(), next);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_make_so_many_calls_and_others_are_not_concerned() {
        let (rates, start) = (Rates::default(), Instant::now());
        let (noisy, quiet) = (GroupName::main(), "quiet".parse().unwrap());
        for n in 0..CALLS_PER_MINUTE {
            assert_eq!(rates.admit(&noisy, start), Ok(()), "call {n}");
        }
        assert_eq!(rates.admit(&noisy, start), Err(INTERVAL));
        assert_eq!(rates.admit(&quiet, start), Ok(()));
        assert_eq!(rates.admit(&noisy, start + INTERVAL), Ok(()));
        assert!(rates.admit(&noisy, start + INTERVAL).is_err());
        assert_eq!(rates.admit(&quiet, start + 2 * BURST), Ok(()));
        assert_eq!(rates.0.lock().unwrap().len(), 1, "the other group is forgotten");
    }
}
