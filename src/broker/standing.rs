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

/// How long a provider is not the first choice that did not take our credentials, or did not have a model.
const DENIAL: Duration = Duration::from_secs(600);
/// The most models that a provider is known not to have; a sandbox may name any.
const MOST_DENIED: usize = 16;

/// How one provider stands.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    hold: Option<Hold>,
    /// Failures in a row; those of calls that were under way together count once.
    streak: u32,
    fault: Option<Fault>,
    /// Models that it does not have, or not for us, and until when that is believed.
    denied: Vec<(String, Instant)>,
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
    /// It does not have the configured model, or not for us.
    Denied,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "asks for patience (rate limit or overload)",
            Self::Broken => "cannot be reached or fails inside",
            Self::Unauthorized => "does not take the credentials",
            Self::Denied => "does not have the model, or not for this account",
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

    /// Whether it is known not to have a model.
    pub(super) fn denies(&self, model: &str, now: Instant) -> bool {
        self.lock().denied.iter().any(|(denied, until)| denied == model && *until > now)
    }

    /// Notes that it does not have a model, or not for us; whether that was not known. `is_configured` is whether the
    /// owner named the model: what a sandbox names is no fault of the provider's.
    pub(super) fn deny(&self, model: &str, is_configured: bool, now: Instant) -> bool {
        let mut state = self.lock();
        let known = state.denied.len();
        state.denied.retain(|(denied, _)| denied != model);
        let is_news = state.denied.len() == known;
        if state.denied.len() >= MOST_DENIED {
            state.denied.remove(0);
        }
        state.denied.push((model.to_owned(), now + DENIAL));
        if is_configured {
            state.fault = Some(Fault::Denied);
        }
        is_news
    }

    /// Notes that a call of this model that was made at `asked` went well.
    pub(super) fn succeeded(&self, model: &str, asked: Instant) {
        let mut state = self.lock();
        state.denied.retain(|(denied, _)| denied != model);
        // A call from before the hold says nothing about how things are since.
        if state.hold.is_none_or(|hold| hold.since <= asked) {
            let denied = std::mem::take(&mut state.denied);
            *state = State { denied, ..State::default() };
        }
    }

    /// Notes that a call that was made at `asked` failed `now`; `jitter` is from 0 to 1. Returns whether that is news.
    pub(super) fn failed(
        &self,
        kind: FailureKind,
        asked: Instant,
        now: Instant,
        jitter: f64,
    ) -> bool {
        let (busy, asked_for, fault) = match kind {
            FailureKind::Busy { retry_after } => (true, retry_after, Fault::Busy),
            FailureKind::Broken => (false, None, Fault::Broken),
            FailureKind::Unauthorized => {
                let mut state = self.lock();
                state.hold = Some(Hold { busy: false, since: now, until: now + DENIAL });
                return state.fault.replace(Fault::Unauthorized) != Some(Fault::Unauthorized);
            }
            FailureKind::Denied | FailureKind::Unfit | FailureKind::Rejected => return false,
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
        known.is_none()
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
        standing.succeeded("m", start);
        assert!(standing.hold(start + seconds(1)).is_some());
        standing.succeeded("m", start + seconds(2));
        assert!(standing.hold(start + seconds(1)).is_none());
        assert_eq!(standing.fault(), None);
    }

    #[test]
    fn credentials_that_are_not_taken_are_no_reason_to_wait_but_to_ask_others_first() {
        let (standing, now) = (Standing::default(), Instant::now());
        assert!(standing.failed(FailureKind::Unauthorized, now, now, 1.0));
        assert!(!standing.failed(FailureKind::Unauthorized, now, now, 1.0), "it is said once");
        let hold = standing.hold(now).unwrap();
        assert_eq!((hold.busy, hold.until), (false, now + DENIAL));
        assert!(!standing.failed(FailureKind::Rejected, now, now, 1.0));
        assert_eq!(standing.fault(), Some(Fault::Unauthorized));
        standing.succeeded("m", now + seconds(1));
        assert_eq!((standing.hold(now), standing.fault()), (None, None));
    }

    #[test]
    fn a_model_that_is_not_there_concerns_no_other() {
        let (standing, now) = (Standing::default(), Instant::now());
        assert!(standing.deny("nonsense", false, now));
        assert_eq!(standing.fault(), None, "what a sandbox asks for is no fault");
        assert!(standing.deny("m", true, now) && !standing.deny("m", true, now));
        assert_eq!((standing.hold(now), standing.fault()), (None, Some(Fault::Denied)));
        assert!(standing.denies("m", now) && !standing.denies("other", now));
        assert!(!standing.denies("m", now + DENIAL));
        standing.succeeded("m", now);
        assert!(!standing.denies("m", now) && standing.denies("nonsense", now));
        for n in 0..100 {
            standing.deny(&n.to_string(), false, now);
        }
        assert_eq!(standing.lock().denied.len(), MOST_DENIED);
    }
}
