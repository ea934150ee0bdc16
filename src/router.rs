//! The router: finds messages that are addressed to the assistant, and puts their conversations on the queue.
//!
//! It is woken by every message that is kept and by every run that ends; it polls as well, so that a lost wake-up
//! costs a moment and never a message.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock::SharedClock;
use crate::config::Settings;
use crate::model::{Conversation, Seen, Seq};
use crate::pool::Pool;
use crate::queue::{Queue, Waiting};
use crate::store::{News, Setback, Store, StoreError, Unseen};
use crate::trigger::{Place, Rule};

/// The most conversations that are looked at in one turn.
const AT_ONCE: usize = 256;

/// What is said when the store does not tell of messages, or does not take what was seen.
const REFUSED: &str = "messages cannot be routed now";

/// Finds messages that are addressed to the assistant.
pub(crate) struct Router {
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) pool: Arc<Pool>,
    /// Says that there may be something new.
    pub(crate) wake: Arc<Notify>,
}

impl Router {
    /// Routes until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let poll = self.settings.runs.poll_interval;
        let mut setback = Setback::default();
        while !stop.is_cancelled() {
            let woken = self.wake.notified();
            let turn = self.poll().await;
            if turn.is_ok() {
                setback.over(REFUSED);
            }
            let (sleep, hurried) = match turn {
                Ok(Turn { more: true, .. }) => continue,
                Ok(Turn { next, .. }) => (next.map_or(poll, |next| next.min(poll)), true),
                // Whatever else happens meanwhile, the store is left in peace.
                Err(error) => (setback.refused(REFUSED, &error), false),
            };
            tokio::select! {
                () = woken, if hurried => {}
                () = tokio::time::sleep(sleep) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One turn: looks at new messages, then queues what is due.
    pub(crate) async fn poll(&self) -> Result<Turn, StoreError> {
        let News { unseen, more } = self.store.news(AT_ONCE).await?;
        let mut turn = Turn { more, next: None };
        for conversation in unseen {
            self.look(conversation).await?;
        }
        self.queue_due(&mut turn).await?;
        Ok(turn)
    }

    /// Looks at all that is new in a conversation that the queue holds back.
    pub(crate) async fn look_at(&self, conversation: &Conversation) -> Result<(), StoreError> {
        while let Some(unseen) = self.store.unseen_of(conversation).await?
            && !unseen.messages.is_empty()
        {
            self.look(unseen).await?;
        }
        Ok(())
    }

    async fn look(&self, unseen: Unseen) -> Result<(), StoreError> {
        let Some(through) = unseen.messages.last().map(|kept| kept.seq) else { return Ok(()) };
        let triggered = self.triggered(&unseen);
        if let Some(triggered) = triggered
            && self.pool.has_room()
            && !self.queue.holds(&unseen.conversation)
        {
            // The claim, which comes at once, writes down in the same transaction what was seen here.
            let seen = Some(Seen { through, triggered });
            let (conversation, group) = (unseen.conversation, unseen.group.name);
            self.queue.push(Waiting::new(conversation, group, seen));
            return Ok(());
        }
        self.store.mark_seen(&unseen.conversation, through, triggered).await
    }

    /// Looks at a message of which it has seen an earlier text.
    pub(crate) async fn look_again(&self, changed: Unseen) -> Result<(), StoreError> {
        match self.triggered(&changed) {
            // How far it has looked stays as it is.
            Some(triggered) => {
                self.store.mark_seen(&changed.conversation, Seq(0), Some(triggered)).await
            }
            None => Ok(()),
        }
    }

    /// The last message that wakes the assistant.
    fn triggered(&self, unseen: &Unseen) -> Option<Seq> {
        let Unseen { conversation, group, woken, messages } = unseen;
        let place = Place::of(conversation, *woken);
        let rule = Rule::new(group, &self.settings.assistant_name, place);
        messages.iter().rev().find(|kept| rule.wakes(kept)).map(|kept| kept.seq)
    }

    async fn queue_due(&self, turn: &mut Turn) -> Result<(), StoreError> {
        let held = self.queue.len() + self.queue.under_way();
        let now = self.clock.now();
        for due in self.store.due(held + AT_ONCE).await? {
            if let Some(at) = due.not_before.filter(|at| *at > now) {
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
                turn.next = Some(turn.next.map_or(wait, |next| next.min(wait)));
                continue;
            }
            let (conversation, group) = (due.conversation, due.group);
            if self.queue.push(Waiting::new(conversation, group, None)) {
                debug!("a conversation is due");
            }
        }
        Ok(())
    }
}

/// What one turn of the router came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// More is there to be looked at.
    pub(crate) more: bool,
    /// When the next conversation may be tried again.
    pub(crate) next: Option<Duration>,
}
