//! Intake: what Slack tells us, read, and kept before it is acked.
//!
//! Each chat has a lane: what is said in it is kept in the order in which it came, however long names take to look
//! up, and after what was missed before. A message comes twice when it mentions the bot, and again when an ack was
//! lost; it is one message, named by its chat and its time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::cache::Cache;
use super::catch_up::Missed;
use super::download;
use super::event::{ChatKind, Envelope, Event, Message, Payload, Speaker};
use super::fault::ApiError;
use super::id::{ConversationId, Ts, UserId};
use super::limit::Haste;
use super::lock::lock;
use super::people;
use super::text::{Readable, Reader};
use super::workspace::Workspace;
use crate::channel::{Found, Intake, Kept, NotKept};
use crate::model::{self, ChatId, Incoming, Sender};

/// How many threads are remembered whose beginnings are kept, and how long.
const MOST_THREADS: usize = 10_000;
const THREADS_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Changes of messages that have not come yet: how many are remembered, and how long. Slack's last attempt to bring a
/// message comes after six minutes.
const MOST_AHEAD: usize = 256;
const AHEAD_FOR: Duration = Duration::from_secs(15 * 60);
/// How many lanes there are before those that nobody is in are cleared away.
const MOST_LANES: usize = 1_000;
/// How many kinds of what means nothing to us, and chats that belong to nobody, are named in the log.
const MOST_ODD: usize = 100;

/// Where a workspace's messages are handed over.
pub(super) struct Inlet<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) intake: &'a dyn Intake,
    /// What was said while we were away, and is still to be fetched.
    pub(super) missed: Mutex<Missed>,
    /// Wakes who fetches it.
    pub(super) away: Notify,
    /// One for each Slack channel that has been heard of lately.
    lanes: Mutex<HashMap<ConversationId, Arc<Lane>>>,
    /// Threads whose beginnings are kept.
    pub(super) threads: Mutex<Cache<(ConversationId, Ts), ()>>,
    /// What became of messages that have not come yet: as they are now, or `None` for deleted.
    ahead: Mutex<Cache<(ConversationId, Ts), Option<Message>>>,
    odd: Mutex<BTreeSet<String>>,
}

/// The turn to keep something in a chat. As long as a part of the chat is fetched beside it, it holds what was changed
/// meanwhile.
pub(super) type Lane = tokio::sync::Mutex<Option<BTreeSet<Ts>>>;

/// How a message came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was said just now.
    Said,
    /// The same, and Slack says that it mentions the bot.
    Mentioned,
    /// It was said while we were away.
    Missed,
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
            ahead: Mutex::new(Cache::new(MOST_AHEAD, AHEAD_FOR)),
            odd: Mutex::default(),
        }
    }

    /// Takes an envelope; tells whether it is done with, so that it may be acked.
    pub(super) async fn accept(&self, envelope: Envelope) -> bool {
        match envelope.payload {
            Payload::Event(event) => match self.event(event).await {
                Ok(()) => return true,
                Err(NotKept { reason }) => {
                    warn!(channel.name = "slack", reason, "not kept, and not acked");
                    return false;
                }
            },
            Payload::Unknown { kind } => self.odd(&kind),
        }
        true
    }

    async fn event(&self, event: Event) -> Result<(), NotKept> {
        match event {
            Event::Said(message) => self.live(&message, Origin::Said).await,
            Event::Mentioned(message) => self.live(&message, Origin::Mentioned).await,
            Event::Edited { message, changed: true } => {
                let lane = self.lane(&message.chat);
                let mut turn = lane.lock().await;
                turn.iter_mut().for_each(|changed| changed.extend([message.ts]));
                self.edited(&message).await
            }
            Event::Deleted { chat, ts } => {
                let lane = self.lane(&chat);
                let mut turn = lane.lock().await;
                turn.iter_mut().for_each(|changed| changed.extend([ts]));
                self.deleted(&chat, ts).await
            }
            Event::Reaction(reaction) => self.reaction(&reaction).await,
            Event::Stopped { user, chat, thread } => {
                self.stopped(user.as_ref(), &chat, thread).await
            }
            Event::Renamed { chat } => {
                self.workspace.directory.forget_chat(&chat);
                Ok(())
            }
            Event::TokensRevoked | Event::AppUninstalled => {
                // Which tokens, the event does not say in a way to rely on: Slack is asked.
                if let Err(error) = self.workspace.identify().await {
                    info!(channel.name = "slack", %error, "tokens were revoked");
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
            Event::Edited { .. } => Ok(()),
        }
    }

    /// Keeps a message that comes in now, after what came before it.
    async fn live(&self, message: &Message, origin: Origin) -> Result<(), NotKept> {
        let lane = self.lane(&message.chat);
        let _turn = lane.lock().await;
        let kept = match self.catch_up(message).await {
            Ok(()) => self.keep(message, origin).await,
            Err(error) => Err(error),
        };
        // Nothing later is kept here before it is.
        kept.map(drop).inspect_err(|_| self.lacks(message))
    }

    /// Leaves an envelope for later, for too many are being kept: it is fetched, whether Slack brings it again or not.
    pub(super) fn passed_over(&self, envelope: &Envelope) {
        if let Payload::Event(Event::Said(message) | Event::Mentioned(message)) = &envelope.payload
        {
            self.lacks(message);
        }
    }

    /// Keeps a message of somebody; its lane is held.
    pub(super) async fn keep(
        &self,
        message: &Message,
        origin: Origin,
    ) -> Result<Option<Kept>, NotKept> {
        let Some(ours) = self.workspace.ours() else { return Ok(None) };
        let Speaker::Person(user) = message.speaker(&ours.me) else { return Ok(None) };
        let Some(chat) = self.workspace.chat(&message.chat) else { return Ok(None) };
        if !self.intake.registered(&chat).await? {
            return self.note(message, &user, &chat).await.map(Some);
        }
        let key = (message.chat.clone(), message.ts);
        let ahead = lock(&self.ahead).get(&key, Instant::now()).cloned();
        let message = match &ahead {
            Some(Some(changed)) => changed,
            Some(None) => return Ok(None),
            None => message,
        };
        self.workspace.directory.spoke(&message.chat, &user);
        let (mut incoming, mentioned) = self.read(message, &user, origin).await.map_err(unread)?;
        let begins = mentioned && origin != Origin::Before && message.is_reply();
        if let (true, Some(root)) = (begins, message.thread) {
            let haste = if origin == Origin::Missed { Haste::AtLeisure } else { Haste::Now };
            self.begin_thread(message, root, haste).await?;
        }
        let conversation = incoming.message.conversation();
        if origin == Origin::Before {
            download::name_all(message, &mut incoming.message.text);
        } else {
            self.fetch(message, &mut incoming.message).await?;
        }
        let kept = self.intake.keep(incoming).await?;
        if origin != Origin::Before && matches!(kept, Kept::Fresh(_)) {
            let thread = conversation.thread.as_ref();
            self.workspace.progress.heard(&message.chat, thread, (message.ts, user));
        }
        debug!(channel.name = "slack", ?kept, "a message");
        Ok(Some(kept))
    }

    /// Notes that there is a chat which belongs to no group: Slack is asked what it is called, and for nothing else.
    async fn note(&self, message: &Message, user: &UserId, chat: &ChatId) -> Result<Kept, NotKept> {
        let name = if message.chat_kind == Some(ChatKind::Direct) {
            self.workspace.person(user).await.ok().flatten().map(|person| person.name)
        } else {
            self.workspace.chat_name(&message.chat).await
        };
        self.intake.note(chat, name, message.ts.time()).await?;
        let mut odd = lock(&self.odd);
        if odd.len() < MOST_ODD && odd.insert(chat.to_string()) {
            info!(
                channel.name = "slack", chat.id = %chat,
                "somebody wrote in a chat that belongs to no group; `hermitcrab group chats` lists it"
            );
        }
        Ok(Kept::Unregistered)
    }

    /// Reads a message of somebody; tells whether it mentions the bot.
    async fn read(
        &self,
        message: &Message,
        user: &UserId,
        origin: Origin,
    ) -> Result<(Incoming, bool), ApiError> {
        let workspace = self.workspace;
        let context = origin == Origin::Before;
        let person = if context {
            // It wakes nobody, so that it does not hold who waits.
            workspace.person(user).await.unwrap_or_default()
        } else {
            workspace.sender(user).await?
        };
        let Readable { text, mentioned } = self.words(message).await?;
        let mentioned = mentioned || origin == Origin::Mentioned;
        let direct = message.chat_kind == Some(ChatKind::Direct);
        let chat = workspace.chat(&message.chat).ok_or_else(|| ApiError::failed("no such chat"))?;
        let name = person.as_ref().map_or_else(|| user.to_string(), |person| person.name.clone());
        let chat_name =
            if direct { Some(name.clone()) } else { workspace.chat_name(&message.chat).await };
        let thread = if context {
            message.thread.or(Some(message.ts))
        } else {
            thread(message, mentioned, direct)
        };
        let message = model::Message {
            chat,
            thread: thread.and_then(|ts| ts.to_string().parse().ok()),
            id: message.ts.to_string().parse().map_err(|_odd| ApiError::failed("no such ts"))?,
            sender: Sender {
                id: user.to_string(),
                name,
                outside: people::is_outside(person.as_ref()),
            },
            text,
            attachments: Vec::new(),
            addressed: (mentioned || direct) && !context,
            sent_at: message.ts.time(),
            from_me: false,
        };
        Ok((Incoming { message, chat_name, context }, mentioned))
    }

    /// What a message says, with names in place of ids.
    pub(super) async fn words(&self, message: &Message) -> Result<Readable, ApiError> {
        let names = self.workspace.names_in(message).await;
        let ours = self.workspace.ours().ok_or_else(|| ApiError::failed("not connected"))?;
        let assistant = &self.workspace.assistant;
        let mut readable = Reader { bot: &ours.me.user, assistant, names: &names }.message(message);
        readable.text = readable.text.trim().to_owned();
        Ok(readable)
    }

    /// Follows a change of a message; its lane is held.
    pub(super) async fn edited(&self, message: &Message) -> Result<(), NotKept> {
        let Some(chat) = self.workspace.chat(&message.chat) else { return Ok(()) };
        let Ok(id) = message.ts.to_string().parse() else { return Ok(()) };
        let Some(kept) = self.intake.find(&chat, &id).await? else {
            if self.intake.registered(&chat).await? {
                let key = (message.chat.clone(), message.ts);
                lock(&self.ahead).put(key, Some(message.clone()), Instant::now());
            }
            return Ok(());
        };
        let mut text = self.words(message).await.map_err(unread)?.text;
        let files = download::name_again(message, &kept, &mut text);
        self.intake.amend(&chat, &id, text, files).await.map(drop)
    }

    /// Follows the deletion of a message; its lane is held.
    pub(super) async fn deleted(&self, channel: &ConversationId, ts: Ts) -> Result<(), NotKept> {
        let Some(chat) = self.workspace.chat(channel) else { return Ok(()) };
        let Ok(id) = ts.to_string().parse() else { return Ok(()) };
        if self.intake.retract(&chat, &id).await? == Found::Unknown {
            lock(&self.ahead).put((channel.clone(), ts), None, Instant::now());
        }
        Ok(())
    }

    /// The lane of a chat.
    pub(super) fn lane(&self, channel: &ConversationId) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        if lanes.len() >= MOST_LANES && !lanes.contains_key(channel) {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        lanes.entry(channel.clone()).or_default().clone()
    }

    /// Notes in the log, once, that something came that means nothing to us.
    pub(super) fn odd(&self, kind: &str) {
        let mut odd = lock(&self.odd);
        if odd.len() < MOST_ODD && odd.insert(kind.to_owned()) {
            info!(channel.name = "slack", kind, "this means nothing to us, and is acked");
        }
    }
}

/// The thread that a message is a part of: its own, where it mentions the bot at the top of a channel.
pub(super) fn thread(message: &Message, mentioned: bool, direct: bool) -> Option<Ts> {
    match message.thread {
        Some(root) if message.is_reply() => Some(root),
        _ => (mentioned && !direct).then_some(message.ts),
    }
}

/// A message that cannot be read now is not kept: Slack brings it again.
pub(super) fn unread(error: ApiError) -> NotKept {
    NotKept { reason: format!("Slack does not say what belongs to it: {error}") }
}
