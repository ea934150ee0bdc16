//! Intake: what Slack tells us, read, and kept before it is acked.
//!
//! Each chat has a lane: what is said in it is kept in the order in which it came, however long names take to look
//! up, and after what was missed before. A message comes twice when it mentions the bot, and again when an ack was
//! lost; it is one message, named by its chat and its time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::cache::Cache;
use super::catch_up::Missed;
use super::event::{ChatKind, Envelope, Event, File, Message, Payload, Speaker};
use super::fault::ApiError;
use super::id::{ConversationId, Ts, UserId};
use super::limit::Haste;
use super::people;
use super::text::{Readable, Reader};
use super::workspace::Workspace;
use crate::channel::{Intake, Kept, NotKept};
use crate::model::{self, Incoming, Sender};

/// How many threads are remembered whose beginnings are kept, and how long.
const MOST_THREADS: usize = 10_000;
const THREADS_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many kinds of what means nothing to us are named in the log.
const MOST_ODD: usize = 100;

/// Where a workspace's messages are handed over.
pub(super) struct Inlet<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) intake: &'a dyn Intake,
    /// What was said while we were away, and is still to be fetched.
    pub(super) missed: Mutex<Missed>,
    /// Wakes who fetches it.
    pub(super) away: Notify,
    /// One for each Slack channel that has been heard of; an app is in no more than it was invited to.
    lanes: Mutex<HashMap<ConversationId, Arc<tokio::sync::Mutex<()>>>>,
    /// Threads whose beginnings are kept.
    threads: Mutex<Cache<(ConversationId, Ts), ()>>,
    odd: Mutex<BTreeSet<String>>,
}

/// How a message came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was said just now, or while we were away.
    Said,
    /// The same, and Slack says that it mentions the bot.
    Mentioned,
    /// It is what a thread began with before the bot was mentioned there: context, meant for nobody now.
    Before,
}

impl<'a> Inlet<'a> {
    /// The inlet of a workspace.
    pub(super) fn new(workspace: &'a Workspace, intake: &'a dyn Intake) -> Self {
        Self {
            workspace,
            intake,
            missed: Mutex::default(),
            away: Notify::new(),
            lanes: Mutex::default(),
            threads: Mutex::new(Cache::new(MOST_THREADS, THREADS_FOR)),
            odd: Mutex::default(),
        }
    }

    /// Takes an envelope; tells whether it is done with, so that it may be acked.
    pub(super) async fn accept(&self, envelope: Envelope) -> bool {
        match envelope.payload {
            Payload::Event(callback) => match self.event(callback.event).await {
                Ok(()) => return true,
                Err(NotKept { reason }) => {
                    warn!(channel.name = "slack", reason, "not kept, and not acked");
                    return false;
                }
            },
            Payload::Click(_) => self.odd("interactive"),
            Payload::SlashCommand(_) => self.odd("slash_commands"),
            Payload::Unknown { kind } => self.odd(&kind),
        }
        true
    }

    async fn event(&self, event: Event) -> Result<(), NotKept> {
        match event {
            Event::Said(message) => self.live(&message, Origin::Said).await,
            Event::Mentioned(message) => self.live(&message, Origin::Mentioned).await,
            Event::Edited { message, reworded: true } => self.edited(&message).await,
            Event::Deleted { chat, ts } => self.deleted(&chat, ts).await,
            Event::Reaction(reaction) => self.reaction(&reaction).await,
            Event::Stopped { chat, thread, .. } => {
                self.cancel(&chat, thread).await;
                Ok(())
            }
            Event::Renamed { chat, .. } => {
                self.workspace.directory.forget_chat(&chat);
                Ok(())
            }
            Event::TokensRevoked | Event::AppUninstalled => {
                // Which tokens, the event does not say in a way to rely on: Slack is asked.
                if let Err(error) = self.workspace.api.read("auth.test", &[], Haste::Now).await {
                    self.workspace.note(&error);
                }
                Ok(())
            }
            Event::Unknown { kind } => {
                self.odd(&kind);
                Ok(())
            }
            Event::Unreadable { kind, lacks } => {
                self.odd(&format!("{kind} without {lacks}"));
                Ok(())
            }
            Event::Edited { .. } | Event::Member { .. } | Event::Archived { .. } => Ok(()),
        }
    }

    /// Keeps a message that comes in now, after what came before it.
    async fn live(&self, message: &Message, origin: Origin) -> Result<(), NotKept> {
        let lane = self.lane(&message.chat);
        let _turn = lane.lock().await;
        self.catch_up(&message.chat).await?;
        self.keep(message, origin).await
    }

    /// Keeps a message of somebody; its lane is held.
    pub(super) async fn keep(&self, message: &Message, origin: Origin) -> Result<(), NotKept> {
        let Some(ours) = self.workspace.ours() else { return Ok(()) };
        let Speaker::Person(user) = message.speaker(&ours.me) else { return Ok(()) };
        let (incoming, mentioned) = self.read(message, &user, origin).await.map_err(unread)?;
        let begins = mentioned && origin != Origin::Before && message.is_reply();
        if let (true, Some(root)) = (begins, message.thread) {
            self.begin_thread(message, root).await?;
        }
        let conversation = incoming.message.conversation();
        let kept = self.intake.keep(incoming).await?;
        if origin != Origin::Before && matches!(kept, Kept::Fresh(_)) {
            let thread = conversation.thread.as_ref();
            self.workspace.progress.heard(&message.chat, thread, (message.ts, user));
        }
        debug!(channel.name = "slack", ?kept, "a message");
        Ok(())
    }

    /// Keeps what was said in a thread before the bot is mentioned there for the first time.
    async fn begin_thread(&self, mention: &Message, root: Ts) -> Result<(), NotKept> {
        let thread = (mention.chat.clone(), root);
        if lock(&self.threads).get(&thread, Instant::now()).is_some() {
            return Ok(());
        }
        match self.thread_until(&mention.chat, root, mention.ts).await {
            Ok(before) => {
                for message in &before {
                    Box::pin(self.keep(message, Origin::Before)).await?;
                }
            }
            Err(ApiError::Refused { code }) => {
                warn!(channel.name = "slack", code, "the beginning of a thread cannot be read");
            }
            Err(error) => return Err(unread(error)),
        }
        lock(&self.threads).put(thread, (), Instant::now());
        Ok(())
    }

    /// Reads a message of somebody; tells whether it mentions the bot.
    async fn read(
        &self,
        message: &Message,
        user: &UserId,
        origin: Origin,
    ) -> Result<(Incoming, bool), ApiError> {
        let workspace = self.workspace;
        let person = workspace.person(user).await?;
        let Readable { text, mentioned } = self.words(message).await?;
        let mentioned = mentioned || origin == Origin::Mentioned;
        let direct = message.chat_kind == Some(ChatKind::Direct);
        let chat = workspace.chat(&message.chat).ok_or_else(|| ApiError::failed("no such chat"))?;
        let name = person.as_ref().map_or_else(|| user.to_string(), |person| person.name.clone());
        let chat_name =
            if direct { Some(name.clone()) } else { workspace.chat_name(&message.chat).await };
        let message = model::Message {
            chat,
            thread: thread(message, mentioned, direct).and_then(|ts| ts.to_string().parse().ok()),
            id: message.ts.to_string().parse().map_err(|_odd| ApiError::failed("no such ts"))?,
            sender: Sender {
                id: user.to_string(),
                name,
                outside: people::is_outside(person.as_ref()),
            },
            text,
            attachments: Vec::new(),
            addressed: (mentioned || direct) && origin != Origin::Before,
            sent_at: message.ts.time(),
            from_me: false,
        };
        Ok((Incoming { message, chat_name }, mentioned))
    }

    /// What a message says, with names in place of ids, and the names of its files.
    async fn words(&self, message: &Message) -> Result<Readable, ApiError> {
        let names = self.workspace.names_in(message).await?;
        let ours = self.workspace.ours().ok_or_else(|| ApiError::failed("not connected"))?;
        let assistant = &self.workspace.assistant;
        let mut readable = Reader { bot: &ours.me.user, assistant, names: &names }.message(message);
        for file in &message.files {
            readable.text.push_str(&format!("\n[file: {}]", describe(file)));
        }
        readable.text = readable.text.trim().to_owned();
        Ok(readable)
    }

    async fn edited(&self, message: &Message) -> Result<(), NotKept> {
        let lane = self.lane(&message.chat);
        let _turn = lane.lock().await;
        let Some(chat) = self.workspace.chat(&message.chat) else { return Ok(()) };
        let Ok(id) = message.ts.to_string().parse() else { return Ok(()) };
        let text = self.words(message).await.map_err(unread)?.text;
        self.intake.amend(&chat, &id, text).await.map(drop)
    }

    async fn deleted(&self, channel: &ConversationId, ts: Ts) -> Result<(), NotKept> {
        let lane = self.lane(channel);
        let _turn = lane.lock().await;
        let Some(chat) = self.workspace.chat(channel) else { return Ok(()) };
        let Ok(id) = ts.to_string().parse() else { return Ok(()) };
        self.intake.retract(&chat, &id).await.map(drop)
    }

    /// The lane of a chat.
    pub(super) fn lane(&self, channel: &ConversationId) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.lanes).entry(channel.clone()).or_default().clone()
    }

    /// Notes in the log, once, that something came that means nothing to us.
    pub(super) fn odd(&self, kind: &str) {
        let mut odd = lock(&self.odd);
        if odd.len() < MOST_ODD && odd.insert(kind.to_owned()) {
            info!(channel.name = "slack", kind, "this means nothing to us, and is acked");
        }
    }
}

/// The thread that a message belongs to: its own, where it mentions the bot at the top of a channel.
fn thread(message: &Message, mentioned: bool, direct: bool) -> Option<Ts> {
    match message.thread {
        Some(root) if message.is_reply() => Some(root),
        _ => (mentioned && !direct).then_some(message.ts),
    }
}

fn describe(file: &File) -> String {
    let kind = file.kind.as_deref().map(|kind| format!(", {kind}")).unwrap_or_default();
    let said = file.transcript.as_deref().map(|said| format!(": {said}")).unwrap_or_default();
    format!("{}{kind}{said}", crate::text::one_line(&file.name, 200))
}

/// A message that cannot be read now is not kept: Slack brings it again.
pub(super) fn unread(error: ApiError) -> NotKept {
    NotKept { reason: format!("Slack does not say what belongs to it: {error}") }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
