//! How long everything takes at most, and how often it is done.

use std::time::Duration;

/// The waits of the Slack channel; tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The longest that one call, and one step of connecting, may take.
    pub step: Duration,
    /// How often a socket is pinged.
    pub ping: Duration,
    /// How long a socket may be silent, pongs included, before it counts as lost.
    pub silence: Duration,
    /// How long a socket that is to be replaced is still read.
    pub drain: Duration,
    /// How long a socket has to live for its loss to count as the first.
    pub settled: Duration,
    /// The wait after the first failure to connect; it doubles with each.
    pub back_off: Duration,
    /// The longest such wait.
    pub back_off_cap: Duration,
    /// How long after a refusal it is tried again: a person has to do something first.
    pub refused: Duration,
    /// How long a status stands before it is shown anew; Slack takes it away after two minutes.
    pub renew: Duration,
    /// The shortest time between two changes of a status.
    pub change: Duration,
    /// The time in which a channel takes four posts.
    pub post: Duration,
    /// Slack's minute, in which it counts calls, and a little more for those that arrive late.
    pub minute: Duration,
    /// Whether calls are counted beforehand on a server of one's own, too: it documents nothing, and says itself when there
    /// are too many.
    pub counts_everywhere: bool,
    /// The shortest time between two pieces of one answer as it grows.
    pub grow: Duration,
    /// How long a message is streamed into; Slack ends that after five minutes.
    pub stream: Duration,
    /// How long after the end of a run its answer may take to come for what was streamed of it to stay.
    pub forsaken: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(15),
            ping: Duration::from_secs(15),
            silence: Duration::from_secs(45),
            drain: Duration::from_secs(30),
            settled: Duration::from_secs(10),
            back_off: Duration::from_millis(500),
            back_off_cap: Duration::from_secs(60),
            refused: Duration::from_secs(60),
            renew: Duration::from_secs(90),
            change: Duration::from_secs(1),
            post: Duration::from_millis(4_200),
            minute: Duration::from_secs(61),
            counts_everywhere: false,
            grow: Duration::from_millis(1_500),
            stream: Duration::from_secs(270),
            forsaken: Duration::from_secs(60),
        }
    }
}

impl Pace {
    /// How long to wait after so many failures in a row: doubled with each up to the cap, and up to a quarter more,
    /// so that many gateways spread out.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let base = self.back_off.saturating_mul(doubled).min(self.back_off_cap);
        base + base.mul_f64(fastrand::f64() / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_under_the_cap() {
        let pace = Pace::default();
        for (failures, ms) in [(1, 500), (2, 1_000), (7, 32_000), (8, 60_000), (500, 60_000)] {
            let (wait, base) = (pace.wait(failures), Duration::from_millis(ms));
            assert!((base..=base.mul_f64(1.25)).contains(&wait), "{failures}: {wait:?}");
        }
    }
}
