//! What is left of a message by a process that died, or by a call whose answer nobody heard.

use super::message::{AFTER, At, Message, is_refused};
use crate::channel::slack::event::{self, Speaker};
use crate::channel::slack::fault::ApiError;
use crate::channel::slack::json::list;

impl Message {
    /// What of it may be there and is no answer, for that would carry the id of a row of the outbox. Of one whose name
    /// nobody knows it is known that it is ours, and empty.
    pub(super) async fn left_there(&self, at: &At<'_>) -> Result<Vec<String>, ApiError> {
        let channel = at.channel()?;
        let (Some(thread), Some(ours)) = (&at.place.thread, at.workspace.ours()) else {
            return Err(ApiError::failed("not connected"));
        };
        let nameless = self.ts.strip_prefix(AFTER);
        let mut args = vec![
            ("channel", channel.as_str()),
            ("ts", thread.as_str()),
            ("oldest", nameless.unwrap_or(&self.ts)),
            ("inclusive", "true"),
            ("include_all_metadata", "true"),
            ("limit", "200"),
        ];
        if nameless.is_none() {
            args.push(("latest", &self.ts));
        }
        let page = match at.workspace.ask_once("conversations.replies", &args).await {
            Err(error) if !is_refused(&error) => return Err(error),
            // Where it cannot be looked for nobody knows what it is, and it is left alone.
            Err(_) => return Ok(Vec::new()),
            Ok(page) => page,
        };
        let mut said = list(&page, "messages")
            .filter_map(|json| event::Message::parse(json, Some(channel.clone())).ok())
            .filter(|it| it.speaker(&ours.me) == Speaker::Me);
        if nameless.is_some() {
            let empty =
                said.filter(|it| it.outbox.is_none() && it.text.is_empty() && it.files.is_empty());
            return Ok(empty.map(|it| it.ts.to_string()).collect());
        }
        let is_answer = said.any(|it| it.ts.to_string() == self.ts && it.outbox.is_some());
        Ok(if is_answer { Vec::new() } else { vec![self.ts.clone()] })
    }
}
