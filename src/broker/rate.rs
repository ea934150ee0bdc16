//! How many requests may be made in a minute: model calls by a group, and requests of any kind by a sandbox.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{GroupName, SandboxId};

/// Calls per minute and group: far more than a working agent makes, far fewer than a loop gone wild.
pub(super) const CALLS_PER_MINUTE: u32 = 120;
/// Requests and connections per minute and sandbox, of whatever kind.
pub(super) const REQUESTS_PER_MINUTE: u32 = 600;
/// For how many requests one counts that is refused: whoever works has no need of them.
pub(super) const REFUSAL: u32 = 10;

/// How far ahead of an even pace one may run.
const BURST: Duration = Duration::from_secs(60);

/// The paces of all who make requests, each by the time at which an even one would have caught up.
#[derive(Debug)]
pub(super) struct Rates<K> {
    /// Time that one request takes up of the minute.
    interval: Duration,
    caught_up: Mutex<HashMap<K, Instant>>,
}

impl Rates<GroupName> {
    /// The model calls of groups.
    pub(super) fn of_calls() -> Self {
        Self::per_minute(CALLS_PER_MINUTE)
    }
}

impl Rates<SandboxId> {
    /// The requests of sandboxes.
    pub(super) fn of_requests() -> Self {
        Self::per_minute(REQUESTS_PER_MINUTE)
    }
}

impl<K: Clone + Eq + Hash> Rates<K> {
    fn per_minute(requests: u32) -> Self {
        Self { interval: BURST / requests, caught_up: Mutex::default() }
    }

    /// Counts a request; when it is one too many, says how long to wait and does not count it.
    pub(super) fn admit(&self, who: &K, now: Instant) -> Result<(), Duration> {
        let mut paces = self.paces(now);
        let next = paces.get(who).copied().unwrap_or(now) + self.interval;
        match next.duration_since(now).checked_sub(BURST) {
            None | Some(Duration::ZERO) => {
                paces.insert(who.clone(), next);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// Counts so many requests in any case, and says how long the one that makes them has to wait.
    ///
    /// Debts grow no further than there are requests under way at a time, since each waits before the next.
    pub(super) fn charge(&self, who: &K, requests: u32, now: Instant) -> Duration {
        let mut paces = self.paces(now);
        let next = paces.get(who).copied().unwrap_or(now) + self.interval * requests;
        paces.insert(who.clone(), next);
        next.duration_since(now).saturating_sub(BURST)
    }

    /// The paces; those who made no requests of late need not be remembered.
    fn paces(&self, now: Instant) -> MutexGuard<'_, HashMap<K, Instant>> {
        let mut paces = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, caught_up| *caught_up > now);
        paces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_make_so_many_calls_and_others_are_not_concerned() {
        let (rates, start) = (Rates::of_calls(), Instant::now());
        let interval = rates.interval;
        let (noisy, quiet) = (GroupName::main(), "quiet".parse().unwrap());
        for n in 0..CALLS_PER_MINUTE {
            assert_eq!(rates.admit(&noisy, start), Ok(()), "call {n}");
        }
        assert_eq!(rates.admit(&noisy, start), Err(interval));
        assert_eq!(rates.admit(&quiet, start), Ok(()));
        assert_eq!(rates.admit(&noisy, start + interval), Ok(()));
        assert!(rates.admit(&noisy, start + interval).is_err());
        assert_eq!(rates.admit(&quiet, start + 2 * BURST), Ok(()));
        assert_eq!(rates.caught_up.lock().unwrap().len(), 1, "the other group is forgotten");
    }

    #[test]
    fn who_is_charged_beyond_the_pace_waits_for_it() {
        let (rates, start) = (Rates::of_requests(), Instant::now());
        let (interval, who) = (rates.interval, "s1".parse().unwrap());
        assert_eq!(rates.charge(&who, REQUESTS_PER_MINUTE, start), Duration::ZERO);
        assert_eq!(rates.charge(&who, 1, start), interval);
        assert_eq!(rates.charge(&who, REFUSAL, start), interval * 11);
        assert_eq!(rates.charge(&who, 1, start + 12 * interval), Duration::ZERO);
        assert_eq!(rates.charge(&"s2".parse().unwrap(), 1, start), Duration::ZERO);
    }
}
