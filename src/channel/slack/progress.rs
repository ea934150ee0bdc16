//! What people see while the assistant works: a status under the thread, with the tool that is in use.
//!
//! Slack takes a status away after two minutes, or once the bot has posted: it is shown again as long as the work
//! goes on, and taken away when it ends. Where Slack does not take one, a reaction says as much as it can. Nobody
//! waits for any of this. An app that is declared as an agent also tells Slack that it is at work: then people have a
//! Stop button there.

mod sign;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::sign::{Sign, in_words};
use super::cache::Cache;
use super::fault::ApiError;
use super::id::{ConversationId, Ts, UserId};
use super::lock::lock;
use super::workspace::Workspace;
use crate::model::{Activity, ThreadId};

/// The reaction in place of a status.
const REACTION: &str = "eyes";
/// How many conversations it is remembered of what was said there last, and for how long.
const MOST_HEARD: usize = 5_000;
const HEARD_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Where work is shown: a chat, and a thread of it.
type Place = (ConversationId, Option<ThreadId>);

/// The signs of work in a workspace.
pub(super) struct Progress {
    signs: Mutex<HashMap<Place, Sign>>,
    /// What was said last in a conversation, and by whom: what the sign stands under where there is no thread.
    heard: Mutex<Cache<Place, (Ts, UserId)>>,
    news: Notify,
    /// Slack does not take a status from this app.
    only_reactions: AtomicBool,
    /// Slack has no Stop button for this app.
    no_button: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            signs: Mutex::default(),
            heard: Mutex::new(Cache::new(MOST_HEARD, HEARD_FOR)),
            news: Notify::new(),
            only_reactions: AtomicBool::new(false),
            no_button: AtomicBool::new(false),
        }
    }
}

impl Progress {
    /// Notes what was said last in a conversation, and by whom.
    pub(super) fn heard(
        &self,
        channel: &ConversationId,
        thread: Option<&ThreadId>,
        (ts, user): (Ts, UserId),
    ) {
        lock(&self.heard).put((channel.clone(), thread.cloned()), (ts, user), Instant::now());
    }

    /// What was said last in a conversation, and by whom.
    pub(super) fn asked(
        &self,
        channel: &ConversationId,
        thread: Option<&ThreadId>,
    ) -> Option<(Ts, UserId)> {
        let place = (channel.clone(), thread.cloned());
        lock(&self.heard).get(&place, Instant::now()).cloned()
    }

    /// Says what is to be shown in a conversation.
    pub(super) fn wish(
        &self,
        channel: &ConversationId,
        thread: Option<&ThreadId>,
        (activity, seen): (&Activity, bool),
    ) {
        let place = (channel.clone(), thread.cloned());
        let at_work = *activity != Activity::Idle;
        // Where people see the answer itself, nothing need be said of it.
        let wanted = in_words(activity).filter(|_| !seen);
        let heard = lock(&self.heard).get(&place, Instant::now()).map(|(ts, _)| ts.to_string());
        let mut signs = lock(&self.signs);
        if let Some(sign) = signs.get_mut(&place) {
            if let (false, Some(heard)) = (sign.at_work, heard) {
                // What was at work before stood under something else.
                sign.under = thread.map_or_else(|| heard.clone(), |it| it.as_str().to_owned());
                sign.message = heard;
            }
            (sign.wanted, sign.at_work) = (wanted, at_work);
        } else if at_work {
            let under = thread.map(|thread| thread.as_str().to_owned()).or_else(|| heard.clone());
            let Some(under) = under else { return };
            let message = heard.unwrap_or_else(|| under.clone());
            let sign = Sign {
                wanted,
                shown: None,
                under,
                message,
                reacted: false,
                at_work,
                button: false,
            };
            signs.insert(place, sign);
        }
        self.news.notify_one();
    }

    /// Notes that the bot has posted in a thread: Slack has taken the status away there.
    pub(super) fn posted(&self, channel: &ConversationId, thread: Option<&ThreadId>) {
        let place = (channel.clone(), thread.cloned());
        if let (Some(_), Some(sign)) = (thread, lock(&self.signs).get_mut(&place)) {
            sign.shown = None;
            self.news.notify_one();
        }
    }

    /// Notes that Slack takes the work for done, which it is not.
    pub(super) fn paused(&self, channel: &ConversationId, thread: Option<&ThreadId>) {
        if let Some(sign) = lock(&self.signs).get_mut(&(channel.clone(), thread.cloned())) {
            sign.button = false;
            self.news.notify_one();
        }
    }

    /// Shows what is wished, until `stop`; then nothing is shown any more.
    pub(super) async fn run(&self, workspace: &Workspace, stop: &CancellationToken) {
        let work = async {
            loop {
                tokio::select! {
                    () = self.news.notified() => {}
                    () = sleep(workspace.pace.renew / 3) => {}
                }
                self.turn(workspace).await;
                sleep(workspace.pace.change).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
        for sign in lock(&self.signs).values_mut() {
            (sign.wanted, sign.at_work) = (None, false);
        }
        if timeout(workspace.pace.step, self.turn(workspace)).await.is_err() {
            debug!(channel.name = "slack", "a status stays until Slack takes it away");
        }
    }

    /// Changes every sign that is not as it should be, all at once.
    async fn turn(&self, workspace: &Workspace) {
        let now = Instant::now();
        let due: Vec<(Place, Sign)> = {
            let mut signs = lock(&self.signs);
            let buttons = !self.no_button.load(Ordering::Relaxed);
            signs.retain(|_, sign| {
                sign.at_work || (buttons && sign.button) || sign.is_due(now, Duration::MAX)
            });
            let due = signs.iter().filter(|(_, sign)| {
                sign.is_due(now, workspace.pace.renew) || (buttons && sign.at_work != sign.button)
            });
            due.map(|(place, sign)| (place.clone(), sign.clone())).collect()
        };
        let changed = due.into_iter().map(|(place, sign)| async move {
            let button = self.button(workspace, &place.0, &sign).await;
            let due = sign.is_due(now, workspace.pace.renew);
            let after = (sign.shown.clone(), sign.reacted);
            let after = if due { self.change(workspace, &place.0, sign).await } else { after };
            if let Some(sign) = lock(&self.signs).get_mut(&place) {
                (sign.shown, sign.reacted) = after;
                sign.button = button;
            }
        });
        join_all(changed).await;
    }

    /// Puts up the Stop button or takes it down; says whether it is there then. Where many calls were made it waits for
    /// a later turn.
    async fn button(&self, workspace: &Workspace, channel: &ConversationId, sign: &Sign) -> bool {
        let method = "agents.sessions.setStatus";
        let is_due = sign.at_work != sign.button && !self.no_button.load(Ordering::Relaxed);
        if !is_due || workspace.api.left(method) == 0 {
            return sign.button;
        }
        let status = if sign.at_work { "processing" } else { "active" };
        let body =
            json!({ "channel_id": channel.as_str(), "thread_ts": sign.under, "status": status });
        match workspace.api.write(method, &body).await {
            Ok(_) => sign.at_work,
            Err(error @ ApiError::Refused { .. }) => {
                // What this place does not have need not be taken down there.
                if error.is_about_the_app() {
                    debug!(channel.name = "slack", %error, "Slack has no Stop button for this app");
                    self.no_button.store(true, Ordering::Relaxed);
                    return false;
                }
                sign.at_work
            }
            Err(_) => sign.button,
        }
    }

    /// Changes one sign; says what is shown then.
    async fn change(
        &self,
        workspace: &Workspace,
        channel: &ConversationId,
        sign: Sign,
    ) -> (Option<(String, Instant)>, bool) {
        let Sign { wanted, shown, under, message, mut reacted, .. } = sign;
        let text = wanted.unwrap_or_default();
        let status = "assistant.threads.setStatus";
        if !self.only_reactions.load(Ordering::Relaxed) {
            if workspace.api.left(status) == 0 {
                return (shown, reacted);
            }
            let body =
                json!({ "channel_id": channel.as_str(), "thread_ts": under, "status": text });
            match workspace.api.write(status, &body).await {
                Ok(_) if text.is_empty() => return (None, reacted),
                Ok(_) => return (Some((text, Instant::now())), reacted),
                Err(error @ ApiError::Refused { .. }) => {
                    // Anything else is about this place, and not about the app.
                    if error.is_about_the_app() {
                        info!(channel.name = "slack", %error, "Slack takes no status; a reaction is shown");
                        self.only_reactions.store(true, Ordering::Relaxed);
                    }
                }
                // Tried again when it is due again.
                Err(_) if text.is_empty() => return (shown, reacted),
                Err(_) => return (Some((text, Instant::now())), reacted),
            }
        }
        if text.is_empty() == reacted {
            let method = if text.is_empty() { "reactions.remove" } else { "reactions.add" };
            let body =
                json!({ "channel": channel.as_str(), "timestamp": message, "name": REACTION });
            reacted = match workspace.api.write(method, &body).await {
                Ok(_) | Err(ApiError::Refused { .. }) => !text.is_empty(),
                // In doubt it stands there, and is taken away in the end.
                Err(error) => reacted || matches!(error, ApiError::Failed { .. }),
            };
        }
        let shown = (!text.is_empty()).then(|| (text, Instant::now()));
        (shown, reacted)
    }
}
