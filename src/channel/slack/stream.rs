//! Answers that grow in their thread while they are written.
//!
//! What is shown on the way is a courtesy; the answer is what comes through the outbox, and there is never more than one
//! message of it. So a message that grows is kept as a draft before it is there: it becomes the first part of the
//! answer, under the answer's id, or it is taken away, by this process or by the next.

mod draft;
mod left;
mod message;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::draft::{Draft, State};
use self::message::{At, Form, Message};
use super::fault::ApiError;
use super::lock::lock;
use super::text::Outgoing;
use super::workspace::Workspace;
use crate::channel::{Intake, NotKept};
use crate::model::{Activity, Conversation, MessageId};

/// How many calls of each method are left for what must be done.
const RESERVE: usize = 4;
/// How many pieces all answers together bring in a minute, two of them no fewer than one alone would: Slack takes a
/// hundred.
const PIECES: u32 = 84;

/// The answers that grow in a workspace.
#[derive(Default)]
pub(super) struct Streams {
    growing: Mutex<HashMap<Conversation, Arc<Growing>>>,
    /// What an earlier process has left, and has to wait: in its conversation there is something else before it.
    left: Mutex<Vec<(Conversation, MessageId)>>,
    /// Drafts that are drafts no longer.
    settled: Mutex<Vec<(Conversation, MessageId)>>,
    news: Notify,
    /// The app may not stream, or the gateway stops: nothing begins.
    closed: AtomicBool,
    /// Nobody waits for a better moment.
    hurried: AtomicBool,
}

/// One answer that grows.
struct Growing {
    draft: Mutex<Draft>,
    /// What stands in Slack. Whoever calls Slack about it holds it.
    message: tokio::sync::Mutex<Message>,
}

impl Streams {
    /// Takes over what an earlier process left half written: it is taken away, unless it became an answer.
    pub(super) fn recall(&self, drafts: &[(Conversation, MessageId)]) {
        lock(&self.left).extend_from_slice(drafts);
        self.take_up(&mut lock(&self.growing));
        self.news.notify_one();
    }

    /// Takes one of what was left in each conversation where there is nothing now.
    fn take_up(&self, growing: &mut HashMap<Conversation, Arc<Growing>>) {
        lock(&self.left).retain(|(conversation, ts)| {
            let is_free = !growing.contains_key(conversation);
            if is_free {
                let left = Growing::new(Message::left(ts.as_str()));
                lock(&left.draft).forsaken = true;
                growing.insert(conversation.clone(), Arc::new(left));
            }
            !is_free
        });
    }

    /// Notes what a run is doing; tells whether people see the text of which this is a piece.
    pub(super) fn hear(&self, conversation: &Conversation, activity: &Activity) -> bool {
        let is_text = matches!(activity, Activity::Text { .. });
        let growing = {
            let mut all = lock(&self.growing);
            let open = is_text && !self.closed.load(Ordering::Relaxed);
            match all.get(conversation) {
                Some(growing) => growing.clone(),
                // An answer grows in a thread only.
                None if open && conversation.thread.is_some() => {
                    let fresh = Arc::new(Growing::new(Message::default()));
                    all.insert(conversation.clone(), fresh.clone());
                    fresh
                }
                None => return false,
            }
        };
        let mut draft = lock(&growing.draft);
        draft.hear(activity);
        self.news.notify_one();
        is_text && draft.is_seen()
    }

    /// Lets answers grow, until `stop`; then none is left half written.
    pub(super) async fn run(
        &self,
        workspace: &Workspace,
        intake: &dyn Intake,
        stop: &CancellationToken,
    ) {
        let work = async {
            while !stop.is_cancelled() {
                // What grows is looked at again by itself: one that has just begun has text waiting.
                let quiet = lock(&self.growing).is_empty();
                let pause = if quiet { workspace.pace.forsaken / 4 } else { workspace.pace.grow };
                tokio::select! {
                    () = self.news.notified() => {}
                    () = sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
                self.turn(workspace, intake).await;
                tokio::select! {
                    () = sleep(workspace.pace.grow) => {}
                    () = stop.cancelled() => {}
                }
            }
        };
        let step = workspace.pace.step;
        tokio::select! {
            () = work => {}
            () = async { stop.cancelled().await; sleep(step).await } => {}
        }
        self.closed.store(true, Ordering::Relaxed);
        self.hurried.store(true, Ordering::Relaxed);
        for growing in lock(&self.growing).values() {
            lock(&growing.draft).forsaken = true;
        }
        let end = async {
            self.turn(workspace, intake).await;
            self.forget(intake).await;
        };
        if timeout(step, end).await.is_err() {
            debug!(channel.name = "slack", "half an answer stays until the next start");
        }
    }

    /// Lets every answer grow that has grown, all at once.
    async fn turn(&self, workspace: &Workspace, intake: &dyn Intake) {
        self.forget(intake).await;
        let all = lock(&self.growing).clone();
        let many = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let pause = workspace.pace.grow.max(workspace.pace.minute / PIECES * many);
        let steps = all.iter().map(|(place, growing)| async move {
            // Whoever holds it is about to finish it.
            let Ok(mut message) = growing.message.try_lock() else { return };
            let at = At { workspace, place };
            if message.may_be_touched() || self.hurried.load(Ordering::Relaxed) {
                self.step(&at, growing, &mut message, intake).await;
                message.rest(pause);
            }
            self.leave(place, growing, &message);
        });
        join_all(steps).await;
    }

    /// Does what is due with one answer.
    async fn step(
        &self,
        at: &At<'_>,
        growing: &Growing,
        message: &mut Message,
        intake: &dyn Intake,
    ) {
        let pace = &at.workspace.pace;
        let (state, text) = {
            let draft = lock(&growing.draft);
            let channel = at.workspace.channel_of(&at.place.chat);
            let directory = &at.workspace.directory;
            let may_ping = |user: &_| {
                channel.as_ref().is_some_and(|channel| directory.may_ping(channel, user))
            };
            (draft.state(pace.forsaken), draft.shown(&may_ping))
        };
        let done = match state {
            State::Forsaken => self.away(at, message).await,
            State::Ended if message.form == Form::Nothing => {
                message.form = Form::Over;
                Ok(())
            }
            // Its answer is on the way.
            State::Ended => Ok(()),
            State::Written if message.form == Form::Nothing => {
                if text.is_empty() || !self.has_room(at) {
                    return;
                }
                self.begin(at, growing, message, intake).await
            }
            State::Written => message.grow(at, &text).await,
        };
        let Err(error) = done else { return };
        debug!(channel.name = "slack", %error, "an answer does not grow now");
        at.workspace.note(&error);
        match (&error, message.form) {
            (ApiError::Limited { after }, _) => message.rest(*after),
            (_, Form::Nothing | Form::Lost) => {
                // Whether an empty message stands there now, is looked up at the end; there is no second one.
                lock(&growing.draft).decline();
                if error.is_about_the_app() {
                    info!(channel.name = "slack", %error, "answers are not shown as they grow");
                    self.closed.store(true, Ordering::Relaxed);
                }
            }
            _ => message.rest(at.workspace.pace.wait(3)),
        }
    }

    /// Begins a message, which is kept as a draft before Slack is asked for it, and again under its name.
    async fn begin(
        &self,
        at: &At<'_>,
        growing: &Growing,
        message: &mut Message,
        intake: &dyn Intake,
    ) -> Result<(), ApiError> {
        message.announce(at)?;
        if self.kept(at, growing, message, intake).await {
            let begun = message.begin(at).await;
            if message.form == Form::Nothing {
                self.settle(at.place, message);
            }
            begun?;
            if self.kept(at, growing, message, intake).await {
                lock(&growing.draft).show();
            }
        }
        Ok(())
    }

    /// Keeps a draft; one that is not kept is forsaken.
    async fn kept(
        &self,
        at: &At<'_>,
        growing: &Growing,
        message: &Message,
        intake: &dyn Intake,
    ) -> bool {
        let Ok(id) = message.ts.parse() else { return true };
        let kept = intake.drafted(at.place, &id).await;
        if let Err(NotKept { reason }) = &kept {
            warn!(channel.name = "slack", reason, "a draft is not kept");
            lock(&growing.draft).forsaken = true;
        }
        kept.is_ok()
    }

    /// Whether one more may begin: its end must be as sure as its beginning.
    fn has_room(&self, at: &At<'_>) -> bool {
        let open = lock(&self.growing).len();
        let api = &at.workspace.api;
        !self.closed.load(Ordering::Relaxed)
            && api.left("chat.startStream") > RESERVE
            && api.left("chat.stopStream") > RESERVE + open
    }

    /// Makes what has grown the first part of its answer, and tells its `ts`; `None` where there is nothing to be used,
    /// and nothing left of it: then the part is to be posted.
    ///
    /// # Errors
    /// When Slack does not do it now; what has grown stays for the next attempt.
    pub(super) async fn finish(
        &self,
        (workspace, place): (&Workspace, &Conversation),
        part: Option<&Outgoing>,
        metadata: &Value,
    ) -> Result<Option<String>, ApiError> {
        let Some(growing) = lock(&self.growing).get(place).cloned() else { return Ok(None) };
        let mut message = growing.message.lock().await;
        let at = At { workspace, place };
        let part = part.filter(|_| !lock(&growing.draft).forsaken);
        if let Some(part) = part
            && message.form != Form::Nothing
            && message.finish(&at, part, metadata).await?
        {
            self.became(place, &growing, &mut message);
            return Ok(Some(message.ts.clone()));
        }
        let gone = self.away(&at, &mut message).await;
        self.leave(place, &growing, &message);
        gone.map(|()| None)
    }

    /// Notes that a message has become a part of an answer, whoever was told so.
    pub(super) async fn found(&self, place: &Conversation, ts: &str) {
        let Some(growing) = lock(&self.growing).get(place).cloned() else { return };
        let mut message = growing.message.lock().await;
        if message.ts == ts {
            self.became(place, &growing, &mut message);
        }
    }

    /// Notes that a message is an answer now.
    fn became(&self, place: &Conversation, growing: &Arc<Growing>, message: &mut Message) {
        self.settle(place, message);
        message.form = Form::Over;
        self.leave(place, growing, message);
    }

    /// Takes away what has grown, unless it became an answer.
    async fn away(&self, at: &At<'_>, message: &mut Message) -> Result<(), ApiError> {
        message.remove(at).await?;
        self.settle(at.place, message);
        Ok(())
    }

    fn settle(&self, place: &Conversation, message: &Message) {
        if let Ok(id) = message.ts.parse() {
            lock(&self.settled).push((place.clone(), id));
            self.news.notify_one();
        }
    }

    /// Forgets what is over.
    fn leave(&self, place: &Conversation, growing: &Arc<Growing>, message: &Message) {
        let mut all = lock(&self.growing);
        if message.form == Form::Over && all.get(place).is_some_and(|it| Arc::ptr_eq(it, growing)) {
            all.remove(place);
            self.take_up(&mut all);
        }
    }

    async fn forget(&self, intake: &dyn Intake) {
        let settled = std::mem::take(&mut *lock(&self.settled));
        for (place, id) in settled {
            // What is not forgotten now is looked at once more at the next start.
            if let Err(NotKept { reason }) = intake.settled(&place, &id).await {
                debug!(channel.name = "slack", reason, "a draft is not forgotten");
            }
        }
    }
}

impl Growing {
    fn new(message: Message) -> Self {
        Self { draft: Mutex::default(), message: tokio::sync::Mutex::new(message) }
    }
}
