//! Who is there: the terminals that are connected, by conversation, and what each has shown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::backlog::Backlog;
use super::wire::GatewayFrame;
use crate::model::{Conversation, OutboxId};

/// The terminals that are connected now.
#[derive(Debug)]
pub(super) struct Clients {
    present: Mutex<HashMap<u64, Arc<Client>>>,
    arrivals: watch::Sender<u64>,
    /// Changes with each acknowledgement and each departure.
    news: watch::Sender<u64>,
}

/// One terminal.
#[derive(Debug)]
pub(super) struct Client {
    id: u64,
    conversation: Conversation,
    /// The highest outbox id that it has shown; rows begin at 1.
    seen: AtomicU64,
    /// The highest outbox id that it was told.
    told: AtomicU64,
    /// Whether it has let somebody wait in vain for an acknowledgement.
    overdue: AtomicBool,
    gone: AtomicBool,
    /// What waits to be written to it.
    pub(super) backlog: Backlog,
}

impl Client {
    /// The conversation it takes part in.
    pub(super) fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Whether it has shown this answer.
    pub(super) fn has(&self, id: OutboxId) -> bool {
        self.seen.load(Ordering::Acquire) >= id.0
    }

    /// Tells it an answer, once: what waits to be written to it is not said again.
    pub(super) fn tell(&self, id: OutboxId, answer: impl FnOnce() -> GatewayFrame) {
        if self.told.fetch_max(id.0, Ordering::AcqRel) < id.0 {
            self.backlog.must(answer());
        }
    }

    /// Notes that nobody waits any longer for what it has to say; once it says it, that is as good as if it had come.
    pub(super) fn give_up_waiting(&self) {
        self.overdue.store(true, Ordering::Release);
    }

    /// Whether it has left, or is about to be hung up on.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) || self.backlog.is_given_up()
    }
}

impl Clients {
    /// Nobody.
    pub(super) fn new() -> Self {
        Self {
            present: Mutex::default(),
            arrivals: watch::Sender::new(0),
            news: watch::Sender::new(0),
        }
    }

    /// Welcomes a terminal, and tells those who wait for one. It leaves when the guard is dropped.
    pub(super) fn enter(
        self: &Arc<Self>,
        conversation: Conversation,
        seen: u64,
        welcome: GatewayFrame,
    ) -> Presence {
        let mut present = self.lock();
        let id = self.arrivals.borrow().wrapping_add(1);
        let client = Client {
            id,
            conversation,
            seen: AtomicU64::new(seen),
            told: AtomicU64::new(seen),
            overdue: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            backlog: Backlog::default(),
        };
        client.backlog.must(welcome);
        let client = Arc::new(client);
        present.insert(id, Arc::clone(&client));
        self.arrivals.send_replace(id);
        drop(present);
        Presence { clients: Arc::clone(self), client }
    }

    /// The terminals of a conversation.
    pub(super) fn of(&self, conversation: &Conversation) -> Vec<Arc<Client>> {
        let present = self.lock();
        present.values().filter(|client| client.conversation == *conversation).cloned().collect()
    }

    /// The conversations of the terminals.
    pub(super) fn conversations(&self) -> Vec<Conversation> {
        self.lock().values().map(|client| client.conversation.clone()).collect()
    }

    /// Notes that a terminal has shown an answer, and tells the others of its conversation who have not.
    pub(super) fn acknowledge(&self, client: &Client, id: u64) {
        client.seen.fetch_max(id, Ordering::AcqRel);
        for other in self.of(&client.conversation) {
            if !other.has(OutboxId(id)) {
                other.backlog.must(GatewayFrame::Taken { outbox: id });
            }
        }
        self.news.send_modify(|count| *count = count.wrapping_add(1));
        if client.overdue.swap(false, Ordering::AcqRel) {
            // Under the lock, because terminals are numbered by it.
            let present = self.lock();
            self.arrivals.send_modify(|count| *count = count.wrapping_add(1));
            drop(present);
        }
    }

    /// Tells the other terminals of its conversation what a terminal has said.
    pub(super) fn pass_on(&self, client: &Client, text: &str) {
        for other in self.of(&client.conversation) {
            if other.id != client.id {
                other.backlog.must(GatewayFrame::Said { text: text.to_owned() });
            }
        }
    }

    /// Changes whenever a terminal has come, or is awake again.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    /// Changes whenever an answer was acknowledged or a terminal has left.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        // Nothing in here panics half-way, so what a poisoned lock guards is whole.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A terminal's stay.
pub(super) struct Presence {
    clients: Arc<Clients>,
    /// The terminal.
    pub(super) client: Arc<Client>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.client.gone.store(true, Ordering::Release);
        self.clients.lock().remove(&self.client.id);
        self.clients.news.send_modify(|count| *count = count.wrapping_add(1));
    }
}
