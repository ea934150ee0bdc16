//! What every channel must do, as one suite of tests that is run on each of them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};

use super::{
    Channel, ChannelState, Content, Found, Intake, Kept, Mark, NotKept, Parcel, Room, RunEnd,
};
use crate::model::{
    Activity, Attachment, ChannelName, ChatId, Conversation, Incoming, Message, MessageId,
    OutboxId, Seq,
};

/// A channel that runs, with one person who takes part.
#[async_trait]
pub(crate) trait Venue: Sized + Send + Sync {
    /// Brings the channel up; what the person says goes to `intake`.
    async fn open(intake: Arc<RecordingIntake>) -> Self;
    /// The channel.
    fn channel(&self) -> &dyn Channel;
    /// The conversation that the person takes part in.
    fn conversation(&self) -> Conversation;
    /// The name that the platform gives to what the person said as `said`: the same, where the person may choose it.
    fn id_of(&self, said: &str) -> String {
        said.to_owned()
    }
    /// The person says something, and the platform is told what became of it.
    async fn say(&self, id: &str, text: &str) -> Result<Kept, NotKept>;
    /// Waits until the person has been shown `count` messages, and returns them.
    async fn shown(&self, count: usize) -> Vec<String>;
    /// Stops the channel and waits for its end.
    async fn close(self);
}

/// Runs the suite on a [`Venue`].
macro_rules! channel_contract {
    ($venue:ty) => {
        $crate::channel::contract::channel_contract!(
            $venue:
            what_is_said_is_kept_before_that_is_confirmed,
            what_is_not_kept_is_not_confirmed,
            a_redelivery_bears_the_same_id,
            what_is_sent_arrives_once_and_can_be_found,
            messages_arrive_in_the_order_in_which_they_were_sent,
            activity_holds_nobody_up,
            the_state_says_whether_it_runs,
        );
    };
    ($venue:ty: $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::channel::contract::$case::<$venue>().await;
            }
        )+
    };
}
pub(crate) use channel_contract;

/// A parcel with this id and text.
pub(crate) fn parcel(conversation: &Conversation, id: u64, text: &str) -> Parcel {
    Parcel {
        id: OutboxId(id),
        conversation: conversation.clone(),
        content: Content::Text(text.to_owned()),
        begun: None,
        through: Some(Seq(id)),
        ends: Some(RunEnd { through: Seq(id), answered: true }),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

/// What a channel has told of a message that was kept before: its new text, or that it is gone.
pub(crate) type Change = (ChatId, MessageId, Option<String>);

/// An intake that keeps in memory, and can be held up or broken.
#[derive(Debug)]
pub(crate) struct RecordingIntake {
    kept: Mutex<Vec<Incoming>>,
    cancelled: Mutex<Vec<Conversation>>,
    changed: Mutex<Vec<Change>>,
    broken: Mutex<Option<String>>,
    outcome: Mutex<Option<Result<Kept, NotKept>>>,
    entered: Notify,
    open: Semaphore,
}

impl Default for RecordingIntake {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            cancelled: Mutex::default(),
            changed: Mutex::default(),
            broken: Mutex::default(),
            outcome: Mutex::default(),
            entered: Notify::new(),
            open: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl RecordingIntake {
    /// An intake that keeps nothing before [`RecordingIntake::let_through`].
    pub(crate) fn held() -> Arc<Self> {
        Arc::new(Self { open: Semaphore::new(0), ..Self::default() })
    }

    /// Lets one message through.
    pub(crate) fn let_through(&self) {
        self.open.add_permits(1);
    }

    /// From now on, nothing can be kept.
    pub(crate) fn break_down(&self, reason: &str) {
        *self.broken.lock().unwrap() = Some(reason.to_owned());
    }

    /// What became of the last message: not every platform is told more than whether it was kept.
    pub(crate) fn outcome(&self) -> Option<Result<Kept, NotKept>> {
        self.outcome.lock().unwrap().clone()
    }

    /// What was kept.
    pub(crate) fn kept(&self) -> Vec<Incoming> {
        self.kept.lock().unwrap().clone()
    }

    /// What was said to have changed.
    pub(crate) fn changed(&self) -> Vec<Change> {
        self.changed.lock().unwrap().clone()
    }

    fn enter(&self, incoming: Incoming) -> Result<Kept, NotKept> {
        if let Some(reason) = self.broken.lock().unwrap().clone() {
            return Err(NotKept { reason });
        }
        let mut kept = self.kept.lock().unwrap();
        let known = kept.iter().position(|old| {
            old.message.chat == incoming.message.chat && old.message.id == incoming.message.id
        });
        Ok(if let Some(at) = known {
            Kept::Known(Seq(at as u64 + 1))
        } else {
            kept.push(incoming);
            Kept::Fresh(Seq(kept.len() as u64))
        })
    }

    fn change(
        &self,
        chat: &ChatId,
        message: &MessageId,
        text: Option<String>,
    ) -> Result<Found, NotKept> {
        if let Some(reason) = self.broken.lock().unwrap().clone() {
            return Err(NotKept { reason });
        }
        self.changed.lock().unwrap().push((chat.clone(), message.clone(), text));
        let kept = self.kept.lock().unwrap();
        let known = kept.iter().any(|it| it.message.chat == *chat && it.message.id == *message);
        Ok(if known { Found::Kept } else { Found::Unknown })
    }

    /// Which conversations were to be cancelled.
    pub(crate) fn cancelled(&self) -> Vec<Conversation> {
        self.cancelled.lock().unwrap().clone()
    }
}

#[async_trait]
impl Intake for RecordingIntake {
    async fn keep(&self, incoming: Incoming) -> Result<Kept, NotKept> {
        self.entered.notify_one();
        self.open.acquire().await.unwrap().forget();
        let outcome = self.enter(incoming);
        *self.outcome.lock().unwrap() = Some(outcome.clone());
        outcome
    }

    async fn registered(&self, _chat: &ChatId) -> Result<bool, NotKept> {
        Ok(true)
    }

    async fn note(
        &self,
        _chat: &ChatId,
        _name: Option<String>,
        _last: Timestamp,
    ) -> Result<(), NotKept> {
        Ok(())
    }

    async fn receive(&self, _of: &Message, _number: usize, _name: &str) -> Result<Room, NotKept> {
        Ok(Room::Unwanted)
    }

    async fn find(&self, chat: &ChatId, message: &MessageId) -> Result<Option<Message>, NotKept> {
        let kept = self.kept();
        let mut messages = kept.into_iter().map(|incoming| incoming.message);
        Ok(messages.find(|it| it.chat == *chat && it.id == *message))
    }

    async fn amend(
        &self,
        chat: &ChatId,
        message: &MessageId,
        text: String,
        _files: Vec<Attachment>,
    ) -> Result<Found, NotKept> {
        self.change(chat, message, Some(text))
    }

    async fn retract(&self, chat: &ChatId, message: &MessageId) -> Result<Found, NotKept> {
        self.change(chat, message, None)
    }

    async fn marks(
        &self,
        _channel: &ChannelName,
        _one: Option<&ChatId>,
        _since: Timestamp,
    ) -> Result<Vec<Mark>, NotKept> {
        Ok(Vec::new())
    }

    async fn caught_up(&self, _place: &Conversation) -> Result<(), NotKept> {
        Ok(())
    }

    async fn drafted(&self, _place: &Conversation, _message: &MessageId) -> Result<(), NotKept> {
        Ok(())
    }

    async fn settled(&self, _place: &Conversation, _message: &MessageId) -> Result<(), NotKept> {
        Ok(())
    }

    async fn drafts(
        &self,
        _channel: &ChannelName,
    ) -> Result<Vec<(Conversation, MessageId)>, NotKept> {
        Ok(Vec::new())
    }

    async fn cancel(&self, conversation: &Conversation) {
        self.cancelled.lock().unwrap().push(conversation.clone());
    }
}

pub(crate) async fn what_is_said_is_kept_before_that_is_confirmed<V: Venue>() {
    let intake = RecordingIntake::held();
    let venue = V::open(Arc::clone(&intake)).await;
    {
        let mut saying = std::pin::pin!(venue.say("m1", "hello"));
        tokio::select! {
            early = &mut saying => panic!("confirmed before it was kept: {early:?}"),
            () = intake.entered.notified() => {}
        }
        assert!(futures_util::poll!(&mut saying).is_pending());
        intake.let_through();
        assert_eq!(saying.await, Ok(Kept::Fresh(Seq(1))));
    }
    let kept = intake.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].message.conversation(), venue.conversation());
    assert_eq!(kept[0].message.id.as_str(), venue.id_of("m1"));
    assert_eq!(kept[0].message.text, "hello");
    assert!(!kept[0].message.from_me);
    venue.close().await;
}

pub(crate) async fn what_is_not_kept_is_not_confirmed<V: Venue>() {
    let intake = Arc::<RecordingIntake>::default();
    let venue = V::open(Arc::clone(&intake)).await;
    intake.break_down("the disk is full");
    let reason = "the disk is full".to_owned();
    assert_eq!(venue.say("m1", "hello").await, Err(NotKept { reason }));
    venue.close().await;
}

pub(crate) async fn a_redelivery_bears_the_same_id<V: Venue>() {
    let intake = Arc::<RecordingIntake>::default();
    let venue = V::open(Arc::clone(&intake)).await;
    for id in ["m1", "m2", "m1"] {
        assert!(venue.say(id, "hello").await.is_ok());
    }
    let ids: Vec<_> = intake.kept().iter().map(|i| i.message.id.to_string()).collect();
    assert_eq!(ids, ["m1", "m2"].map(|said| venue.id_of(said)));
    venue.close().await;
}

pub(crate) async fn what_is_sent_arrives_once_and_can_be_found<V: Venue>() {
    let venue = V::open(Arc::default()).await;
    let here = venue.conversation();
    let sent = parcel(&here, 1, "hello");
    assert_eq!(venue.channel().find(&sent).await, Ok(None));
    venue.channel().send(&sent).await.unwrap();
    assert_eq!(venue.shown(1).await, ["hello"]);
    assert!(venue.channel().find(&sent).await.unwrap().is_some());
    assert_eq!(venue.channel().find(&parcel(&here, 2, "more")).await, Ok(None));
    venue.close().await;
}

pub(crate) async fn messages_arrive_in_the_order_in_which_they_were_sent<V: Venue>() {
    let venue = V::open(Arc::default()).await;
    let texts: Vec<String> = (1..=20).map(|id| format!("number {id}")).collect();
    for (id, text) in (1..).zip(&texts) {
        venue.channel().send(&parcel(&venue.conversation(), id, text)).await.unwrap();
    }
    assert_eq!(venue.shown(texts.len()).await, texts);
    venue.close().await;
}

pub(crate) async fn activity_holds_nobody_up<V: Venue>() {
    let venue = V::open(Arc::default()).await;
    let here = venue.conversation();
    let elsewhere =
        Conversation { thread: Some("nobody-is-here".parse().unwrap()), ..here.clone() };
    for conversation in [&here, &elsewhere] {
        for _ in 0..1_000 {
            let delta = "x".repeat(1_000);
            venue.channel().show(conversation, &Activity::Text { delta }).await;
        }
        venue.channel().show(conversation, &Activity::Idle).await;
    }
    venue.channel().send(&parcel(&here, 1, "hello")).await.unwrap();
    assert_eq!(venue.shown(1).await, ["hello"]);
    venue.close().await;
}

pub(crate) async fn the_state_says_whether_it_runs<V: Venue>() {
    let venue = V::open(Arc::default()).await;
    // What is said is kept only by a channel that runs.
    assert!(venue.say("m1", "hello").await.is_ok());
    assert!(matches!(venue.channel().state(), ChannelState::Up { .. }));
    let name = venue.conversation().chat.channel().clone();
    assert_eq!(venue.channel().name(), &name);
    venue.close().await;
}
