//! What we say: each message carries the id of its row in the outbox, by which it is found again.
//!
//! A long answer is several messages, and each says which part it is: what is missing after a doubt is posted then,
//! and what is there is not posted again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tracing::info;

use super::event::{METADATA_TYPE, Message, Speaker};
use super::fault::ApiError;
use super::id::{ConversationId, Ts};
use super::json::{list, word};
use super::text::{Outgoing, outgoing, plain};
use super::workspace::Workspace;
use crate::channel::{Content, Parcel, SendError};
use crate::model::Receipt;

/// The most pages of a history that are looked through for one message.
const MOST_PAGES: usize = 10;
/// How much older than its row a message may be: clocks differ, and one that grew began before its answer was there.
const LOOK_BACK: Duration = Duration::from_secs(2 * 60 * 60);
/// Where a parcel goes.
pub(super) struct Address<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) channel: ConversationId,
    pub(super) parcel: &'a Parcel,
}

/// What is there of a parcel.
#[derive(Debug, Default)]
struct Found {
    /// The parts, counted from 1, each with its message.
    parts: BTreeMap<u64, Ts>,
    /// How many there are to be.
    of: u64,
}

impl Found {
    /// Adds a message.
    fn add(&mut self, json: &Value, message: &Message) {
        let number = |name: &str| {
            json.pointer(&format!("/metadata/event_payload/{name}")).and_then(Value::as_u64)
        };
        self.parts.insert(number("part").unwrap_or(1), message.ts);
        self.of = number("of").unwrap_or(1);
    }
}

impl Address<'_> {
    /// Posts a parcel.
    ///
    /// # Errors
    /// A failure after the first part is a doubt: what is there is looked up before the rest is posted.
    pub(super) async fn send(&self) -> Result<Receipt, SendError> {
        match &self.parcel.content {
            Content::Text(text) => self.post(text, &BTreeMap::new()).await,
            Content::File(file) => self.send_file(file).await,
            Content::Reaction { emoji, message } => self.react(emoji, message).await,
        }
    }

    /// Looks for a parcel that may have been posted, and posts what is missing of one that was begun.
    ///
    /// # Errors
    /// When Slack does not say it, or does not take the rest.
    pub(super) async fn find(&self) -> Result<Option<Receipt>, SendError> {
        let text = match &self.parcel.content {
            Content::Text(text) => text,
            Content::File(_) => return self.find_file().await,
            // Put again, it is there once.
            Content::Reaction { .. } => return Ok(None),
        };
        let found = self.look_up().await.map_err(|error| self.not_sent(&error))?;
        if let Some(first) = found.parts.get(&1) {
            // What grew may have become it, and nobody was told.
            let Self { workspace, parcel, .. } = self;
            workspace.streams.found(&parcel.conversation, &first.to_string()).await;
        }
        match u64::try_from(found.parts.len()) {
            Ok(0) => Ok(None),
            Ok(count) if count < found.of => self.post(text, &found.parts).await.map(Some),
            _ => Ok(Some(Receipt { external_id: found.parts.values().max().map(Ts::to_string) })),
        }
    }

    /// Posts the parts that are not there.
    async fn post(&self, text: &str, there: &BTreeMap<u64, Ts>) -> Result<Receipt, SendError> {
        let Self { workspace, parcel, .. } = self;
        let may_ping = |user: &_| workspace.directory.may_ping(&self.channel, user);
        let pieces = outgoing(text, &may_ping);
        let (of, mut posted, mut ts) = (pieces.len(), there.len(), None);
        let metadata = |part: u64| {
            let payload = json!({ "outbox": parcel.id.to_string(), "part": part, "of": of });
            json!({ "event_type": METADATA_TYPE, "event_payload": payload })
        };
        let mut grown = None;
        if !there.contains_key(&1) {
            // What is said on the way stands below what grew above it no longer.
            let first = pieces.first().filter(|_| parcel.ends.is_some());
            let place = (*workspace, &parcel.conversation);
            grown = workspace
                .streams
                .finish(place, first, &metadata(1))
                .await
                .map_err(|error| self.not_sent(&error))?;
        }
        for (part, Outgoing { markdown, notification, source }) in (1_u64..).zip(pieces) {
            if there.contains_key(&part) {
                continue;
            }
            if let Some(message) = grown.take() {
                ts = Some(message);
                posted += 1;
                continue;
            }
            let metadata = metadata(part);
            let block = json!({ "type": "markdown", "text": markdown });
            let mut answer =
                self.post_part(json!({ "text": notification, "blocks": [block] }), &metadata).await;
            if let Err(error) = &answer
                && error.is_about_blocks()
            {
                info!(channel.name = "slack", "Slack does not take the blocks; it is said as text");
                // The same part, so that what is there can be told by its number whatever form it has.
                let text = plain(&source, &may_ping).concat();
                answer = self.post_part(json!({ "text": text }), &metadata).await;
            }
            ts = Some(answer.map_err(|error| self.half_sent(posted, &error))?);
            posted += 1;
            workspace.progress.posted(&self.channel, parcel.conversation.thread.as_ref());
        }
        Ok(Receipt { external_id: ts })
    }

    /// Posts one part; returns its `ts`.
    async fn post_part(&self, mut body: Value, metadata: &Value) -> Result<String, ApiError> {
        let thread = self.parcel.conversation.thread.as_ref();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("channel".to_owned(), self.channel.as_str().into());
            fields.insert("metadata".to_owned(), metadata.clone());
            fields.insert("unfurl_links".to_owned(), false.into());
            if let Some(thread) = thread {
                fields.insert("thread_ts".to_owned(), thread.as_str().into());
            }
        }
        let answer = self.workspace.api.write("chat.postMessage", &body).await?;
        Ok(word(&answer, "ts").unwrap_or_default().to_owned())
    }

    /// What is there of the parcel.
    async fn look_up(&self) -> Result<Found, ApiError> {
        let mut found = Found::default();
        let mut see = |json: &Value, message: &Message| {
            if message.outbox == Some(self.parcel.id) {
                found.add(json, message);
            }
        };
        self.own_messages(&mut see).await?;
        Ok(found)
    }

    /// Shows `see` what we have said where the parcel goes, the newest pages of it. Another app could have written the
    /// same metadata: ours alone counts.
    pub(super) async fn own_messages(
        &self,
        see: &mut (dyn FnMut(&Value, &Message) + Send),
    ) -> Result<(), ApiError> {
        let mut cursor = String::new();
        for _page in 0..MOST_PAGES {
            let page = self.page(&cursor).await?;
            let Some(ours) = self.workspace.ours() else { break };
            for json in list(&page, "messages") {
                match Message::parse(json, Some(self.channel.clone())) {
                    Ok(message) if message.speaker(&ours.me) == Speaker::Me => see(json, &message),
                    _ => {}
                }
            }
            let next = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str);
            cursor = next.unwrap_or_default().to_owned();
            if cursor.is_empty() {
                break;
            }
        }
        Ok(())
    }

    async fn page(&self, cursor: &str) -> Result<Value, ApiError> {
        let since = self.parcel.created_at.checked_sub(LOOK_BACK);
        let oldest = Ts::at(since.unwrap_or(self.parcel.created_at)).to_string();
        let mut args = vec![
            ("channel", self.channel.as_str()),
            ("oldest", &oldest),
            ("include_all_metadata", "true"),
            ("limit", "200"),
            ("cursor", cursor),
        ];
        args.retain(|(_, value)| !value.is_empty());
        let method = match &self.parcel.conversation.thread {
            Some(thread) => {
                args.push(("ts", thread.as_str()));
                "conversations.replies"
            }
            None => "conversations.history",
        };
        // The outbox itself asks again, and holds up nobody meanwhile.
        self.workspace.ask_once(method, &args).await
    }

    fn half_sent(&self, posted: usize, error: &ApiError) -> SendError {
        match self.not_sent(error) {
            SendError::Later { reason, retry_at } if posted > 0 => {
                SendError::Doubtful { reason, retry_at }
            }
            error => error,
        }
    }

    /// What a failed call means for a message.
    pub(super) fn not_sent(&self, error: &ApiError) -> SendError {
        self.workspace.note(error);
        match error {
            // Until somebody has mended the tokens, there is nobody to take it.
            _ if error.revoked().is_some() => SendError::Absent,
            ApiError::Refused { .. } => {
                let is_text = matches!(self.parcel.content, Content::Text(_));
                let is_alone =
                    if is_text { error.is_about_the_text() } else { !error.is_about_the_chat() };
                let for_chat = is_alone.then(|| error.for_chat().to_owned());
                SendError::Refused { reason: error.to_string(), for_chat }
            }
            ApiError::Limited { after } => SendError::Later {
                reason: error.to_string(),
                retry_at: self.workspace.clock.now().checked_add(*after).ok(),
            },
            ApiError::Failed { what } => {
                SendError::Doubtful { reason: what.clone(), retry_at: None }
            }
        }
    }
}
