//! What a person posts.

use bytes::Bytes;
use serde_json::{Map, Value};

/// A message that a person is about to post.
#[derive(Debug, Clone)]
pub struct Post {
    pub(super) channel: String,
    pub(super) user: String,
    pub(super) text: String,
    pub(super) thread_ts: Option<String>,
    pub(super) files: Vec<Attached>,
    pub(super) fields: Map<String, Value>,
}

/// A file that a person shares with a message.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) mime: String,
    pub(super) bytes: Bytes,
}

impl Post {
    /// This user says this in this conversation, as Slack writes it: `<@U0BOT0001> hello`.
    #[must_use]
    pub fn new(channel: &str, user: &str, text: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            user: user.to_owned(),
            text: text.to_owned(),
            thread_ts: None,
            files: Vec::new(),
            fields: Map::new(),
        }
    }

    /// As an answer in this thread.
    #[must_use]
    pub fn in_thread(mut self, thread_ts: &str) -> Self {
        self.thread_ts = Some(thread_ts.to_owned());
        self
    }

    /// As an answer that the channel sees too.
    #[must_use]
    pub fn broadcast(self, thread_ts: &str) -> Self {
        self.in_thread(thread_ts).with("subtype", "thread_broadcast")
    }

    /// With a file.
    #[must_use]
    pub fn file(mut self, name: &str, mime: &str, bytes: impl Into<Bytes>) -> Self {
        self.files.push(Attached {
            name: name.to_owned(),
            mime: mime.to_owned(),
            bytes: bytes.into(),
        });
        self
    }

    /// With any other field, or another value of one: `metadata`, `attachments`, `bot_id`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }
}
