//! What is to be read of a chat to catch up with it: pure rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::channel::Mark;
use crate::channel::slack::event::Message;
use crate::channel::slack::id::Ts;

/// What is older is not caught up with: three days, a weekend and a bit.
pub(super) const AGE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How far before the last kept message it is looked for threads that have been answered in, and for changes.
const LOOK_BACK: Duration = Duration::from_secs(24 * 60 * 60);
/// How far before it there may be one that is not kept: Slack's last attempt to bring one comes after six minutes.
const OVERLAP: Duration = Duration::from_secs(10 * 60);
/// How many messages are held at a time.
const MOST: usize = 10_000;

/// From where a chat is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Nothing older is kept.
    oldest: Ts,
    /// What is newer may not be kept yet.
    pub(super) from: Ts,
    /// What is newer is looked at for answers and changes.
    look_from: Ts,
    /// The threads that are known, each with up to where it is kept for certain.
    known: BTreeMap<Ts, Ts>,
}

/// What is still to be read of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// From where its history is still to be read; `None` once that is done.
    pub(super) history: Option<Ts>,
    /// The threads, each with up to where it is kept.
    pub(super) threads: BTreeMap<Ts, Ts>,
}

/// The oldest messages of a range, as many as are held at a time.
#[derive(Debug)]
pub(super) struct Found {
    most: usize,
    messages: BTreeMap<Ts, Message>,
    /// Whether there are newer ones.
    is_cut: bool,
}

impl Bounds {
    /// Those of a chat with this mark, and these of its threads.
    pub(super) fn of(whole: &Mark, marks: &[Mark], now: Ts) -> Self {
        let age = now.before(AGE);
        let oldest = Ts::at(whole.since).max(age);
        let last_of = |mark: &Mark| mark.last.as_ref()?.id.as_str().parse::<Ts>().ok();
        let last = last_of(whole).unwrap_or(oldest);
        let certain = |last: Ts| last.before(OVERLAP).max(oldest);
        let thread = |mark: &Mark| {
            let root = mark.place.thread.as_ref()?.as_str().parse().ok()?;
            Some((root, certain(last_of(mark)?)))
        };
        Self {
            oldest,
            from: certain(last),
            look_from: last.before(LOOK_BACK).max(age),
            known: marks.iter().filter_map(thread).collect(),
        }
    }

    fn kept_of(&self, thread: Ts) -> Ts {
        self.known.get(&thread).copied().unwrap_or(self.from).max(self.oldest)
    }
}

impl Left {
    /// All of it: the history, these threads, and `wholly` all that are known.
    pub(super) fn of(bounds: &Bounds, wholly: bool, roots: &BTreeSet<Ts>) -> Self {
        let known = bounds.known.keys().filter(|_| wholly);
        let threads = known.chain(roots).map(|root| (*root, bounds.kept_of(*root))).collect();
        Self { history: Some(bounds.look_from), threads }
    }

    /// Takes note of a message of the history: the thread below it is read if it has an answer that may not be kept.
    pub(super) fn answered(&mut self, message: &Message, bounds: &Bounds) {
        let root = message.thread.unwrap_or(message.ts);
        let kept = bounds.kept_of(root);
        // An answer that the whole channel sees stands in the history as well.
        let latest = if message.is_reply() { Some(message.ts) } else { message.latest_reply };
        if latest.is_some_and(|latest| latest > kept) {
            self.threads.insert(root, kept);
        } else if !message.is_reply() {
            self.threads.remove(&root);
        }
    }
}

impl Default for Found {
    fn default() -> Self {
        Self { most: MOST, messages: BTreeMap::new(), is_cut: false }
    }
}

impl Found {
    /// Adds a message, in whichever order they come; of too many the newest are left for later.
    pub(super) fn add(&mut self, message: Message) {
        self.messages.insert(message.ts, message);
        if self.messages.len() > self.most {
            self.messages.pop_last();
            self.is_cut = true;
        }
    }

    /// They, in order.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values()
    }

    /// From where to read on; `None` when that was all.
    pub(super) fn goes_on_after(&self) -> Option<Ts> {
        let last = self.messages.last_key_value().map(|(ts, _)| *ts);
        last.filter(|_| self.is_cut)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Conversation, LastKept};

    const HOUR: i64 = 3_600;
    const NOW: i64 = 100 * 24 * HOUR;

    fn ts(seconds: i64) -> Ts {
        Ts::at(Timestamp::from_second(seconds).unwrap())
    }

    fn mark(thread: Option<i64>, last: Option<i64>, since: i64) -> Mark {
        let thread = thread.map(|root| ts(root).to_string().parse().unwrap());
        let last = last.map(|last| LastKept {
            id: ts(last).to_string().parse().unwrap(),
            sent_at: ts(last).time(),
        });
        let place = Conversation { chat: "slack:T1/C1".parse().unwrap(), thread };
        Mark { place, last, since: Timestamp::from_second(since).unwrap() }
    }

    fn message(at: i64, fields: &Value) -> Message {
        let mut json = json!({ "ts": ts(at).to_string(), "user": "U1", "text": "x" });
        json.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Message::parse(&json, "C1".parse().ok()).unwrap()
    }

    #[test]
    fn it_is_read_from_a_little_before_the_mark_and_never_what_is_too_old_or_none_of_ours() {
        let minute = HOUR / 60;
        for (what, last, since, from, look_from) in [
            ("of late", Some(NOW - HOUR), 0, NOW - HOUR - 10 * minute, NOW - 25 * HOUR),
            ("too old", Some(NOW - 99 * HOUR), 0, NOW - 72 * HOUR, NOW - 72 * HOUR),
            (
                "new here",
                Some(NOW - HOUR),
                NOW - HOUR - minute,
                NOW - HOUR - minute,
                NOW - 25 * HOUR,
            ),
            ("nothing kept yet", None, NOW - 5 * HOUR, NOW - 5 * HOUR, NOW - 29 * HOUR),
            ("nothing ever kept", None, 0, NOW - 72 * HOUR, NOW - 72 * HOUR),
        ] {
            let bounds = Bounds::of(&mark(None, last, since), &[], ts(NOW));
            assert_eq!((bounds.from, bounds.look_from), (ts(from), ts(look_from)), "{what}");
        }
    }

    #[test]
    fn threads_are_read_where_something_may_be_missing() {
        let (old, quiet, late) = (NOW - 50 * HOUR, NOW - 5 * HOUR, NOW - 6 * HOUR);
        let whole = mark(None, Some(NOW - HOUR), 0);
        let marks = [
            whole.clone(),
            mark(Some(old), Some(NOW - 30 * HOUR), 0),
            mark(Some(quiet), Some(NOW - 4 * HOUR), 0),
            mark(Some(late), Some(NOW - 4 * HOUR), 0),
        ];
        let bounds = Bounds::of(&whole, &marks, ts(NOW));
        let unknown = NOW - 7 * HOUR;
        let answered = |at: i64, latest: i64| {
            message(
                at,
                &json!({ "thread_ts": ts(at).to_string(), "latest_reply": ts(latest).to_string() }),
            )
        };
        let history = [
            answered(quiet, NOW - 4 * HOUR - HOUR / 5),
            answered(late, NOW - 2 * HOUR),
            answered(unknown, NOW - HOUR / 2),
            message(NOW - HOUR / 4, &json!({ "thread_ts": ts(NOW - 60 * HOUR).to_string() })),
            message(NOW - HOUR / 4, &json!({})),
        ];
        for (wholly, roots, expected) in [
            (false, vec![], vec![NOW - 60 * HOUR, unknown, late]),
            (true, vec![], vec![NOW - 60 * HOUR, old, unknown, late]),
            (false, vec![old], vec![NOW - 60 * HOUR, old, unknown, late]),
        ] {
            let mut left = Left::of(&bounds, wholly, &roots.into_iter().map(ts).collect());
            history.iter().for_each(|message| left.answered(message, &bounds));
            let expected: Vec<Ts> = expected.into_iter().map(ts).collect();
            assert_eq!(left.threads.keys().copied().collect::<Vec<_>>(), expected, "{wholly}");
        }
    }

    proptest! {
        /// However many there are, and from whichever end they come, each is found once and in order.
        #[test]
        fn nothing_is_lost_however_much_it_is(count in 0i64..60, most in 1usize..9, newest_first: bool) {
            let (mut from, mut read) = (Some(0), Vec::new());
            while let Some(after) = from {
                let mut found = Found { most, ..Found::default() };
                let mut page: Vec<i64> = (1..=count).filter(|at| *at > after).collect();
                if newest_first {
                    page.reverse();
                }
                page.into_iter().for_each(|at| found.add(message(at, &json!({}))));
                read.extend(found.messages().map(|message| message.ts.time().as_second()));
                from = found.goes_on_after().map(|ts| ts.time().as_second());
            }
            prop_assert_eq!(read, (1..=count).collect::<Vec<_>>());
        }
    }
}
