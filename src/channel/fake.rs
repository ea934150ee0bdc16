//! A channel that exists in memory only, for tests: people speak when the test says so, and what is sent to them
//! is kept, or goes wrong as the test has announced.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Channel, ChannelState, Found, Intake, Kept, NotKept, Parcel, SendError};
use crate::model::{
    Activity, ChannelName, ChatId, Conversation, Incoming, Message, MessageId, Receipt, Sender,
};

/// What goes wrong with a message on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// Nobody is there.
    Absent,
    /// It is not taken now.
    Later,
    /// The connection breaks after it has arrived.
    DoubtfulArrived,
    /// The connection breaks before it has arrived.
    DoubtfulLost,
    /// It will never be taken.
    Refused,
    /// It hangs until [`FakeChannel::release`], and then arrives.
    Hang,
}

/// The stand-in for a messaging service.
#[derive(Debug)]
pub struct FakeChannel {
    name: ChannelName,
    service: Mutex<Service>,
    /// How many messages have arrived.
    count: watch::Sender<usize>,
    release: Notify,
    calls: mpsc::Sender<Call>,
    /// Taken by the first [`Channel::run`].
    line: Mutex<Option<mpsc::Receiver<Call>>>,
}

#[derive(Debug, Default)]
struct Service {
    chats: HashSet<ChatId>,
    mishaps: VecDeque<Mishap>,
    arrived: Vec<Parcel>,
    shown: Vec<(Conversation, Activity)>,
    up: bool,
}

#[derive(Debug)]
enum Call {
    Say(Box<Incoming>, oneshot::Sender<Result<Kept, NotKept>>),
    Change(ChatId, MessageId, Option<String>, oneshot::Sender<Result<Found, NotKept>>),
    Cancel(Conversation, oneshot::Sender<()>),
}

impl FakeChannel {
    /// A service without chats.
    #[must_use]
    pub fn new(name: ChannelName) -> Arc<Self> {
        let (calls, line) = mpsc::channel(64);
        Arc::new(Self {
            name,
            service: Mutex::default(),
            count: watch::Sender::new(0),
            release: Notify::new(),
            calls,
            line: Mutex::new(Some(line)),
        })
    }

    /// Lets a chat exist; what is sent to any other is refused.
    pub fn announce(&self, chat: &ChatId) {
        self.service().chats.insert(chat.clone());
    }

    /// Lets the next message that has no mishap yet go wrong.
    pub fn script(&self, mishap: Mishap) {
        self.service().mishaps.push_back(mishap);
    }

    /// Lets what hangs arrive.
    pub fn release(&self) {
        self.release.notify_one();
    }

    /// Somebody says something; returns what the service was told about it, once the channel runs.
    ///
    /// # Errors
    /// When it could not be kept.
    pub async fn say(&self, chat: &ChatId, id: &str, text: &str) -> Result<Kept, NotKept> {
        let id: MessageId = id.parse().map_err(|_invalid| gone("has no such message id"))?;
        let message = Message {
            chat: chat.clone(),
            thread: None,
            id,
            sender: Sender { id: "U1".to_owned(), name: "Ada".to_owned(), outside: false },
            text: text.to_owned(),
            attachments: Vec::new(),
            addressed: false,
            sent_at: Timestamp::UNIX_EPOCH,
            from_me: false,
        };
        self.hand_over(message).await
    }

    /// The same with a message of any kind.
    ///
    /// # Errors
    /// When it could not be kept.
    pub async fn hand_over(&self, message: Message) -> Result<Kept, NotKept> {
        let (tell, told) = oneshot::channel();
        let incoming = Box::new(Incoming { message, chat_name: None, context: false });
        self.calls.send(Call::Say(incoming, tell)).await.map_err(|_closed| gone("has stopped"))?;
        told.await.map_err(|_closed| gone("stopped before it was kept"))?
    }

    /// Somebody gives a message another text, or deletes it.
    ///
    /// # Errors
    /// When that could not be kept.
    pub async fn change(
        &self,
        chat: &ChatId,
        id: &MessageId,
        text: Option<&str>,
    ) -> Result<Found, NotKept> {
        let (tell, told) = oneshot::channel();
        let call = Call::Change(chat.clone(), id.clone(), text.map(str::to_owned), tell);
        self.calls.send(call).await.map_err(|_closed| gone("has stopped"))?;
        told.await.map_err(|_closed| gone("stopped before it was kept"))?
    }

    /// Somebody asks for the end of the run of a conversation.
    pub async fn cancel(&self, conversation: &Conversation) {
        let (tell, told) = oneshot::channel();
        let call = Call::Cancel(conversation.clone(), tell);
        if self.calls.send(call).await.is_ok() && told.await.is_err() {
            tracing::debug!("the channel stopped before the run was cancelled");
        }
    }

    /// What has arrived, in order, each as often as it was sent.
    #[must_use]
    pub fn arrived(&self) -> Vec<Parcel> {
        self.service().arrived.clone()
    }

    /// Waits until `count` messages have arrived, and returns them.
    pub async fn arrivals(&self, count: usize) -> Vec<Parcel> {
        let mut counted = self.count.subscribe();
        // The sender lives as long as this channel does, so waiting cannot fail.
        if counted.wait_for(|arrived| *arrived >= count).await.is_err() {
            tracing::debug!("the channel is gone");
        }
        self.arrived()
    }

    /// What has been shown of the assistant's activity.
    #[must_use]
    pub fn shown(&self) -> Vec<(Conversation, Activity)> {
        self.service().shown.clone()
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, parcel: &Parcel) -> Receipt {
        self.service().arrived.push(parcel.clone());
        self.count.send_modify(|count| *count += 1);
        receipt(parcel)
    }
}

fn gone(what: &str) -> NotKept {
    NotKept { reason: format!("the channel {what}") }
}

fn receipt(parcel: &Parcel) -> Receipt {
    Receipt { external_id: Some(format!("fake-{}", parcel.id)) }
}

#[async_trait]
impl Channel for FakeChannel {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    fn state(&self) -> ChannelState {
        if self.service().up {
            ChannelState::Up { since: Timestamp::UNIX_EPOCH }
        } else {
            ChannelState::Connecting
        }
    }

    async fn run(&self, intake: &dyn Intake, stop: CancellationToken) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut line) = line else { return stop.cancelled().await };
        self.service().up = true;
        loop {
            let call = tokio::select! {
                () = stop.cancelled() => break,
                Some(call) = line.recv() => call,
            };
            let heard = match call {
                Call::Say(incoming, tell) => tell.send(intake.keep(*incoming).await).is_ok(),
                Call::Change(chat, id, Some(text), tell) => {
                    tell.send(intake.amend(&chat, &id, text, Vec::new()).await).is_ok()
                }
                Call::Change(chat, id, None, tell) => {
                    tell.send(intake.retract(&chat, &id).await).is_ok()
                }
                Call::Cancel(conversation, tell) => {
                    intake.cancel(&conversation).await;
                    tell.send(()).is_ok()
                }
            };
            if !heard {
                tracing::debug!("whoever spoke did not wait for an answer");
            }
        }
        self.service().up = false;
    }

    async fn send(&self, parcel: &Parcel) -> Result<Receipt, SendError> {
        let mishap = {
            let mut service = self.service();
            if !service.chats.contains(&parcel.conversation.chat) {
                let reason = format!("the test announced no chat {}", parcel.conversation.chat);
                return Err(SendError::Refused { reason, for_chat: None });
            }
            service.mishaps.pop_front()
        };
        let reason = || "the test says so".to_owned();
        match mishap {
            None => Ok(self.arrive(parcel)),
            Some(Mishap::Absent) => Err(SendError::Absent),
            Some(Mishap::Later) => Err(SendError::Later { reason: reason(), retry_at: None }),
            Some(Mishap::Refused) => Err(SendError::Refused { reason: reason(), for_chat: None }),
            Some(Mishap::DoubtfulLost) => {
                Err(SendError::Doubtful { reason: reason(), retry_at: None })
            }
            Some(Mishap::DoubtfulArrived) => {
                self.arrive(parcel);
                Err(SendError::Doubtful { reason: reason(), retry_at: None })
            }
            Some(Mishap::Hang) => {
                self.release.notified().await;
                Ok(self.arrive(parcel))
            }
        }
    }

    async fn find(&self, parcel: &Parcel) -> Result<Option<Receipt>, SendError> {
        let arrived = self.service().arrived.iter().any(|other| other.id == parcel.id);
        Ok(arrived.then(|| receipt(parcel)))
    }

    async fn show(&self, conversation: &Conversation, activity: &Activity) {
        self.service().shown.push((conversation.clone(), activity.clone()));
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::channel::contract::{RecordingIntake, Venue, channel_contract, parcel};

    struct Memory {
        channel: Arc<FakeChannel>,
        chat: ChatId,
        stop: CancellationToken,
        running: JoinSet<()>,
    }

    #[async_trait]
    impl Venue for Memory {
        async fn open(intake: Arc<RecordingIntake>) -> Self {
            let channel = FakeChannel::new("fake".parse().unwrap());
            let chat: ChatId = "fake:room".parse().unwrap();
            channel.announce(&chat);
            let stop = CancellationToken::new();
            let mut running = JoinSet::new();
            let (runs, token) = (Arc::clone(&channel), stop.clone());
            running.spawn(async move { runs.run(&*intake, token).await });
            Self { channel, chat, stop, running }
        }

        fn channel(&self) -> &dyn Channel {
            &*self.channel
        }

        fn conversation(&self) -> Conversation {
            Conversation { chat: self.chat.clone(), thread: None }
        }

        async fn say(&self, id: &str, text: &str) -> Result<Kept, NotKept> {
            self.channel.say(&self.chat, id, text).await
        }

        async fn shown(&self, count: usize) -> Vec<String> {
            let arrived = self.channel.arrivals(count).await;
            arrived.into_iter().map(|parcel| parcel.content.to_string()).collect()
        }

        async fn close(mut self) {
            self.stop.cancel();
            self.running.join_next().await.unwrap().unwrap();
        }
    }

    channel_contract!(Memory);

    #[tokio::test]
    async fn things_go_wrong_as_announced_and_in_that_order() {
        let venue = Memory::open(Arc::default()).await;
        for mishap in [Mishap::Later, Mishap::DoubtfulArrived, Mishap::DoubtfulLost] {
            venue.channel.script(mishap);
        }
        let first = parcel(&venue.conversation(), 1, "one");
        let second = parcel(&venue.conversation(), 2, "two");
        assert!(matches!(venue.channel.send(&first).await, Err(SendError::Later { .. })));
        assert!(matches!(venue.channel.send(&first).await, Err(SendError::Doubtful { .. })));
        assert!(venue.channel.find(&first).await.unwrap().is_some());
        assert!(matches!(venue.channel.send(&second).await, Err(SendError::Doubtful { .. })));
        assert_eq!(venue.channel.find(&second).await.unwrap(), None);
        assert_eq!(venue.channel.arrived(), [first]);
        venue.close().await;
    }

    #[tokio::test]
    async fn what_changes_is_told_and_what_is_not_kept_is_not_confirmed() {
        let intake = Arc::<RecordingIntake>::default();
        let venue = Memory::open(Arc::clone(&intake)).await;
        let (chat, id) = (&venue.chat, "m1".parse::<MessageId>().unwrap());
        assert_eq!(venue.channel.change(chat, &id, None).await, Ok(Found::Unknown));
        assert!(venue.say("m1", "hello").await.is_ok());
        assert_eq!(venue.channel.change(chat, &id, Some("hallo")).await, Ok(Found::Kept));
        assert_eq!(
            intake.changed(),
            [(chat.clone(), id.clone(), None), (chat.clone(), id.clone(), Some("hallo".into()))]
        );
        intake.break_down("the disk is full");
        assert!(venue.channel.change(chat, &id, None).await.is_err());
        venue.close().await;
    }

    #[tokio::test]
    async fn a_chat_that_was_not_announced_is_refused() {
        let channel = FakeChannel::new("fake".parse().unwrap());
        let nowhere = Conversation { chat: "fake:elsewhere".parse().unwrap(), thread: None };
        let sent = channel.send(&parcel(&nowhere, 1, "hello")).await;
        assert!(matches!(sent, Err(SendError::Refused { .. })), "{sent:?}");
    }
}
