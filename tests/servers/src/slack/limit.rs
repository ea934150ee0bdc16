//! The rates that Slack documents for each method.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How often a method may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    /// So many calls a minute.
    PerMinute(usize),
    /// About one a second for each conversation, with a short burst.
    PerChannel,
    /// Without a limit worth naming.
    Free,
}

/// A burst that Slack tolerates when messages are posted; it says only that it is short.
const BURST: usize = 4;
/// The time in which so many may be posted.
const BURST_TIME: Duration = Duration::from_secs(4);

/// When each method was called of late.
#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<String, VecDeque<Instant>>);

impl Windows {
    /// Counts a call, or says how many seconds it has to wait.
    pub(super) fn count(&mut self, method: &str, channel: &str, rate: Rate) -> Option<u64> {
        let (key, most, window) = match rate {
            Rate::Free => return None,
            Rate::PerMinute(most) => (method.to_owned(), most, Duration::from_secs(60)),
            Rate::PerChannel => (format!("{method} {channel}"), BURST, BURST_TIME),
        };
        let calls = self.0.entry(key).or_default();
        while calls.front().is_some_and(|at| at.elapsed() > window) {
            calls.pop_front();
        }
        if calls.len() < most {
            calls.push_back(Instant::now());
            return None;
        }
        let oldest = calls.front()?;
        Some(window.saturating_sub(oldest.elapsed()).as_secs() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_its_rate_and_a_channel_its_own() {
        let mut windows = Windows::default();
        assert!((0..20).all(|_| windows.count("a", "C1", Rate::PerMinute(20)).is_none()));
        assert_eq!(windows.count("a", "C2", Rate::PerMinute(20)), Some(60));
        assert!((0..BURST).all(|_| windows.count("b", "C1", Rate::PerChannel).is_none()));
        assert_eq!(windows.count("b", "C1", Rate::PerChannel), Some(4));
        assert_eq!(windows.count("b", "C2", Rate::PerChannel), None);
        assert!((0..1000).all(|_| windows.count("c", "", Rate::Free).is_none()));
    }
}
