//! The channel of the benchmark: what is said is handed over in this process, what is answered is counted here.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hermitcrab::channel::{Channel, ChannelState, Intake, Kept, Parcel, SendError};
use hermitcrab::model::{
    Activity, ChannelName, ChatId, Conversation, Incoming, Message, Receipt, Sender,
};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::measure;

/// The name of the channel.
pub(crate) const NAME: &str = "bench";

/// The channel.
pub(crate) struct Line {
    name: ChannelName,
    said: mpsc::UnboundedSender<Job>,
    jobs: Mutex<Option<mpsc::UnboundedReceiver<Job>>>,
    answers: mpsc::UnboundedSender<Parcel>,
}

/// Something to be said, and who waits for the moment at which it was kept.
struct Job {
    incoming: Incoming,
    kept: oneshot::Sender<anyhow::Result<u64>>,
}

impl Line {
    /// A channel, and what is sent through it.
    pub(crate) fn new() -> anyhow::Result<(Arc<Self>, mpsc::UnboundedReceiver<Parcel>)> {
        let (said, jobs) = mpsc::unbounded_channel();
        let (answers, sent) = mpsc::unbounded_channel();
        let jobs = Mutex::new(Some(jobs));
        Ok((Arc::new(Self { name: NAME.parse()?, said, jobs, answers }), sent))
    }

    /// Says something in a chat; returns when it was committed, by [`measure::now`].
    pub(crate) async fn say(&self, chat: &str, id: &str, text: &str) -> anyhow::Result<u64> {
        let message = Message {
            chat: ChatId::new(self.name.clone(), chat)?,
            thread: None,
            id: id.parse()?,
            sender: Sender { id: "ada".to_owned(), name: "Ada".to_owned(), outside: false },
            text: text.to_owned(),
            attachments: Vec::new(),
            addressed: false,
            sent_at: Timestamp::UNIX_EPOCH,
            from_me: false,
        };
        let (kept, committed) = oneshot::channel();
        let incoming = Incoming { message, chat_name: None, context: false };
        self.said.send(Job { incoming, kept }).ok().context("the gateway has stopped")?;
        committed.await?
    }
}

#[async_trait]
impl Channel for Line {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    fn state(&self) -> ChannelState {
        ChannelState::Up { since: Timestamp::UNIX_EPOCH }
    }

    async fn run(&self, intake: &dyn Intake, stop: CancellationToken) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut jobs) = jobs else { return };
        // Many are kept at a time, as by the producers of a busy service.
        let mut keeping = FuturesUnordered::new();
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => keeping.push(keep(intake, job)),
                    None => return,
                },
                Some(()) = keeping.next() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn send(&self, parcel: &Parcel) -> Result<Receipt, SendError> {
        self.answers.send(parcel.clone()).map_err(|_gone| SendError::Absent)?;
        Ok(Receipt { external_id: None })
    }

    async fn find(&self, _parcel: &Parcel) -> Result<Option<Receipt>, SendError> {
        Ok(None)
    }

    async fn show(&self, _conversation: &Conversation, _activity: &Activity) {}
}

/// Has a message kept, and tells when that was.
async fn keep(intake: &dyn Intake, job: Job) {
    let told = match intake.keep(job.incoming).await {
        Ok(Kept::Fresh(_)) => Ok(measure::now()),
        Ok(other) => Err(anyhow!("a new message was {other:?}")),
        Err(error) => Err(error.into()),
    };
    // Who gave up waiting does not want to know.
    job.kept.send(told).ok();
}
