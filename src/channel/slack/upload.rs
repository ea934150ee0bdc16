//! Files that we send, in Slack's three steps: an address is asked for, the bytes are brought there, the file is shown.
//!
//! A message with a file carries nothing of ours, and the answer names no message, for it appears only later. So the id
//! of the file is noted before it is shown, and by it the message is found again: whether it was shown is never guessed
//! from a name or a size.

use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Uri};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::time::{sleep, timeout};
use tokio_util::io::ReaderStream;

use super::download::{Downloads, is_slacks};
use super::event::Message;
use super::fault::ApiError;
use super::json::word;
use super::send::Address;
use super::text::plain;
use crate::channel::SendError;
use crate::model::{Receipt, SentFile};

/// How often a file is looked for that may have been shown: Slack shows it some time after it has said that it will.
const LOOKS: u32 = 5;
/// The slowest that bytes are waited for, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// How much of a file is read at once.
const PIECE: usize = 64 * 1024;

impl Downloads {
    /// Brings a file to where Slack wants it, a piece at a time.
    async fn bring(&self, url: &str, file: File, bytes: u64) -> Result<(), ApiError> {
        let to = url.parse().ok().filter(|uri| is_slacks(uri, &self.api));
        let to: Uri =
            to.ok_or_else(|| ApiError::failed("an upload address that is not Slack's"))?;
        let pieces = ReaderStream::with_capacity(file, PIECE).map(|piece| piece.map(Frame::data));
        let request = Request::post(to)
            .header("content-type", "application/octet-stream")
            .header("content-length", bytes)
            .body(StreamBody::new(pieces).boxed_unsync())
            .map_err(|_odd| ApiError::failed("an upload that cannot be asked for"))?;
        let patience = self.patience + Duration::from_secs(bytes / SLOWEST);
        let answer = timeout(patience, self.client.request(request)).await;
        let answer = answer.map_err(|_elapsed| ApiError::failed("an upload took too long"))?;
        let answer = answer.map_err(|_broken| ApiError::failed("the connection broke"))?;
        let status = answer.status();
        let failed = || ApiError::failed(format!("HTTP {} to an upload", status.as_u16()));
        status.is_success().then_some(()).ok_or_else(failed)
    }
}

impl Address<'_> {
    /// Sends a file.
    ///
    /// # Errors
    /// [`SendError::Begun`] once Slack has the bytes.
    pub(super) async fn send_file(&self, file: &SentFile) -> Result<Receipt, SendError> {
        let Some(id) = &self.parcel.begun else { return Err(self.bring(file).await) };
        let may_ping = |user: &_| self.workspace.directory.may_ping(&self.channel, user);
        let mut body = json!({
            "channel_id": self.channel.as_str(), "files": [{ "id": id, "title": file.name }],
        });
        let caption = plain(&file.caption, &may_ping).concat();
        let thread = self.parcel.conversation.thread.as_ref();
        for (name, value) in
            [("initial_comment", &*caption), ("thread_ts", thread.map_or("", |ts| ts.as_str()))]
        {
            if let Some(fields) = body.as_object_mut().filter(|_| !value.is_empty()) {
                fields.insert(name.to_owned(), value.into());
            }
        }
        // What has grown so far stands above the file no longer: its end comes below.
        let grown = (self.workspace, &self.parcel.conversation);
        let away = self.workspace.streams.finish(grown, None, &Value::Null).await;
        away.map_err(|error| self.not_sent(&error))?;
        match self.workspace.api.write("files.completeUploadExternal", &body).await {
            Ok(_answer) => {
                // What is said after it must not come before it. That Slack has it is known, whether it is seen or not.
                self.is_shown(id).await.ok();
                self.workspace.progress.posted(&self.channel, thread);
                Ok(Receipt { external_id: Some(id.clone()) })
            }
            // Slack does not keep what is not shown for long.
            Err(error) if error.code() == Some("file_not_found") => Err(self.bring(file).await),
            Err(error) => Err(self.not_sent(&error)),
        }
    }

    /// Looks for a file that may have been shown.
    ///
    /// # Errors
    /// When Slack does not say it.
    pub(super) async fn find_file(&self) -> Result<Option<Receipt>, SendError> {
        let Some(id) = &self.parcel.begun else { return Ok(None) };
        let shown = self.is_shown(id).await.map_err(|error| self.not_sent(&error))?;
        Ok(shown.then(|| Receipt { external_id: Some(id.clone()) }))
    }

    /// Whether a file is there, looked for until it should be.
    async fn is_shown(&self, id: &str) -> Result<bool, ApiError> {
        for look in 1..=LOOKS {
            let mut shown = false;
            let mut see = |_: &Value, message: &Message| {
                shown |= message.files.iter().any(|file| file.id.as_deref() == Some(id));
            };
            self.own_messages(&mut see).await?;
            if shown {
                return Ok(true);
            }
            sleep(self.workspace.pace.wait(look)).await;
        }
        Ok(false)
    }

    /// Brings the bytes; what comes of it is never that the file was shown.
    async fn bring(&self, file: &SentFile) -> SendError {
        let Ok(copy) = File::open(&file.copy).await else {
            let reason = "the gateway's copy is gone".to_owned();
            return SendError::Refused { for_chat: Some(reason.clone()), reason };
        };
        let brought = async {
            let size = file.bytes.to_string();
            let args = [("filename", &*file.name), ("length", &*size)];
            let answer = self.workspace.ask_once("files.getUploadURLExternal", &args).await?;
            let (url, id) = (word(&answer, "upload_url"), word(&answer, "file_id"));
            let (Some(url), Some(id)) = (url, id) else {
                return Err(ApiError::failed("an answer that cannot be read"));
            };
            self.workspace.downloads.bring(url, copy, file.bytes).await?;
            Ok(id.to_owned())
        };
        match brought.await {
            Ok(name) => SendError::Begun { name },
            Err(error) => match self.not_sent(&error) {
                // Nobody sees a file that was only brought.
                SendError::Doubtful { reason, retry_at } => SendError::Later { reason, retry_at },
                error => error,
            },
        }
    }
}
