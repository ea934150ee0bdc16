//! How histories and threads are read: page by page, whichever end Slack begins with.

use serde_json::Value;

use super::plan::{Found, Part};
use crate::channel::slack::event::Message;
use crate::channel::slack::fault::ApiError;
use crate::channel::slack::id::{ConversationId, Ts};
use crate::channel::slack::intake::Inlet;
use crate::channel::slack::json::list;
use crate::channel::slack::limit::Haste;

/// How many messages a page has at most.
const PAGE: &str = "200";

impl Inlet<'_> {
    /// A part of a chat.
    ///
    /// # Errors
    /// When it is refused, or there is no answer after several attempts.
    pub(super) async fn fetch_part(
        &self,
        channel: &ConversationId,
        part: Part,
        haste: Haste,
    ) -> Result<Found, ApiError> {
        let oldest = ("oldest", part.after.to_string());
        let Some(root) = part.thread else {
            return self.range("conversations.history", channel, &[oldest], haste).await;
        };
        let args = [("ts", root.to_string()), oldest];
        match self.range("conversations.replies", channel, &args, haste).await {
            // The root was deleted.
            Err(error) if error.code() == Some("thread_not_found") => Ok(Found::default()),
            found => found,
        }
    }

    /// One message.
    pub(in crate::channel::slack) async fn message(
        &self,
        channel: &ConversationId,
        ts: Ts,
    ) -> Result<Option<Message>, ApiError> {
        let ts_text = ts.to_string();
        let args = [("channel", channel.as_str()), ("ts", &ts_text), ("limit", PAGE)];
        let page = match self.workspace.ask("conversations.replies", &args).await {
            Err(ApiError::Refused { .. }) => return Ok(None),
            page => page?,
        };
        Ok(messages(&page, channel).find(|message| message.ts == ts))
    }

    /// The oldest messages of a history or a thread, whichever end it begins with.
    async fn range(
        &self,
        method: &'static str,
        channel: &ConversationId,
        args: &[(&str, String)],
        haste: Haste,
    ) -> Result<Found, ApiError> {
        let (mut found, mut cursor) = (Found::default(), String::new());
        loop {
            let mut args: Vec<(&str, &str)> =
                args.iter().map(|(name, value)| (*name, value.as_str())).collect();
            args.extend([("channel", channel.as_str()), ("limit", PAGE), ("cursor", &cursor)]);
            args.retain(|(_, value)| !value.is_empty());
            let page = self.workspace.ask_with(method, &args, haste).await?;
            messages(&page, channel).for_each(|message| found.add(message));
            let next = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str);
            cursor = next.unwrap_or_default().to_owned();
            if cursor.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// The messages of a page; one without a name is none.
pub(in crate::channel::slack) fn messages<'p>(
    page: &'p Value,
    channel: &'p ConversationId,
) -> impl Iterator<Item = Message> + 'p {
    list(page, "messages").filter_map(|json| Message::parse(json, Some(channel.clone())).ok())
}
