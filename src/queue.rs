//! The queue: conversations waiting for a run, first come, first served.
//!
//! A conversation is in here at most once, and is handed out only when no run of it is under way. What lies in the
//! queue is a hint, not a promise: the store knows which conversations are due, and the router fills the queue from it.
//! A wish to stop is met here, because only here is no moment between waiting and being under way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
}

/// A conversation that was handed out.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What waited.
    pub(crate) waiting: Waiting,
    /// Keeps it from being handed out again.
    pub(crate) hold: Hold,
}

/// Keeps a conversation from being handed out, until it is dropped, wherever that happens.
#[derive(Debug)]
pub(crate) struct Hold {
    queue: Arc<Queue>,
    conversation: Conversation,
    /// Cancelled when somebody wishes to stop what goes on in the conversation.
    cancel: CancellationToken,
    id: u64,
}

/// What there is to stop in a conversation.
#[derive(Debug)]
pub(crate) enum Stopping {
    /// A run, or the work of another who wished the same: whoever holds the conversation has been asked.
    Asked,
    /// No run, and none begins as long as this is held.
    Nothing(Hold),
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
    under_way: HashMap<Conversation, UnderWay>,
    holds: u64,
}

/// What is known of a conversation that is held.
#[derive(Debug)]
struct UnderWay {
    hold: u64,
    cancel: CancellationToken,
}

impl Waiting {
    /// A conversation that waits from now on.
    pub(crate) fn new(conversation: Conversation, group: GroupName, seen: Option<Seen>) -> Self {
        Self { conversation, group, seen, since: Instant::now() }
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
    pub(crate) async fn take(self: &Arc<Self>) -> Taken {
        loop {
            let changed = self.changed.notified();
            if let Some(taken) = self.try_take() {
                return taken;
            }
            changed.await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Taken> {
        let mut state = self.state();
        let waiting = state.waiting.pop_front()?;
        state.queued.remove(&waiting.conversation);
        let hold = self.hold(&mut state, &waiting.conversation);
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            self.changed.notify_one();
        }
        Some(Taken { waiting, hold })
    }

    /// Holds a conversation whose run is under way without having been taken from here: an adopted one.
    pub(crate) fn begin(self: &Arc<Self>, conversation: &Conversation) -> Hold {
        self.hold(&mut self.state(), conversation)
    }

    /// Asks whoever holds a conversation to end; where nobody does, takes it out and holds it, so that no run begins
    /// while the one who asks deals with what waits.
    pub(crate) fn stop(self: &Arc<Self>, conversation: &Conversation) -> Stopping {
        let mut state = self.state();
        if let Some(under_way) = state.under_way.get(conversation) {
            under_way.cancel.cancel();
            return Stopping::Asked;
        }
        if state.queued.remove(conversation) {
            state.waiting.retain(|waiting| waiting.conversation != *conversation);
        }
        Stopping::Nothing(self.hold(&mut state, conversation))
    }

    fn hold(self: &Arc<Self>, state: &mut State, conversation: &Conversation) -> Hold {
        state.holds += 1;
        let (id, cancel) = (state.holds, CancellationToken::new());
        let under_way = UnderWay { hold: id, cancel: cancel.clone() };
        state.under_way.insert(conversation.clone(), under_way);
        Hold { queue: self.clone(), conversation: conversation.clone(), cancel, id }
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

impl Hold {
    /// The conversation.
    pub(crate) fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Cancelled when somebody wishes to stop what goes on in the conversation.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Lets go of a conversation in which something waits; `Some` when somebody has wished to stop it meanwhile, and
    /// it is still held. There is no moment between the two in which a wish could be lost.
    pub(crate) fn let_go(mut self) -> Option<Self> {
        let queue = self.queue.clone();
        let mut state = queue.state();
        if !self.cancel.is_cancelled() {
            state.end(&self);
            return None;
        }
        // The next wish is another one.
        self.cancel = CancellationToken::new();
        if let Some(under_way) = state.under_way.get_mut(&self.conversation) {
            under_way.cancel = self.cancel.clone();
        }
        drop(state);
        Some(self)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.queue.state().end(self);
    }
}

impl State {
    /// Ends a hold, and no other that may have taken its place.
    fn end(&mut self, hold: &Hold) {
        if self.under_way.get(&hold.conversation).is_some_and(|now| now.hold == hold.id) {
            self.under_way.remove(&hold.conversation);
        }
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
        let queue = Arc::new(Queue::default());
        for name in ["a", "b", "a", "c"] {
            queue.push(waiting(name));
        }
        assert_eq!(queue.len(), 3);
        let mut taken = Vec::new();
        for name in ["a", "b", "c"] {
            taken.push(queue.take().await);
            assert_eq!(taken.last().unwrap().waiting.conversation, waiting(name).conversation);
        }
        assert_eq!((queue.len(), queue.under_way()), (0, 3));
    }

    #[tokio::test]
    async fn a_conversation_under_way_is_not_handed_out_again() {
        let queue = Arc::new(Queue::default());
        queue.push(waiting("a"));
        let first = queue.take().await;
        assert!(!queue.push(waiting("a")));
        drop(first);
        assert!(queue.push(waiting("a")));
    }

    #[tokio::test]
    async fn a_wish_to_stop_finds_a_conversation_wherever_it_is() {
        let queue = Arc::new(Queue::default());
        let [a, b, c] = ["a", "b", "c"].map(|name| waiting(name).conversation);
        queue.push(waiting("a"));
        queue.push(waiting("b"));
        let Stopping::Nothing(held) = queue.stop(&b) else { panic!("it only waits") };
        assert!(!queue.push(waiting("b")), "it is held back");
        let first = queue.take().await;
        assert_eq!((&first.waiting.conversation, queue.len()), (&a, 0));
        assert!(!first.hold.cancel().is_cancelled());
        assert!(matches!(queue.stop(&a), Stopping::Asked));
        assert!(first.hold.cancel().is_cancelled());
        // However the one who holds it back ends.
        drop(held);
        assert!(queue.push(waiting("b")));
        let adopted = queue.begin(&c);
        assert!(matches!(queue.stop(&c), Stopping::Asked));
        assert!(adopted.cancel().is_cancelled());
    }

    #[tokio::test]
    async fn nobody_lets_go_of_a_conversation_whose_stop_was_wished() {
        let queue = Arc::new(Queue::default());
        let conversation = waiting("a").conversation;
        let hold = queue.begin(&conversation);
        assert!(matches!(queue.stop(&conversation), Stopping::Asked));
        let again = hold.let_go().expect("somebody has wished to stop it");
        assert!(!queue.push(waiting("a")), "it is still held");
        assert!(!again.cancel().is_cancelled(), "the wish is heeded once");
        assert!(matches!(queue.stop(&conversation), Stopping::Asked));
        assert!(again.let_go().and_then(Hold::let_go).is_none());
        assert!(queue.push(waiting("a")));
    }

    #[tokio::test]
    async fn a_hold_ends_itself_and_no_other() {
        let queue = Arc::new(Queue::default());
        let conversation = waiting("a").conversation;
        let (old, new) = (queue.begin(&conversation), queue.begin(&conversation));
        drop(old);
        assert!(!queue.push(waiting("a")), "the other one holds it");
        drop(new);
        assert!(queue.push(waiting("a")));
    }

    #[tokio::test]
    async fn waiters_are_woken_one_by_one() {
        let queue = Arc::new(Queue::default());
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
