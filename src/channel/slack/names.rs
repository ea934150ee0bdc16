//! Who people are and what chats are called: asked of Slack once in a while, and remembered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::event::Message;
use super::fault::ApiError;
use super::id::{ConversationId, UserId};
use super::json::word;
use super::people::{self, People, Person};
use super::text::{Named, Names, named};
use super::workspace::Workspace;

/// How many chats are remembered.
const MOST_CHATS: usize = 5_000;
/// How long a chat may be called as it was.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);

/// What is remembered of a workspace.
pub(super) struct Directory {
    people: Mutex<People>,
    chats: Mutex<Cache<ConversationId, Option<String>>>,
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
        }
    }
}

impl Directory {
    /// Whether somebody was seen here of late.
    pub(super) fn knows(&self, user: &UserId) -> bool {
        matches!(lock(&self.people).get(user, Instant::now()), Some(Some(_)))
    }

    /// Forgets what a chat is called.
    pub(super) fn forget_chat(&self, chat: &ConversationId) {
        lock(&self.chats).forget(chat);
    }
}

impl Workspace {
    /// Who somebody is; `None` when Slack knows nobody of this id, or may not tell us.
    ///
    /// # Errors
    /// When Slack does not answer now.
    pub(super) async fn person(&self, id: &UserId) -> Result<Option<Person>, ApiError> {
        if let Some(known) = lock(&self.directory.people).get(id, Instant::now()) {
            return Ok(known.clone());
        }
        let Some(ours) = self.ours() else { return Ok(None) };
        let person = match self.ask("users.info", &[("user", id.as_str())]).await {
            Ok(answer) => Person::parse(&answer, &ours.home),
            Err(error @ ApiError::Refused { .. }) => {
                tracing::warn!(channel.name = "slack", %error, "Slack does not say who somebody is");
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
        let name = match self.ask("conversations.info", &[("channel", id.as_str())]).await {
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

    /// The names that stand in a message as ids.
    ///
    /// # Errors
    /// When Slack does not answer now.
    pub(super) async fn names_in(&self, message: &Message) -> Result<Known, ApiError> {
        let Named { users, chats } = named(message);
        let mut known = Known::default();
        let ours = self.ours().map(|ours| &ours.me.user);
        for user in users.into_iter().filter(|user| Some(user) != ours) {
            if let Some(person) = self.person(&user).await? {
                known.users.insert(user, person.name);
            }
        }
        for chat in chats {
            if let Some(name) = self.chat_name(&chat).await {
                known.chats.insert(chat, name.trim_start_matches('#').to_owned());
            }
        }
        Ok(known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is remembered is replaced whole, so what a poisoned lock guards is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
