//! The refused requests of one sandbox: counted, and told in one line a minute, however many there are.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often they are told.
const EVERY: Duration = Duration::from_secs(60);

/// The refused requests behind one door.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    untold: u64,
    told_at: Option<Instant>,
}

impl Refusals {
    /// Counts one; if it is time to tell, how many there were since the last time.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold = state.untold.saturating_add(1);
        if state.told_at.is_some_and(|told_at| now.duration_since(told_at) < EVERY) {
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.untold))
    }

    /// What is left to tell at the end.
    pub(super) fn untold(&mut self) -> u64 {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_a_minute() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.count(start), Some(1));
        for n in 1..1_000 {
            assert_eq!(refusals.count(start + Duration::from_millis(n)), None);
        }
        assert_eq!(refusals.count(start + EVERY), Some(1_000));
        assert_eq!(refusals.count(start + EVERY), None);
        assert_eq!(refusals.untold(), 1);
    }
}
