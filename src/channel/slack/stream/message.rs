//! The message that an answer grows in, as far as it is known how it stands in Slack.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::debug;

use super::draft::addition;
use crate::channel::slack::fault::ApiError;
use crate::channel::slack::id::ConversationId;
use crate::channel::slack::json::word;
use crate::channel::slack::text::Outgoing;
use crate::channel::slack::workspace::Workspace;
use crate::model::{Conversation, ThreadId};

/// Codes by which Slack says that it has ended the streaming itself: after its time, or because somebody pressed Stop.
const CLOSED: [&str; 2] = ["message_not_in_streaming_state", "stopped_by_user"];
/// How many calls are left for what must be done.
const RESERVE: usize = 10;
/// What stands before the name of the message after which one was begun, as long as nobody knows its own.
pub(super) const AFTER: &str = "after:";

/// Where an answer grows.
pub(super) struct At<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) place: &'a Conversation,
}

/// A message that grows.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) form: Form,
    /// Its name; before it has one, where it is looked for, or empty.
    pub(super) ts: String,
    since: Instant,
    not_before: Instant,
    /// The text in it; `None` where that is not certain, or where something else is to be there.
    stands: Option<String>,
}

/// What can be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It is not there yet.
    Nothing,
    /// An earlier process has left it there, or it is not known what became of it: it may be an answer.
    Left,
    /// It may be there, empty, and nobody was told its name.
    Lost,
    /// It takes text at its end.
    Streams,
    /// It is a message like others, and can be replaced whole.
    Stands,
    /// It is no concern of ours any more.
    Over,
}

impl Default for Message {
    fn default() -> Self {
        let now = Instant::now();
        let stands = Some(String::new());
        Self { form: Form::Nothing, ts: String::new(), since: now, not_before: now, stands }
    }
}

impl Message {
    /// One that an earlier process has left.
    pub(super) fn left(ts: &str) -> Self {
        let form = if ts.starts_with(AFTER) { Form::Lost } else { Form::Left };
        Self { form, ts: ts.to_owned(), stands: None, ..Self::default() }
    }

    /// Whether it was left alone for long enough.
    pub(super) fn may_be_touched(&self) -> bool {
        Instant::now() >= self.not_before
    }

    /// Leaves it alone for a while.
    pub(super) fn rest(&mut self, time: Duration) {
        self.not_before = self.not_before.max(Instant::now() + time);
    }

    /// Notes where it is looked for, should nobody hear how it is called.
    pub(super) fn announce(&mut self, at: &At<'_>) -> Result<(), ApiError> {
        let (channel, thread) = (at.channel()?, at.place.thread.as_ref());
        let asked = at.workspace.progress.asked(&channel, thread).map(|(ts, _)| ts.to_string());
        let from = asked.or_else(|| thread.map(|thread| thread.as_str().to_owned()));
        self.ts = format!("{AFTER}{}", from.unwrap_or_default());
        Ok(())
    }

    /// Begins an empty message.
    ///
    /// # Errors
    /// When Slack does not do it, or does not say so.
    pub(super) async fn begin(&mut self, at: &At<'_>) -> Result<(), ApiError> {
        let (channel, thread) = (at.channel()?, at.place.thread.as_ref());
        let mut body =
            json!({ "channel": channel.as_str(), "thread_ts": thread.map(ThreadId::as_str) });
        let asked = at.workspace.progress.asked(&channel, thread);
        if let (Some(fields), Some((_, who)), Some(ours)) =
            (body.as_object_mut(), asked, at.workspace.ours())
        {
            fields.insert("recipient_user_id".to_owned(), who.as_str().into());
            fields.insert("recipient_team_id".to_owned(), ours.home.team.as_str().into());
        }
        let answer = at.workspace.api.write("chat.startStream", &body).await;
        let answer = answer.inspect_err(|error| {
            if matches!(error, ApiError::Failed { .. }) {
                self.form = Form::Lost;
            }
        })?;
        let ts = word(&answer, "ts").ok_or_else(|| ApiError::failed("a stream without a name"))?;
        (self.form, self.ts, self.since) = (Form::Streams, ts.to_owned(), Instant::now());
        at.workspace.progress.posted(&channel, thread);
        Ok(())
    }

    /// Lets it grow to this text, as far as it can be added; Slack's time for streaming is not waited out.
    ///
    /// # Errors
    /// When Slack does not do it now.
    pub(super) async fn grow(&mut self, at: &At<'_>, text: &str) -> Result<(), ApiError> {
        let api = &at.workspace.api;
        if self.form == Form::Streams && self.since.elapsed() >= at.workspace.pace.stream {
            self.close(at, json!({})).await?;
            at.workspace.progress.paused(&at.channel()?, at.place.thread.as_ref());
        }
        let more = addition(self.stands.as_deref(), text).unwrap_or_default();
        if more.is_empty() {
            return Ok(());
        }
        let grown = if self.form == Form::Streams && api.left("chat.appendStream") > RESERVE {
            let body = json!({ "markdown_text": more });
            match api.write("chat.appendStream", &self.named(at, body)?).await {
                Err(error) if is_closed(&error) => {
                    self.form = Form::Stands;
                    return Ok(());
                }
                grown => grown,
            }
        } else if self.form == Form::Stands && api.left("chat.update") > RESERVE {
            let blocks = json!([{ "type": "markdown", "text": text }]);
            let body = json!({ "text": notification(text), "blocks": blocks });
            api.write("chat.update", &self.named(at, body)?).await
        } else {
            return Ok(());
        };
        match grown {
            Ok(_) => self.stands = Some(text.to_owned()),
            Err(ApiError::Limited { after }) => return Err(ApiError::Limited { after }),
            // It may stand there or not: the answer replaces it.
            Err(error) => {
                self.stands = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes it the first part of its answer; `false` when Slack does not let us, whatever it is called for.
    ///
    /// # Errors
    /// When Slack does not do it now.
    pub(super) async fn finish(
        &mut self,
        at: &At<'_>,
        part: &Outgoing,
        metadata: &Value,
    ) -> Result<bool, ApiError> {
        if self.form == Form::Streams {
            let rest = addition(self.stands.as_deref(), &part.markdown).map(str::to_owned);
            // The metadata makes it the answer, so it comes with the last of the text and not before.
            let body = match &rest {
                Some(rest) if rest.is_empty() => json!({ "metadata": metadata }),
                Some(rest) => json!({ "metadata": metadata, "markdown_text": rest }),
                None => json!({}),
            };
            match self.close(at, body).await {
                Ok(true) if rest.is_some() => return Ok(true),
                Ok(_) => {}
                Err(error) => return self.doubt(error),
            }
        }
        if self.form != Form::Stands {
            return Ok(false);
        }
        let blocks = json!([{ "type": "markdown", "text": part.markdown }]);
        let body = json!({ "text": part.notification, "blocks": blocks, "metadata": metadata });
        match at.workspace.api.write("chat.update", &self.named(at, body)?).await {
            Ok(_) => Ok(true),
            Err(error) => self.doubt(error),
        }
    }

    /// What a call that was to make it an answer has come to, when it failed. A refusal is no reason to wait, for there
    /// is another way; where there was no answer it may be an answer now, and is looked at before it is touched.
    fn doubt(&mut self, error: ApiError) -> Result<bool, ApiError> {
        if matches!(error, ApiError::Failed { .. }) {
            self.form = Form::Left;
        }
        if is_refused(&error) { Ok(false) } else { Err(error) }
    }

    /// Ends the streaming; `false` when Slack has done that before, and nothing of this call.
    async fn close(&mut self, at: &At<'_>, body: Value) -> Result<bool, ApiError> {
        let done = match at.workspace.api.write("chat.stopStream", &self.named(at, body)?).await {
            Ok(_) => true,
            Err(error) if is_closed(&error) => false,
            Err(error) => {
                // Unless it was refused, what it brought may stand there.
                if matches!(error, ApiError::Failed { .. }) {
                    self.stands = None;
                }
                return Err(error);
            }
        };
        self.form = Form::Stands;
        Ok(done)
    }

    /// Takes it away, unless it is an answer.
    ///
    /// # Errors
    /// When Slack does not do it now.
    pub(super) async fn remove(&mut self, at: &At<'_>) -> Result<(), ApiError> {
        if matches!(self.form, Form::Left | Form::Lost) {
            if at.channel().is_err() && at.workspace.ours().is_some() {
                // It is for another workspace to look at.
                self.ts.clear();
                self.form = Form::Over;
                return Ok(());
            }
            for ts in self.left_there(at).await? {
                let form = Form::Streams;
                Self { form, ts, ..self.clone() }.take_away(at).await?;
            }
            self.form = Form::Over;
        }
        self.take_away(at).await
    }

    /// Takes it away, which is no answer.
    async fn take_away(&mut self, at: &At<'_>) -> Result<(), ApiError> {
        if self.form == Form::Streams {
            match self.close(at, json!({})).await {
                Err(error) if !is_refused(&error) => return Err(error),
                _ => self.form = Form::Stands,
            }
        }
        if self.form == Form::Stands {
            match at.workspace.api.write("chat.delete", &self.named(at, json!({}))?).await {
                Err(error) if !is_refused(&error) => return Err(error),
                Err(error) if error.code() != Some("message_not_found") => {
                    debug!(channel.name = "slack", %error, "half an answer cannot be taken away");
                }
                _ => {}
            }
        }
        self.form = Form::Over;
        Ok(())
    }

    /// What a call brings, with the name of the message.
    fn named(&self, at: &At<'_>, mut body: Value) -> Result<Value, ApiError> {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("channel".to_owned(), at.channel()?.as_str().into());
            fields.insert("ts".to_owned(), self.ts.as_str().into());
        }
        Ok(body)
    }
}

impl At<'_> {
    pub(super) fn channel(&self) -> Result<ConversationId, ApiError> {
        let channel = self.workspace.channel_of(&self.place.chat);
        channel.ok_or_else(|| ApiError::failed("not connected"))
    }
}

fn is_closed(error: &ApiError) -> bool {
    error.code().is_some_and(|code| CLOSED.contains(&code))
}

/// Whether this message is refused, and not the token.
pub(super) fn is_refused(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused { .. }) && error.revoked().is_none()
}

/// What notifications show of a text that is dressed already.
fn notification(text: &str) -> String {
    text.chars().take(1_000).collect()
}
