//! Slack's ids: each a type of its own that cannot be built wrong.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

/// A text that is not an id of Slack's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of Slack's")]
pub(crate) struct InvalidSlackId;

/// Defines an id of letters and digits.
macro_rules! slack_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(Box<str>);

        impl $name {
            /// The id as text: letters and digits, so it may stand in a token of Slack's markup.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidSlackId;

            fn from_str(text: &str) -> Result<Self, InvalidSlackId> {
                let is_id = (1..=64).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
                if is_id { Ok(Self(text.into())) } else { Err(InvalidSlackId) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

slack_id! {
    /// A workspace, `T…`, or an organisation of several, `E…`.
    TeamId
}

slack_id! {
    /// A user, `U…` or `W…`; bots are users too.
    UserId
}

slack_id! {
    /// A bot, `B…`, as its messages name it beside its user.
    BotId
}

slack_id! {
    /// A conversation: channel, private channel, direct messages (`C…`, `G…`, `D…`).
    ConversationId
}

/// The name of a message within its conversation: when it was posted, in microseconds. It orders as time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ts {
    /// Since 1970.
    micros: i64,
}

impl Ts {
    /// When, by Slack's clock.
    pub(crate) fn time(self) -> Timestamp {
        Timestamp::from_microsecond(self.micros).expect("it was checked when it was parsed")
    }

    /// The name that a message of this time would have.
    pub(crate) fn at(time: Timestamp) -> Self {
        Self { micros: time.as_microsecond().max(0) }
    }

    /// The name that a message would have that is older by this.
    pub(crate) fn before(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self { micros: self.micros.saturating_sub(by).max(0) }
    }
}

impl FromStr for Ts {
    type Err = InvalidSlackId;

    fn from_str(text: &str) -> Result<Self, InvalidSlackId> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (seconds, fraction) = text.split_once('.').ok_or(InvalidSlackId)?;
        let whole = (1..=12).contains(&seconds.len()) && fraction.len() == 6;
        // Another way to write the same number would be another name for the same message.
        let canonical = seconds.len() == 1 || !seconds.starts_with('0');
        if !whole || !canonical || !digits(seconds) || !digits(fraction) {
            return Err(InvalidSlackId);
        }
        let micros = format!("{seconds}{fraction}").parse().ok().filter(|micros| {
            // Beyond the year 9999 there is no time.
            Timestamp::from_microsecond(*micros).is_ok()
        });
        micros.map(|micros| Self { micros }).ok_or(InvalidSlackId)
    }
}

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.micros / 1_000_000, self.micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_letters_and_digits() {
        for (text, is_id) in [
            ("U0ALICE01", true),
            ("USLACKBOT", true),
            ("", false),
            ("U1>", false),
            ("U 1", false),
            ("Ü1", false),
        ] {
            assert_eq!(text.parse::<UserId>().is_ok(), is_id, "{text:?}");
        }
        let ids = ("B1".parse::<BotId>().unwrap(), "T1".parse::<TeamId>().unwrap());
        assert_eq!((ids.0.as_str(), ids.1.as_str()), ("B1", "T1"));
        assert!("U".repeat(65).parse::<UserId>().is_err());
    }

    #[test]
    fn a_ts_is_seconds_and_microseconds() {
        for (text, is_ts) in [
            ("1700000000.000100", true),
            ("1.000001", true),
            ("0.000000", true),
            ("1700000000", false),
            ("1700000000.1", false),
            ("01.000001", false),
            ("-1.000001", false),
            ("+1.000001", false),
            ("999999999999.000000", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(text.parse::<Ts>().is_ok(), is_ts, "{text:?}");
        }
        let ts: Ts = "1700000000.000100".parse().unwrap();
        assert_eq!(ts.time().to_string(), "2023-11-14T22:13:20.0001Z");
        assert!(ts < "1700000000.000200".parse().unwrap());
        assert!(ts > "999999999.999999".parse().unwrap());
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_the_same(text in "[0-9]{1,11}\\.[0-9]{6}|\\PC*") {
            if let Ok(ts) = text.parse::<Ts>() {
                prop_assert_eq!(ts.to_string(), text);
            }
        }
    }
}
