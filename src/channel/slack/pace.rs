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
            refused: Duration::from_secs(600),
            renew: Duration::from_secs(90),
            change: Duration::from_secs(1),
        }
    }
}
