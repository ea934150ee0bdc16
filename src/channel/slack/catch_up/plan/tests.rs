//! What is to be read of a chat, and before which message.

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
        ("new here", Some(NOW - HOUR), NOW - HOUR - minute, NOW - HOUR - minute, NOW - 25 * HOUR),
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
    let marks = [
        mark(None, Some(NOW - HOUR), 0),
        mark(Some(old), Some(NOW - 30 * HOUR), 0),
        mark(Some(quiet), Some(NOW - 4 * HOUR), 0),
        mark(Some(late), Some(NOW - 4 * HOUR), 0),
    ];
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
        let roots = roots.into_iter().map(ts).collect();
        let mut left = Left::of(&marks, ts(NOW), wholly, &roots).unwrap();
        history.iter().for_each(|message| left.answered(message));
        let expected: Vec<Ts> = expected.into_iter().map(ts).collect();
        assert_eq!(left.threads.keys().copied().collect::<Vec<_>>(), expected, "{wholly}");
    }
}

/// What was read, as the seconds of the root and of what it was read after.
fn places(left: &mut Left, message: &Message) -> Vec<(Option<i64>, i64)> {
    let next = || {
        let part = left.next_before(message)?;
        left.read(part, &Found::default());
        let seconds = |ts: Ts| ts.time().as_second();
        Some((part.thread.map(seconds), seconds(part.after)))
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_message_waits_for_its_own_conversation_only() {
    let (old, known, fresh) = (NOW - 60 * HOUR, NOW - 5 * HOUR, NOW - 60);
    let marks = [
        mark(None, Some(NOW - HOUR), 0),
        mark(Some(known), Some(NOW - 4 * HOUR), 0),
        mark(Some(NOW - 6 * HOUR), Some(NOW - 4 * HOUR), 0),
    ];
    let (history, from) = (NOW - 25 * HOUR, NOW - HOUR - HOUR / 6);
    let in_thread = |root| message(NOW, &json!({ "thread_ts": ts(root).to_string() }));
    for (what, message, expected) in [
        ("at the top", message(NOW, &json!({})), vec![(None, history)]),
        ("a beginning", in_thread(NOW), vec![(None, history)]),
        ("in a known thread", in_thread(known), vec![(Some(known), NOW - 4 * HOUR - HOUR / 6)]),
        ("in another", in_thread(old), vec![(Some(old), from)]),
        ("where the root may be missing", in_thread(fresh), vec![(None, history)]),
    ] {
        let mut left = Left::of(&marks, ts(NOW), true, &BTreeSet::new()).unwrap();
        assert_eq!(places(&mut left, &message), expected, "{what}");
        assert_eq!(places(&mut left, &message), [], "{what}, again");
        assert!(left.next().is_some(), "{what}");
    }
}

#[test]
fn what_was_lacking_is_read_again_before_what_is_newer() {
    let root = NOW - 60 * HOUR;
    let in_thread = |at| message(at, &json!({ "thread_ts": ts(root).to_string() }));
    for (place, said) in [
        (None, [NOW + 1, NOW + 2, NOW + 3].map(|at| message(at, &json!({})))),
        (Some(root), [NOW + 1, NOW + 2, NOW + 3].map(in_thread)),
    ] {
        let marks = [mark(None, Some(NOW - HOUR), 0)];
        let mut left = Left::of(&marks, ts(NOW), false, &BTreeSet::new()).unwrap();
        let part = left.next_before(&said[0]).unwrap();
        // It may have been said after this was read.
        left.lacks(&said[1]);
        left.read(part, &Found::default());
        assert_eq!(left.next_before(&said[0]), None);
        assert_eq!(places(&mut left, &said[2]), [(place, NOW + 1)]);
        while let Some(part) = left.next() {
            left.read(part, &Found::default());
        }
        assert_eq!(left.next_before(&said[2]), None);
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
