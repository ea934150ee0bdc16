//! What is to be read of a chat to catch up with it: pure rules.

#[cfg(test)]
mod tests;

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
    from: Ts,
    /// What is newer is looked at for answers and changes.
    look_from: Ts,
    /// The threads that are known, each with up to where it is kept for certain.
    known: BTreeMap<Ts, Ts>,
}

/// A part of a chat that is read in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// The root of a thread; `None` for the history.
    pub(super) thread: Option<Ts>,
    /// What is newer is read.
    pub(super) after: Ts,
}

/// What is still to be read of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    bounds: Bounds,
    /// From where its history is still to be read; `None` once that is done.
    history: Option<Ts>,
    /// The threads, each with up to where it is kept.
    threads: BTreeMap<Ts, Ts>,
    /// Threads that were read to their ends before the history was: somebody waited for them.
    ahead: BTreeSet<Ts>,
    /// What came since and could not be kept: in the history, and in each thread, the oldest.
    lacked: BTreeMap<Option<Ts>, Ts>,
    /// How many messages were found that were not kept.
    pub(super) count: usize,
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
    fn of(whole: &Mark, marks: &[Mark], now: Ts) -> Self {
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
    /// All of it: the history, these threads, and `wholly` all that are known. `None` for a chat without a mark of its
    /// own, which belongs to no group.
    pub(super) fn of(marks: &[Mark], now: Ts, wholly: bool, roots: &BTreeSet<Ts>) -> Option<Self> {
        let whole = marks.iter().find(|mark| mark.place.thread.is_none())?;
        let bounds = Bounds::of(whole, marks, now);
        let known = bounds.known.keys().filter(|_| wholly);
        let threads = known.chain(roots).map(|root| (*root, bounds.kept_of(*root))).collect();
        let (ahead, lacked) = (BTreeSet::new(), BTreeMap::new());
        Some(Self { history: Some(bounds.look_from), threads, ahead, lacked, count: 0, bounds })
    }

    /// What is newer may not be kept yet; of the history, what is older is not kept now.
    pub(super) fn from(&self) -> Ts {
        self.bounds.from
    }

    /// Takes note of a message that came and could not be kept.
    pub(super) fn lacks(&mut self, message: &Message) {
        let oldest = self.lacked.entry(thread_of(message)).or_insert(message.ts);
        *oldest = message.ts.min(*oldest);
    }

    /// What is to be read next; `None` when that was all.
    pub(super) fn next(&mut self) -> Option<Part> {
        for place in self.lacked.keys().copied().collect::<Vec<_>>() {
            self.reopen(place);
        }
        let thread = || {
            let (root, after) = self.threads.first_key_value()?;
            Some(Part { thread: Some(*root), after: *after })
        };
        self.history.map(|after| Part { thread: None, after }).or_else(thread)
    }

    /// What is to be read before a message is kept, so that its conversation stays in order. A thread has an order of its
    /// own; only if its root may be missing as well, that is looked for in the history first.
    pub(super) fn next_before(&mut self, message: &Message) -> Option<Part> {
        let thread = thread_of(message);
        let history = thread.is_none_or(|root| root > self.bounds.from).then_some(None);
        let places = history.into_iter().chain(thread.map(Some));
        for place in places {
            if self.lacked.get(&place).is_some_and(|lacked| *lacked < message.ts) {
                self.reopen(place);
            }
            // Whether a thread was answered in shows in the history only.
            if let Some(root) = place
                && self.history.is_some()
                && !self.ahead.contains(&root)
            {
                self.threads.entry(root).or_insert_with(|| self.bounds.kept_of(root));
            }
            let after = self.after(place).filter(|after| *after < message.ts);
            if let Some(after) = after {
                return Some(Part { thread: place, after });
            }
        }
        None
    }

    /// Whether a part is still to be read as it was.
    pub(super) fn is_due(&self, part: Part) -> bool {
        self.after(part.thread) == Some(part.after)
    }

    /// Takes note of a part that was read, and kept.
    pub(super) fn read(&mut self, part: Part, found: &Found) {
        let goes_on = found.goes_on_after();
        match (part.thread, goes_on) {
            (None, _) => {
                found.messages().for_each(|message| self.answered(message));
                self.history = goes_on;
            }
            (Some(root), Some(after)) => drop(self.threads.insert(root, after)),
            (Some(root), None) => {
                self.threads.remove(&root);
                if self.history.is_some() {
                    self.ahead.insert(root);
                }
            }
        }
    }

    /// Takes note of a message of the history: the thread below it is read if it has an answer that may not be kept.
    fn answered(&mut self, message: &Message) {
        let root = message.thread.unwrap_or(message.ts);
        if self.ahead.contains(&root) {
            return;
        }
        let kept = self.bounds.kept_of(root);
        // An answer that the whole channel sees stands in the history as well.
        let latest = if message.is_reply() { Some(message.ts) } else { message.latest_reply };
        if latest.is_some_and(|latest| latest > kept) {
            self.threads.insert(root, kept);
        } else if !message.is_reply() && self.threads.get(&root) == Some(&kept) {
            // One that was opened again since is not shown as it is by now.
            self.threads.remove(&root);
        }
    }

    /// From where a place is still to be read.
    fn after(&self, place: Option<Ts>) -> Option<Ts> {
        match place {
            None => self.history,
            Some(root) => self.threads.get(&root).copied(),
        }
    }

    /// Has a place read again in which something is lacking, once what is open of it was read: that may have been asked
    /// for before the message was said.
    fn reopen(&mut self, place: Option<Ts>) {
        if self.after(place).is_some() {
            return;
        }
        let Some(lacked) = self.lacked.remove(&place) else { return };
        let after = lacked.before(Duration::from_micros(1));
        match place {
            None => self.history = Some(after),
            Some(root) => drop(self.threads.insert(root, after)),
        }
    }
}

/// The thread that a message stands in; `None` for one at the top level.
fn thread_of(message: &Message) -> Option<Ts> {
    message.thread.filter(|_| message.is_reply())
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
