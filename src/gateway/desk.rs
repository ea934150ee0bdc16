//! The desk: where channels hand messages over, and where those who ask about the gateway are answered.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tracing::warn;

use crate::broker::Broker;
use crate::channel::terminal::{self, wire::WelcomeInfo};
use crate::channel::{Intake, Kept, NotKept, Room};
use crate::config::Settings;
use crate::failpoint::fail_point;
use crate::model::{
    Activity, Attachment, ChannelName, ChatId, Conversation, Found, GroupName, Incoming, Mark,
    Message, MessageId,
};
use crate::queue::{Hold, Queue, Stopping};
use crate::router::Router;
use crate::run::{Given, Runs};
use crate::store::{Store, StoreError, Unseen};
use crate::trigger::{Place, Rule, Trigger};

use super::arrivals::{self, Books, Sink};
use super::report;

/// Takes messages in and answers questions about the gateway.
pub(super) struct Desk {
    settings: Arc<Settings>,
    store: Store,
    broker: Broker,
    router: Arc<Notify>,
    books: Books,
    staff: Mutex<Option<Staff>>,
}

/// Those that the desk asks; they are built after it.
#[derive(Clone)]
struct Staff {
    queue: Arc<Queue>,
    router: Arc<Router>,
    runs: Arc<Runs>,
}

impl Desk {
    /// A desk in front of this store; `router` is told of every message.
    pub(super) fn new(
        settings: Arc<Settings>,
        store: Store,
        broker: Broker,
        router: Arc<Notify>,
    ) -> Arc<Self> {
        let books = Books::default();
        Arc::new(Self { settings, store, broker, router, books, staff: Mutex::new(None) })
    }

    /// What it has put into the folders of groups.
    pub(super) fn given(&self) -> Given {
        self.books.given.clone()
    }

    /// Tells the desk whom to ask about messages, the queue and the runs.
    pub(super) fn employ(&self, queue: Arc<Queue>, router: Arc<Router>, runs: Arc<Runs>) {
        let staff = Staff { queue, router, runs };
        *self.staff.lock().unwrap_or_else(PoisonError::into_inner) = Some(staff);
    }

    /// Lets them go at the end: they know the channels, which know the desk.
    pub(super) fn close(&self) {
        *self.staff.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes the files of a message but these, wherever its chat has gone since: before the message forgets where they
    /// lie.
    async fn remove_files(
        &self,
        chat: &ChatId,
        message: &MessageId,
        but: &[Attachment],
    ) -> Result<(), NotKept> {
        let kept = self.store.message(chat, message).await.map_err(not_kept)?;
        let mut files = kept.map(|kept| kept.message.attachments).unwrap_or_default();
        files.retain(|file| !but.contains(file));
        if !files.is_empty() {
            let group = self.store.group_of(chat).await.map_err(not_kept)?;
            let group = group.map(|group| group.name);
            arrivals::remove(&self.settings.groups_dir(), group.as_ref(), &files);
        }
        Ok(())
    }

    /// Has the router look at a message of which it may have seen less than is known now.
    async fn look_again(&self, changed: Option<Unseen>) -> Result<(), NotKept> {
        let Some(changed) = changed else { return Ok(()) };
        let staff = self.staff().ok_or_else(|| not_kept(StoreError::Closed))?;
        staff.router.look_again(changed).await.map_err(not_kept)
    }

    fn staff(&self) -> Option<Staff> {
        self.staff.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Intake for Desk {
    async fn keep(&self, incoming: Incoming) -> Result<Kept, NotKept> {
        fail_point!("intake.received");
        let (kept, unseen) = self.store.keep(incoming).await.map_err(not_kept)?;
        fail_point!("intake.kept");
        self.look_again(unseen).await?;
        self.router.notify_one();
        Ok(kept)
    }

    async fn registered(&self, chat: &ChatId) -> Result<bool, NotKept> {
        Ok(self.store.group_of(chat).await.map_err(not_kept)?.is_some())
    }

    async fn note(
        &self,
        chat: &ChatId,
        name: Option<String>,
        last: Timestamp,
    ) -> Result<(), NotKept> {
        self.store.note(chat, name, last).await.map_err(not_kept)
    }

    async fn receive(&self, of: &Message, number: usize, name: &str) -> Result<Room, NotKept> {
        let group = self.store.group_of(&of.chat).await.map_err(not_kept)?;
        let kept = self.store.message(&of.chat, &of.id).await.map_err(not_kept)?;
        // What was kept as context was kept without its files.
        let Some(group) = group.filter(|_| kept.is_none_or(|kept| kept.context)) else {
            return Ok(Room::Unwanted);
        };
        if !group.may_ask(of) {
            return Ok(Room::Refused("whoever sent it may not ask the assistant".to_owned()));
        }
        let name = arrivals::file_name(&of.chat, &of.id, number, name);
        let (groups, books) = (self.settings.groups_dir(), self.books.clone());
        Ok(Room::Here(Box::new(Sink::new(groups, group.name, books, name))))
    }

    async fn find(&self, chat: &ChatId, message: &MessageId) -> Result<Option<Message>, NotKept> {
        let kept = self.store.message(chat, message).await.map_err(not_kept)?;
        Ok(kept.map(|kept| kept.message))
    }

    async fn amend(
        &self,
        chat: &ChatId,
        message: &MessageId,
        text: String,
        files: Vec<Attachment>,
    ) -> Result<Found, NotKept> {
        self.remove_files(chat, message, &files).await?;
        let amended = self.store.amend(chat, message, text, files).await;
        let (found, unseen) = amended.map_err(not_kept)?;
        self.look_again(unseen).await?;
        self.router.notify_one();
        Ok(found)
    }

    async fn retract(&self, chat: &ChatId, message: &MessageId) -> Result<Found, NotKept> {
        self.remove_files(chat, message, &[]).await?;
        let found = self.store.retract(chat, message).await.map_err(not_kept)?;
        self.router.notify_one();
        Ok(found)
    }

    async fn marks(
        &self,
        channel: &ChannelName,
        one: Option<&ChatId>,
        threads_since: Timestamp,
    ) -> Result<Vec<Mark>, NotKept> {
        self.store.marks(channel, one, threads_since).await.map_err(not_kept)
    }

    async fn caught_up(&self, place: &Conversation) -> Result<(), NotKept> {
        self.store.caught_up(place).await.map_err(not_kept)
    }

    async fn drafted(&self, place: &Conversation, message: &MessageId) -> Result<(), NotKept> {
        self.store.drafted(place, message).await.map_err(not_kept)
    }

    async fn settled(&self, place: &Conversation, message: &MessageId) -> Result<(), NotKept> {
        self.store.settled(place, message).await.map_err(not_kept)
    }

    async fn drafts(
        &self,
        channel: &ChannelName,
    ) -> Result<Vec<(Conversation, MessageId)>, NotKept> {
        self.store.drafts(channel).await.map_err(not_kept)
    }

    async fn cancel(&self, conversation: &Conversation) {
        let Some(staff) = self.staff() else { return };
        let Stopping::Nothing(hold) = staff.queue.stop(conversation) else { return };
        let wish = give_up(staff.clone(), self.router.clone(), hold);
        // Carried out also when whoever wished it leaves meanwhile.
        if let Err(error) = staff.runs.opener.tasks.spawn(wish).await {
            warn!(%error, chat.id = %conversation.chat, "a wish to stop was not carried out");
        }
    }
}

#[async_trait]
impl terminal::Desk for Desk {
    async fn welcome(&self, group: &GroupName) -> Option<WelcomeInfo> {
        let group = self.store.group(group).await.ok().flatten()?;
        let state = self.staff()?.runs.supply.state();
        Some(WelcomeInfo {
            assistant: self.settings.assistant_name.clone(),
            needs_trigger: group.needs_trigger(),
            trigger: Trigger::of(&group, &self.settings.assistant_name).to_string(),
            sandbox: state.line().0,
            sandbox_problem: state.problem().map(str::to_owned),
        })
    }

    async fn addressed(&self, conversation: &Conversation, text: &str) -> bool {
        let (Ok(Some(group)), Ok(woken)) =
            (self.store.group_of(&conversation.chat).await, self.store.woken(conversation).await)
        else {
            return false;
        };
        let place = Place::of(conversation, woken);
        Rule::new(&group, &self.settings.assistant_name, place).calls(text)
    }

    async fn status(&self) -> Value {
        let Some(staff) = self.staff() else { return Value::Null };
        let state = staff.runs.supply.state();
        let (line, ready) = state.line();
        let runs: Vec<Value> = staff
            .runs
            .active
            .list()
            .into_iter()
            .map(|run| {
                json!({
                    "id": run.id.0,
                    "conversation": run.conversation.to_string(),
                    "seconds": run.since.elapsed().as_secs(),
                })
            })
            .collect();
        json!({
            "channels": report::channels(&staff.runs.channels),
            "sandbox": { "ready": ready, "line": line, "problem": state.problem(), "weaknesses": state.weaknesses() },
            "broker": self.broker.state().to_json(),
            "runs": runs,
            "queued": staff.queue.len(),
            "queue": report::queue(&staff.queue),
            "warm": staff.runs.shelf.warm_count(),
            "stuck": staff.runs.opener.reaper.troubles(),
            "disk_full": self.store.is_full(),
        })
    }
}

/// What the store says, for the person who wrote the message.
fn not_kept(error: StoreError) -> NotKept {
    let reason = match error {
        StoreError::DiskFull => "the disk of the gateway is full",
        _ => "the gateway's store does not take it now",
    };
    NotKept { reason: reason.to_owned() }
}

/// Gives up what waits in a conversation that is held, in the queue or for another attempt, also when the router has not
/// looked at it yet or has not written down what it saw.
async fn give_up(staff: Staff, router: Arc<Notify>, hold: Hold) {
    let conversation = hold.conversation().clone();
    let mut held = Some(hold);
    while let Some(hold) = held {
        let given_up = match staff.router.look_at(hold.conversation()).await {
            Ok(()) => staff.runs.give_up_waiting(hold.conversation()).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = given_up {
            warn!(%error, chat.id = %hold.conversation().chat, "what waits could not be given up");
        }
        // Somebody may have wished it again, of what has come since.
        held = hold.let_go();
    }
    // It was said that it waits.
    staff.runs.channels.show(&conversation, &Activity::Idle).await;
    router.notify_one();
}
