//! Files that we send, in Slack's three steps: an address is asked for, the bytes are brought there, the file is shown.
//!
//! A message with a file carries nothing of ours, and the answer names no message, for it appears only later. So the id
//! of the file is noted before it is shown, and by it the message is found again: whether it was shown is never guessed
//! from a name or a size.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use serde_json::json;
use tokio::fs::File;
use tokio::time::{sleep, timeout};
use tokio_util::io::ReaderStream;

use super::fault::{ApiError, DEFAULT_WAIT};
use super::json::word;
use super::send::Address;
use super::text::plain;
use crate::channel::SendError;
use crate::model::{Receipt, SentFile};

/// How often a file is looked for that may have been shown: Slack shows it some time after it has said that it will.
const LOOKS: u32 = 5;
/// The slowest that bytes are waited for, in bytes a second.
const SLOWEST: u64 = 64 * 1024;

/// Carries bytes to where Slack wants them.
pub(super) struct Carrier {
    client: Client<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, io::Error>>,
    api: Option<Uri>,
    patience: Duration,
}

impl Carrier {
    /// A carrier for the API at `api`; an upload may take `patience` and the time for its bytes.
    pub(super) fn new(api: &str, tls: &ClientConfig, patience: Duration) -> Self {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, api: api.parse().ok(), patience }
    }

    /// Brings a file, a piece at a time.
    async fn bring(&self, url: &str, file: File, bytes: u64) -> Result<(), ApiError> {
        let to = url.parse::<Uri>().ok().filter(|uri| self.is_slacks(uri));
        let to =
            to.ok_or_else(|| ApiError::failed("an upload to an address that is not Slack's"))?;
        let pieces =
            ReaderStream::with_capacity(file, 64 * 1024).map(|piece| piece.map(Frame::data));
        let request = Request::post(to)
            .header("content-type", "application/octet-stream")
            .header("content-length", bytes)
            .body(StreamBody::new(pieces).boxed_unsync())
            .map_err(|_error| ApiError::failed("an upload that cannot be asked for"))?;
        let patience = self.patience + Duration::from_secs(bytes / SLOWEST);
        let answer = timeout(patience, self.client.request(request)).await;
        let answer = answer.map_err(|_elapsed| ApiError::failed("an upload took too long"))?;
        let answer = answer.map_err(|_error| ApiError::failed("the connection broke"))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS => {
                let after = answer.headers().get("retry-after");
                let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
                Err(ApiError::Limited { after: after.map_or(DEFAULT_WAIT, Duration::from_secs) })
            }
            status => Err(ApiError::failed(format!("HTTP {}", status.as_u16()))),
        }
    }

    /// Whether an address is one of Slack's, or of the server that stands for it.
    fn is_slacks(&self, uri: &Uri) -> bool {
        let api = self.api.as_ref();
        let is_api = api.is_some_and(|it| {
            it.authority() == uri.authority() && it.scheme_str() == uri.scheme_str()
        });
        let host = uri.host().unwrap_or_default();
        is_api || (uri.scheme_str() == Some("https") && host.ends_with(".slack.com"))
    }
}

impl Address<'_> {
    /// Sends a file.
    ///
    /// # Errors
    /// [`SendError::Begun`] once Slack has the bytes.
    pub(super) async fn send_file(&self, file: &SentFile) -> Result<Receipt, SendError> {
        let Some(id) = &self.parcel.begun else { return Err(self.bring(file).await) };
        let may_ping = |user: &_| self.workspace.directory.knows(user);
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
        match self.workspace.api.write("files.completeUploadExternal", &body).await {
            Ok(_answer) => {
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
        for look in 1..=LOOKS {
            let mut shown = false;
            let mut see = |_: &_, message: &super::event::Message| {
                shown |= message.files.iter().any(|file| file.id.as_ref() == Some(id));
            };
            self.own_messages(&mut see).await.map_err(|error| self.not_sent(&error))?;
            if shown {
                return Ok(Some(Receipt { external_id: Some(id.clone()) }));
            }
            if look < LOOKS {
                sleep(self.workspace.pace.wait(look)).await;
            }
        }
        Ok(None)
    }

    /// Brings the bytes; what comes of it is never that the file was shown.
    async fn bring(&self, file: &SentFile) -> SendError {
        let brought = async {
            let size = file.bytes.to_string();
            let args = [("filename", &*file.name), ("length", &*size)];
            let answer = self.workspace.api.read("files.getUploadURLExternal", &args).await?;
            let (url, id) = (word(&answer, "upload_url"), word(&answer, "file_id"));
            let (Some(url), Some(id)) = (url, id) else {
                return Err(ApiError::failed("an answer that cannot be read"));
            };
            let Ok(copy) = File::open(&file.copy).await else {
                return Err(ApiError::Refused { code: "the gateway's copy is gone".to_owned() });
            };
            self.workspace.api.carrier.bring(url, copy, file.bytes).await?;
            Ok(id.to_owned())
        };
        match brought.await {
            Ok(name) => SendError::Begun { name },
            Err(error) => match self.not_sent(&error) {
                // Nobody sees a file that was only brought.
                SendError::Doubtful { reason } => SendError::Later { reason, retry_at: None },
                error => error,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_to_slack_and_to_nobody_else() {
        let carrier = |api| Carrier::new(api, &super::super::api::tls(), Duration::ZERO);
        for (api, url, may) in [
            ("https://slack.com/api", "https://files.slack.com/upload/v1/abc", true),
            ("https://slack.com/api", "https://slack.com/upload", true),
            ("https://slack.com/api", "http://files.slack.com/upload/v1/abc", false),
            ("https://slack.com/api", "https://slack.com.example.org/upload", false),
            ("https://slack.com/api", "https://notslack.com/upload", false),
            ("https://slack.com/api", "https://user@example.org/.slack.com", false),
            ("http://127.0.0.1:4040/api", "http://127.0.0.1:4040/upload/v1/abc", true),
            ("http://127.0.0.1:4040/api", "http://127.0.0.1:4041/upload/v1/abc", false),
            ("http://127.0.0.1:4040/api", "https://files.slack.com/upload/v1/abc", true),
        ] {
            assert_eq!(carrier(api).is_slacks(&url.parse().unwrap()), may, "{api} {url}");
        }
    }
}
