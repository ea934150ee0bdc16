//! How often Slack is called: as often as it documents, in order, and not at all where it wants fewer calls.
//!
//! Slack counts each method in a workspace by itself, and posts in each channel by themselves. A call that would be one
//! too many waits for its turn, but not for long: then it is put off with the time of its turn. What Slack turns away all
//! the same closes that door until the time that it named.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pace::Pace;

/// How many posts a channel takes in the time of [`Pace::post`]: Slack says one a second, and that bursts are short.
const POSTS: usize = 4;
/// How many calls a minute each method takes, by Slack's pages. What is not named (files, `auth.test`, the opening of a
/// socket) is not counted beforehand: it is called seldom, and stops where Slack turns it away.
const A_MINUTE: [(&str, usize); 13] = [
    ("agents.sessions.setStatus", 50),
    ("assistant.threads.setStatus", 600),
    ("chat.appendStream", 100),
    ("chat.delete", 50),
    ("chat.startStream", 20),
    ("chat.stopStream", 20),
    ("chat.update", 50),
    ("conversations.history", 50),
    ("conversations.info", 50),
    ("conversations.replies", 50),
    ("reactions.add", 50),
    ("reactions.remove", 20),
    ("users.info", 100),
];
/// The longest that a call waits for its turn; what would wait longer is put off.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest that a door stays closed; then Slack is asked again.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How many doors are remembered; Slack names hardly more than one a second.
const MOST: usize = 4_096;

/// How soon an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Haste {
    /// Somebody waits.
    Now,
    /// There is much to ask, and it must not stand before those who wait: it has a part of the calls to itself.
    AtLeisure,
}

/// What Slack counts together.
type Door = (&'static str, String, Haste);

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Limiter {
    pace: Pace,
    /// Whether calls are counted before Slack turns one away.
    counts: bool,
    doors: Mutex<Doors>,
}

#[derive(Debug, Default)]
struct Doors {
    closed: HashMap<(&'static str, String), Instant>,
    /// When the latest calls were, or are to be, made.
    turns: HashMap<Door, VecDeque<Instant>>,
}

impl Limiter {
    /// Nothing has been called yet. Where calls are not counted, only closed doors hold them up.
    pub(super) fn new(pace: Pace, counts: bool) -> Self {
        Self { pace, counts, doors: Mutex::default() }
    }

    /// Takes a turn: how long until the call may be made.
    ///
    /// # Errors
    /// How long it is to be put off: the door is closed, or too many others wait.
    pub(super) fn turn(
        &self,
        method: &'static str,
        channel: &str,
        haste: Haste,
    ) -> Result<Duration, Duration> {
        let (now, mut doors) = (Instant::now(), self.doors());
        if let Some(left) = doors.closed_for(method, channel, now) {
            return Err(left);
        }
        let Some((most, window)) = self.rate(method, haste) else { return Ok(Duration::ZERO) };
        if doors.turns.len() >= MOST {
            doors.turns.retain(|_door, turns| turns.back().is_some_and(|at| *at + window > now));
        }
        let (method, channel) = key(method, channel);
        let turns = doors.turns.entry((method, channel, haste)).or_default();
        let at = next(turns, most, window, now);
        let wait = at.duration_since(now);
        if wait > PATIENCE {
            return Err(wait);
        }
        turns.push_back(at);
        Ok(wait)
    }

    /// How long a door is still closed, for who waited for a turn that was given before it was closed.
    ///
    /// # Errors
    /// How long the call is to be put off.
    pub(super) fn look_again(&self, method: &'static str, channel: &str) -> Result<(), Duration> {
        self.doors().closed_for(method, channel, Instant::now()).map_or(Ok(()), Err)
    }

    /// How many calls of a method could be made at once now.
    pub(super) fn left(&self, method: &'static str) -> usize {
        let (now, mut doors) = (Instant::now(), self.doors());
        if doors.closed_for(method, "", now).is_some() {
            return 0;
        }
        let Some((most, window)) = self.rate(method, Haste::Now) else { return usize::MAX };
        let turns = doors.turns.entry((method, String::new(), Haste::Now)).or_default();
        forget(turns, window, now);
        most.saturating_sub(turns.len())
    }

    /// Closes a door for a time.
    pub(super) fn close(&self, method: &'static str, channel: &str, time: Duration) {
        let (now, mut doors) = (Instant::now(), self.doors());
        if doors.closed.len() >= MOST {
            doors.closed.retain(|_door, until| *until > now);
        }
        if doors.closed.len() < MOST {
            doors.closed.insert(key(method, channel), now + time.min(LONGEST));
        }
    }

    /// How many calls there may be in which time; `None` where they are not counted.
    fn rate(&self, method: &str, haste: Haste) -> Option<(usize, Duration)> {
        if !self.counts {
            return None;
        }
        if is_counted_by_channel(method) {
            return Some((POSTS, self.pace.post));
        }
        let (_, most) = A_MINUTE.iter().find(|(name, _)| *name == method)?;
        let at_leisure = most * 3 / 5;
        let most = match haste {
            Haste::AtLeisure => at_leisure,
            Haste::Now if method.starts_with("conversations.") => most - at_leisure,
            Haste::Now => *most,
        };
        Some((most, self.pace.minute))
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        // What this lock guards is whole between any two statements.
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doors {
    fn closed_for(&self, method: &'static str, channel: &str, now: Instant) -> Option<Duration> {
        let until = self.closed.get(&key(method, channel))?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// When the next call may be made, after those that were.
fn next(turns: &mut VecDeque<Instant>, most: usize, window: Duration, now: Instant) -> Instant {
    forget(turns, window, now);
    let before = turns.len().checked_sub(most).and_then(|at| turns.get(at));
    before.map_or(now, |at| now.max(*at + window))
}

/// Forgets the calls that count no more.
fn forget(turns: &mut VecDeque<Instant>, window: Duration, now: Instant) {
    while turns.front().is_some_and(|at| *at + window <= now) {
        turns.pop_front();
    }
}

fn is_counted_by_channel(method: &str) -> bool {
    method == "chat.postMessage"
}

fn key(method: &'static str, channel: &str) -> (&'static str, String) {
    let channel = if is_counted_by_channel(method) { channel } else { "" };
    (method, channel.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_door_is_closed_where_slack_closed_it() {
        let limiter = Limiter::new(Pace::default(), true);
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
            let turn = limiter.turn(method, channel, Haste::Now);
            assert_eq!(turn.is_err(), closed, "{method} {channel}");
        }
        assert_eq!(limiter.left("conversations.history"), 0);
    }

    #[test]
    fn what_is_too_much_waits_in_order_and_what_would_wait_too_long_is_put_off() {
        let limiter = Limiter::new(Pace::default(), true);
        let turns = |n: usize, channel: &str| {
            let turns = (0..n).map(|_| limiter.turn("chat.postMessage", channel, Haste::Now));
            turns.collect::<Vec<_>>()
        };
        let first = turns(40, "C1");
        assert!(first[..POSTS].iter().all(|wait| *wait == Ok(Duration::ZERO)));
        let waits: Vec<_> = first.iter().map_while(|wait| wait.ok()).collect();
        assert!(waits[POSTS] > Duration::from_secs(4) && waits.last() <= Some(&PATIENCE));
        assert!((17..=21).contains(&waits.len()), "{}", waits.len());
        assert!(first[waits.len()..].iter().all(|wait| wait.is_err_and(|off| off > PATIENCE)));
        assert_eq!(turns(1, "C2"), [Ok(Duration::ZERO)]);
        assert_eq!(limiter.left("chat.startStream"), 20);
        assert_eq!(limiter.turn("chat.startStream", "C1", Haste::Now), Ok(Duration::ZERO));
        assert_eq!(limiter.left("chat.startStream"), 19);
        assert_eq!(limiter.left("auth.test"), usize::MAX);
    }

    #[test]
    fn where_nothing_is_documented_only_closed_doors_hold_up() {
        let limiter = Limiter::new(Pace::default(), false);
        let turn = || limiter.turn("conversations.replies", "C1", Haste::AtLeisure);
        assert!((0..1_000).all(|_| turn() == Ok(Duration::ZERO)));
        assert_eq!(limiter.left("chat.stopStream"), usize::MAX);
        limiter.close("conversations.replies", "C1", Duration::from_secs(60));
        assert!(turn().is_err());
    }

    #[test]
    fn who_asks_at_leisure_stands_before_nobody() {
        let limiter = Limiter::new(Pace::default(), true);
        let ask = |haste| limiter.turn("conversations.replies", "C1", haste);
        let at_leisure = (0..100).filter(|_| ask(Haste::AtLeisure).is_ok()).count();
        let now = (0..100).filter(|_| ask(Haste::Now).is_ok()).count();
        assert_eq!((at_leisure, now), (30, 20));
    }

    proptest! {
        #[test]
        fn no_window_ever_has_too_many(steps in proptest::collection::vec(0u64..2_000, 1..80), most in 1usize..6) {
            let window = Duration::from_secs(4);
            let (mut now, mut turns, mut made) = (Instant::now(), VecDeque::new(), Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                let at = next(&mut turns, most, window, now);
                turns.push_back(at);
                made.push(at);
            }
            prop_assert!(made.is_sorted());
            for (earlier, later) in made.iter().zip(made.iter().skip(most)) {
                prop_assert!(later.duration_since(*earlier) >= window);
            }
        }
    }
}
