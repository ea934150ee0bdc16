//! How a provider stands: whether it asked for patience, and how its last call went; shared by all runs.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::provider::FailureKind;

/// The first wait when a provider does not say how long; it doubles with every further failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that we choose ourselves.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that a provider may ask for; what is beyond is a mistake.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// How one provider stands.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    hold: Option<Hold>,
    /// Failures in a row; those of calls that were under way together count once.
    streak: u32,
    fault: Option<Fault>,
}

/// A time in which a provider is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    /// Whether it asked for patience, so that waiting makes sense; otherwise it is only not the first choice.
    pub busy: bool,
    /// When it began.
    since: Instant,
    /// When it ends.
    pub until: Instant,
}

/// What went wrong with a provider's last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It asked for patience: rate limit or overload.
    Busy,
    /// It could not be reached, or failed inside.
    Broken,
    /// It did not take our credentials.
    Unauthorized,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "asks for patience (rate limit or overload)",
            Self::Broken => "cannot be reached or fails inside",
            Self::Unauthorized => "does not take the credentials",
        })
    }
}

impl Standing {
    /// The hold that is in force now.
    pub(super) fn hold(&self, now: Instant) -> Option<Hold> {
        self.lock().hold.filter(|hold| hold.until > now)
    }

    /// What went wrong with the last call, if anything.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }

    /// Notes that a call that was made at `asked` went well.
    pub(super) fn succeeded(&self, asked: Instant) {
        let mut state = self.lock();
        // A call from before the hold says nothing about how things are since.
        if state.hold.is_none_or(|hold| hold.since <= asked) {
            *state = State::default();
        }
    }

    /// Notes that a call that was made at `asked` failed `now`; `jitter` is from 0 to 1.
    pub(super) fn failed(&self, kind: FailureKind, asked: Instant, now: Instant, jitter: f64) {
        let (busy, asked_for, fault) = match kind {
            FailureKind::Busy { retry_after } => (true, retry_after, Fault::Busy),
            FailureKind::Broken => (false, None, Fault::Broken),
            FailureKind::Unauthorized => {
                self.lock().fault = Some(Fault::Unauthorized);
                return;
            }
            FailureKind::Unfit | FailureKind::Rejected => return,
        };
        let mut state = self.lock();
        state.fault = Some(fault);
        let known = state.hold.filter(|hold| hold.since > asked);
        if known.is_none() {
            state.streak = state.streak.saturating_add(1);
        }
        let wait = asked_for
            .filter(|wait| !wait.is_zero())
            .map_or_else(|| back_off(state.streak, jitter), |wait| wait.min(LONGEST_RETRY_AFTER));
        state.hold = Some(match known {
            // Of calls that were under way together, only what the provider itself says changes anything.
            Some(hold) => {
                let longer = asked_for.map(|_| now + wait);
                let until = longer.map_or(hold.until, |until| hold.until.max(until));
                Hold { busy: hold.busy || busy, until, ..hold }
            }
            None => Hold { busy, since: now, until: now + wait },
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait after so many failures in a row: 1, 2, 4 … 60 s, of which the second half is left to chance so that
/// waiting calls do not return together.
fn back_off(streak: u32, jitter: f64) -> Duration {
    let doublings = streak.saturating_sub(1).min(6);
    let whole = (FIRST_WAIT * 2u32.pow(doublings)).min(LONGEST_WAIT);
    whole.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: FailureKind = FailureKind::Busy { retry_after: None };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let waits: Vec<u64> = (1..=9).map(|streak| back_off(streak, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(back_off(4, 0.0), seconds(4));
        assert_eq!(back_off(u32::MAX, 7.0), seconds(60));
    }

    #[test]
    fn a_retry_after_is_kept_to_the_second() {
        let (standing, now) = (Standing::default(), Instant::now());
        let kind = FailureKind::Busy { retry_after: Some(seconds(7)) };
        standing.failed(kind, now, now, 0.3);
        let hold = standing.hold(now).unwrap();
        assert!(hold.busy);
        assert_eq!(hold.until, now + seconds(7));
        assert_eq!(standing.hold(now + seconds(7)), None);
        assert_eq!(standing.fault(), Some(Fault::Busy));
    }

    #[test]
    fn nonsense_is_not_waited_for() {
        for (asked_for, expected) in [(0, 1), (1_000_000_000, 3_600)] {
            let (standing, now) = (Standing::default(), Instant::now());
            let kind = FailureKind::Busy { retry_after: Some(seconds(asked_for)) };
            standing.failed(kind, now, now, 1.0);
            assert_eq!(standing.hold(now).unwrap().until, now + seconds(expected));
        }
    }

    #[test]
    fn calls_that_failed_together_count_once() {
        let (standing, start) = (Standing::default(), Instant::now());
        for n in 1..=5 {
            standing.failed(BUSY, start, start + Duration::from_millis(n), 1.0);
        }
        let until = standing.hold(start + seconds(1)).unwrap().until;
        assert_eq!(until, start + Duration::from_millis(1001));
        let later = start + seconds(2);
        standing.failed(BUSY, later, later, 1.0);
        assert_eq!(standing.hold(later).unwrap().until, later + seconds(2));
    }

    #[test]
    fn a_provider_that_asks_for_patience_among_others_that_broke_is_waited_for() {
        let (standing, start) = (Standing::default(), Instant::now());
        let later = start + Duration::from_millis(1);
        standing.failed(FailureKind::Broken, start, later, 1.0);
        assert!(!standing.hold(later).unwrap().busy);
        let kind = FailureKind::Busy { retry_after: Some(seconds(9)) };
        standing.failed(kind, start, later, 1.0);
        let hold = standing.hold(later).unwrap();
        assert!(hold.busy);
        assert_eq!(hold.until, later + seconds(9));
    }

    #[test]
    fn only_news_from_after_the_hold_ends_it() {
        let (standing, start) = (Standing::default(), Instant::now());
        standing.failed(BUSY, start, start + seconds(1), 1.0);
        standing.succeeded(start);
        assert!(standing.hold(start + seconds(1)).is_some());
        standing.succeeded(start + seconds(2));
        assert!(standing.hold(start + seconds(1)).is_none());
        assert_eq!(standing.fault(), None);
    }

    #[test]
    fn credentials_that_are_not_taken_are_no_reason_to_wait() {
        let (standing, now) = (Standing::default(), Instant::now());
        standing.failed(FailureKind::Unauthorized, now, now, 1.0);
        assert_eq!((standing.hold(now), standing.fault()), (None, Some(Fault::Unauthorized)));
        standing.failed(FailureKind::Rejected, now, now, 1.0);
        assert_eq!((standing.hold(now), standing.fault()), (None, Some(Fault::Unauthorized)));
    }
}
