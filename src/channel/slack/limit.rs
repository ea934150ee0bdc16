//! Where Slack has said that it wants fewer calls: nothing is asked there before the time that it named.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The methods that Slack counts for each channel by itself.
const PER_CHANNEL: [&str; 1] = ["chat.postMessage"];
/// How many closed doors are remembered; Slack names hardly more than one a second.
const MOST: usize = 4_096;

/// The longest that a door stays closed; then Slack is asked again.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The doors that are closed now.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    closed: Mutex<HashMap<(&'static str, String), Instant>>,
}

impl Limiter {
    /// How long a method is still closed, for a channel where Slack counts by channel.
    pub(super) fn closed_for(&self, method: &'static str, channel: &str) -> Option<Duration> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let until = closed.get(&key(method, channel))?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Closes it for a time.
    pub(super) fn close(&self, method: &'static str, channel: &str, time: Duration) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if closed.len() >= MOST {
            closed.retain(|_door, until| *until > now);
        }
        if closed.len() < MOST {
            closed.insert(key(method, channel), now + time.min(LONGEST));
        }
    }
}

fn key(method: &'static str, channel: &str) -> (&'static str, String) {
    let channel = if PER_CHANNEL.contains(&method) { channel } else { "" };
    (method, channel.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_closed_where_slack_closed_it() {
        let limiter = Limiter::default();
        let minute = Duration::from_secs(60);
        limiter.close("chat.postMessage", "C1", minute);
        limiter.close("conversations.history", "C1", minute);
        limiter.close("reactions.add", "C1", Duration::ZERO);
        for (method, channel, closed) in [
            ("chat.postMessage", "C1", true),
            ("chat.postMessage", "C2", false),
            ("conversations.history", "C2", true),
            ("conversations.replies", "C1", false),
            ("reactions.add", "C1", false),
        ] {
            assert_eq!(limiter.closed_for(method, channel).is_some(), closed, "{method} {channel}");
        }
    }
}
