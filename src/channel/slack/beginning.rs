//! Beginnings of threads: what was said there before the bot was mentioned for the first time.
//!
//! Whoever mentions the bot waits for it, so it is bounded: the root and what was said last, and no files.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use tracing::warn;

use super::catch_up::messages;
use super::event::Message;
use super::fault::ApiError;
use super::id::{ConversationId, Ts};
use super::intake::{Inlet, Origin, unread};
use super::limit::Haste;
use super::lock::lock;
use crate::channel::NotKept;

/// How many messages before the mention are kept, beside the root.
const MOST: usize = 200;
/// How many messages a page has at most, and how many pages are read: Slack begins with the oldest. Of a thread that is
/// longer, the last messages of these pages are kept.
const PAGE: &str = "1000";
const PAGES: usize = 5;

impl Inlet<'_> {
    /// Keeps what was said in a thread before the bot is mentioned there for the first time.
    pub(super) async fn begin_thread(
        &self,
        mention: &Message,
        root: Ts,
        haste: Haste,
    ) -> Result<(), NotKept> {
        let thread = (mention.chat.clone(), root);
        if lock(&self.threads).get(&thread, Instant::now()).is_some() {
            return Ok(());
        }
        match self.thread_until(&mention.chat, (root, mention.ts), haste).await {
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

    /// What was said in a thread before a message, its root first.
    async fn thread_until(
        &self,
        channel: &ConversationId,
        (root, until): (Ts, Ts),
        haste: Haste,
    ) -> Result<Vec<Message>, ApiError> {
        let (root_text, until_text) = (root.to_string(), until.to_string());
        let (mut first, mut last, mut cursor) = (None, BTreeMap::new(), String::new());
        for _page in 0..PAGES {
            let mut args = vec![("channel", channel.as_str()), ("ts", &root_text)];
            args.extend([("latest", until_text.as_str()), ("limit", PAGE), ("cursor", &cursor)]);
            args.retain(|(_, value)| !value.is_empty());
            let page = self.workspace.ask_with("conversations.replies", &args, haste).await?;
            for message in messages(&page, channel).filter(|message| message.ts < until) {
                if message.ts == root {
                    first = Some(message);
                } else {
                    last.insert(message.ts, message);
                }
                if last.len() > MOST {
                    last.pop_first();
                }
            }
            let next = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str);
            cursor = next.unwrap_or_default().to_owned();
            if cursor.is_empty() {
                break;
            }
        }
        Ok(first.into_iter().chain(last.into_values()).collect())
    }
}
