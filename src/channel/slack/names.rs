//! Who people are and what chats are called: asked of Slack once in a while, and remembered.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::warn;

use super::cache::Cache;
use super::event::Message;
use super::fault::ApiError;
use super::id::{ConversationId, UserId};
use super::json::word;
use super::lock::lock;
use super::people::{self, People, Person};
use super::text::{Named, Names, named};
use super::workspace::Workspace;

/// How many chats are remembered.
const MOST_CHATS: usize = 5_000;
/// How long a chat may be called as it was.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);
/// How many of those are remembered who have spoken in a chat, and how long.
const MOST_SPOKEN: usize = 10_000;
const SPOKEN_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long somebody counts as what Slack said of them last, while it says nothing.
const GOOD_AT_NEED: Duration = Duration::from_secs(60 * 60);
/// How often a message is held because Slack does not say who wrote it; then its writer counts as one from outside.
const HOLDS: u32 = 3;
/// How many are remembered of whom Slack does not say who they are.
const MOST_DOUBTS: usize = 1_000;

/// What is remembered of a workspace.
pub(super) struct Directory {
    people: Mutex<People>,
    chats: Mutex<Cache<ConversationId, Option<String>>>,
    /// Who has spoken, and where.
    spoken: Mutex<Cache<(ConversationId, UserId), ()>>,
    /// How often Slack did not say who somebody is.
    doubts: Mutex<Cache<UserId, u32>>,
}

/// The names that one message needs.
#[derive(Debug, Default)]
pub(super) struct Known {
    users: HashMap<UserId, String>,
    chats: HashMap<ConversationId, String>,
}

impl Names for Known {
    fn user(&self, id: &UserId) -> Option<String> {
        self.users.get(id).cloned()
    }

    fn chat(&self, id: &ConversationId) -> Option<String> {
        self.chats.get(id).cloned()
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            people: Mutex::new(people::nobody()),
            chats: Mutex::new(Cache::new(MOST_CHATS, GOOD_FOR)),
            spoken: Mutex::new(Cache::new(MOST_SPOKEN, SPOKEN_FOR)),
            doubts: Mutex::new(Cache::new(MOST_DOUBTS, GOOD_FOR)),
        }
    }
}

impl Directory {
    /// Notes that somebody has spoken in a chat.
    pub(super) fn spoke(&self, chat: &ConversationId, user: &UserId) {
        lock(&self.spoken).put((chat.clone(), user.clone()), (), Instant::now());
    }

    /// Whether somebody may be pinged in a chat: only those who have spoken there of late, for the text of an answer is
    /// nobody's leave to call people together.
    pub(super) fn may_ping(&self, chat: &ConversationId, user: &UserId) -> bool {
        lock(&self.spoken).get(&(chat.clone(), user.clone()), Instant::now()).is_some()
    }

    /// Forgets what a chat is called.
    pub(super) fn forget_chat(&self, chat: &ConversationId) {
        lock(&self.chats).forget(chat);
    }
}

impl Workspace {
    /// Who wrote a message; `None` for one of whom nothing is known, who counts as from outside.
    ///
    /// # Errors
    /// When Slack does not answer now, and may soon: the message is held, and comes again.
    pub(super) async fn sender(&self, id: &UserId) -> Result<Option<Person>, ApiError> {
        let error = match self.person(id).await {
            Err(error) => error,
            known => return known,
        };
        let now = Instant::now();
        if let Some(known) = lock(&self.directory.people).get_within(id, GOOD_AT_NEED, now) {
            return Ok(known.clone());
        }
        let mut doubts = lock(&self.directory.doubts);
        let held = doubts.get(id, now).copied().unwrap_or(0);
        // Where Slack did answer, it will say it some day.
        if held < HOLDS || !matches!(error, ApiError::Failed { .. }) {
            doubts.put(id.clone(), held.saturating_add(1), now);
            return Err(error);
        }
        warn!(channel.name = "slack", user.id = %id, %error, "it is not known who wrote a message, so it is kept as a stranger's");
        Ok(None)
    }

    /// Who somebody is; `None` when Slack knows nobody of this id, or may not tell us. It is asked once: a name is not
    /// worth holding a message for.
    ///
    /// # Errors
    /// When Slack does not answer now.
    pub(super) async fn person(&self, id: &UserId) -> Result<Option<Person>, ApiError> {
        if let Some(known) = lock(&self.directory.people).get(id, Instant::now()) {
            return Ok(known.clone());
        }
        let Some(ours) = self.ours() else { return Ok(None) };
        let person = match self.ask_once("users.info", &[("user", id.as_str())]).await {
            Ok(answer) => {
                self.set_blind(None);
                Person::parse(&answer, &ours.home)
            }
            // It says nothing of them either, and is not remembered: people are known again once that is mended.
            Err(error) if error.is_about_the_app() => {
                warn!(channel.name = "slack", %error, "Slack does not say who anybody is");
                self.set_blind(Some(&error));
                return Ok(None);
            }
            // That our token is no good says nothing of anybody.
            Err(error @ ApiError::Refused { .. }) if error.revoked().is_none() => {
                warn!(channel.name = "slack", user.id = %id, %error, "Slack does not say who somebody is");
                None
            }
            Err(error) => return Err(error),
        };
        lock(&self.directory.people).put(id.clone(), person.clone(), Instant::now());
        Ok(person)
    }

    /// What a chat is called, for people: `#general`; `None` for direct messages, and where Slack does not say it.
    pub(super) async fn chat_name(&self, id: &ConversationId) -> Option<String> {
        if let Some(known) = lock(&self.directory.chats).get(id, Instant::now()) {
            return known.clone();
        }
        let name = match self.ask_once("conversations.info", &[("channel", id.as_str())]).await {
            Ok(answer) => {
                let name = answer.get("channel").and_then(|chat| word(chat, "name"));
                name.map(|name| format!("#{}", crate::text::one_line(name, 80)))
            }
            // A name is not worth a second question soon.
            Err(_error) => None,
        };
        lock(&self.directory.chats).put(id.clone(), name.clone(), Instant::now());
        name
    }

    /// The names that stand in a message as ids, as far as Slack tells them now.
    pub(super) async fn names_in(&self, message: &Message) -> Known {
        let Named { users, chats } = named(message);
        let mut known = Known::default();
        let ours = self.ours().map(|ours| &ours.me.user);
        for user in users.into_iter().filter(|user| Some(user) != ours) {
            match self.person(&user).await {
                Ok(person) => known.users.extend(person.map(|person| (user, person.name))),
                // Who does not answer now is not asked for all the others.
                Err(_error) => return known,
            }
        }
        for chat in chats {
            if let Some(name) = self.chat_name(&chat).await {
                known.chats.insert(chat, name.trim_start_matches('#').to_owned());
            }
        }
        known
    }
}
