//! The state of a channel's connection.

use std::fmt;

use jiff::Timestamp;

/// The state of a channel's connection, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelState {
    /// Not connected yet.
    Connecting,
    /// Connected.
    Up {
        /// Since when.
        since: Timestamp,
    },
    /// Connected to some of the places that it serves.
    Partly {
        /// Since when.
        since: Timestamp,
        /// What is wrong with another.
        reason: String,
    },
    /// Lost, and to be tried again.
    BackingOff {
        /// When.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// A person has to link the device.
    NeedsPairing,
    /// The platform does not want us; trying again is useless.
    Refused {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Up { since } => write!(f, "up since {since:.0}"),
            Self::Partly { since, reason } => write!(f, "up since {since:.0}, but {reason}"),
            Self::BackingOff { until, reason } => {
                write!(f, "backing off until {until:.0}: {reason}")
            }
            Self::NeedsPairing => f.write_str("needs pairing"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
        }
    }
}
