//! The queue: conversations waiting for a run, first come, first served.
//!
//! A conversation is in here at most once, and is handed out only when no run of it is under way. What lies in the
//! queue is a hint, not a promise: the store knows which conversations are due, and the router fills the queue from it.
//! A wish to stop is met here, because only here is no moment between waiting and being under way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::model::{Conversation, GroupName, Seen};

/// A conversation that waits for a run.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// The conversation.
    pub(crate) conversation: Conversation,
    /// Its group.
    pub(crate) group: GroupName,
    /// What the router saw and has not written down, because the claim of the run will.
    pub(crate) seen: Option<Seen>,
    /// Since when it waits.
    pub(crate) since: Instant,
    /// Ends its run when cancelled, from the moment in which it is handed out.
    pub(crate) cancel: CancellationToken,
}

/// What there is to stop in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// A run, which has been asked to end.
    Run,
    /// No run, and none begins until [`Queue::end`].
    Nothing,
}

/// Conversations waiting for a run.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    pushed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    queued: HashSet<Conversation>,
    /// With what ends them.
    under_way: HashMap<Conversation, CancellationToken>,
}

impl Waiting {
    /// A conversation that waits from now on.
    pub(crate) fn new(conversation: Conversation, group: GroupName, seen: Option<Seen>) -> Self {
        let (since, cancel) = (Instant::now(), CancellationToken::new());
        Self { conversation, group, seen, since, cancel }
    }
}

impl Queue {
    /// Adds a conversation at the end, unless it waits already or a run of it is under way.
    ///
    /// Whoever is turned away because of a run comes again: the end of a run wakes the router.
    pub(crate) fn push(&self, waiting: Waiting) -> bool {
        let mut state = self.state();
        if state.under_way.contains_key(&waiting.conversation) {
            return false;
        }
        if !state.queued.insert(waiting.conversation.clone()) {
            return false;
        }
        state.waiting.push_back(waiting);
        drop(state);
        self.changed.notify_one();
        self.pushed.notify_waiters();
        true
    }

    /// Takes the conversation that has waited longest; waits until there is one.
    pub(crate) async fn take(&self) -> Waiting {
        loop {
            let changed = self.changed.notified();
            if let Some(waiting) = self.try_take() {
                return waiting;
            }
            changed.await;
        }
    }

    fn try_take(&self) -> Option<Waiting> {
        let mut state = self.state();
        let waiting = state.waiting.pop_front()?;
        state.queued.remove(&waiting.conversation);
        state.under_way.insert(waiting.conversation.clone(), waiting.cancel.clone());
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            self.changed.notify_one();
        }
        Some(waiting)
    }

    /// Marks a conversation whose run is under way without having been taken from here: an adopted one. The token
    /// ends the run.
    pub(crate) fn begin(&self, conversation: &Conversation) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.state().under_way.insert(conversation.clone(), cancel.clone());
        cancel
    }

    /// Asks the run of a conversation to end; where there is none, takes the conversation out and holds it back, so
    /// that no run begins while the one who asks deals with what waits.
    pub(crate) fn stop(&self, conversation: &Conversation) -> Stopping {
        let mut state = self.state();
        if let Some(cancel) = state.under_way.get(conversation) {
            cancel.cancel();
            return Stopping::Run;
        }
        if state.queued.remove(conversation) {
            state.waiting.retain(|waiting| waiting.conversation != *conversation);
        }
        state.under_way.insert(conversation.clone(), CancellationToken::new());
        Stopping::Nothing
    }

    /// Says that the run of a conversation is over, or that it need not be held back any more.
    pub(crate) fn end(&self, conversation: &Conversation) {
        self.state().under_way.remove(conversation);
    }

    /// Whether a run of this conversation is under way or waits.
    pub(crate) fn holds(&self, conversation: &Conversation) -> bool {
        let state = self.state();
        state.under_way.contains_key(conversation) || state.queued.contains(conversation)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// How many runs are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.state().under_way.len()
    }

    /// Waits until a conversation is added.
    pub(crate) async fn pushed(&self) {
        self.pushed.notified().await;
    }

    /// The first conversations that wait, with how many are ahead of each; at most `limit`.
    pub(crate) fn waiting(&self, limit: usize) -> Vec<Waiting> {
        self.state().waiting.iter().take(limit).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is never left half changed: a panic elsewhere does not make it wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(name: &str) -> Waiting {
        let group: GroupName = name.parse().unwrap();
        let conversation =
            Conversation { chat: crate::model::ChatId::terminal(&group), thread: None };
        Waiting::new(conversation, group, None)
    }

    #[tokio::test]
    async fn first_come_first_served_and_each_once() {
        let queue = Queue::default();
        for name in ["a", "b", "a", "c"] {
            queue.push(waiting(name));
        }
        assert_eq!(queue.len(), 3);
        for name in ["a", "b", "c"] {
            assert_eq!(queue.take().await.conversation, waiting(name).conversation);
        }
        assert_eq!((queue.len(), queue.under_way()), (0, 3));
    }

    #[tokio::test]
    async fn a_conversation_under_way_is_not_handed_out_again() {
        let queue = Queue::default();
        queue.push(waiting("a"));
        let first = queue.take().await;
        assert!(!queue.push(waiting("a")));
        queue.end(&first.conversation);
        assert!(queue.push(waiting("a")));
    }

    #[tokio::test]
    async fn a_wish_to_stop_finds_a_conversation_wherever_it_is() {
        let queue = Queue::default();
        let (a, b) = (waiting("a").conversation, waiting("b").conversation);
        queue.push(waiting("a"));
        queue.push(waiting("b"));
        assert_eq!(queue.stop(&b), Stopping::Nothing);
        assert!(!queue.push(waiting("b")), "it is held back");
        let first = queue.take().await;
        assert_eq!((first.conversation, queue.len()), (a.clone(), 0));
        assert!(!first.cancel.is_cancelled());
        assert_eq!(queue.stop(&a), Stopping::Run);
        assert!(first.cancel.is_cancelled());
        queue.end(&b);
        assert!(queue.push(waiting("b")));
        let adopted = queue.begin(&waiting("c").conversation);
        assert_eq!(queue.stop(&waiting("c").conversation), Stopping::Run);
        assert!(adopted.is_cancelled());
    }

    #[tokio::test]
    async fn waiters_are_woken_one_by_one() {
        let queue = std::sync::Arc::new(Queue::default());
        let mut takers = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let queue = queue.clone();
            takers.spawn(async move { queue.take().await });
        }
        for name in ["a", "b", "c"] {
            queue.push(waiting(name));
        }
        assert_eq!(takers.join_all().await.len(), 3);
    }
}
