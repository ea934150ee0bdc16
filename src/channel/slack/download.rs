//! Files that come with messages: fetched with the bot's token, and put into the folder of the chat's group.
//!
//! The token goes to Slack's own hosts and nowhere else, and no redirect is followed: it is Slack's way to a log-in
//! page. A file is streamed to its place, never held whole. A message waits for its files, in the lane of its chat
//! alone; one whose files cannot be had is kept with a note in their place.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::event::{File, FileSource, Message};
use super::fault::ApiError;
use super::intake::Inlet;
use crate::channel::{FileSink, NotKept};
use crate::config::SlackTokens;
use crate::model::{self, Attachment};
use crate::text::one_line;

/// The largest file that is fetched.
const MOST_BYTES: u64 = 25 * 1024 * 1024;
/// How many files of one message are fetched.
const MOST_FILES: usize = 10;
/// The most characters of a file's name that people and agents are told.
const MOST_NAME: usize = 200;
/// How many files are fetched from one workspace at once.
const AT_ONCE: usize = 8;
/// How often it is tried to fetch a file.
const ATTEMPTS: u32 = 3;
/// How many steps a file may take in all, however its bytes drip.
const STEPS: u32 = 4;

/// How files are fetched from one workspace.
pub(super) struct Downloads {
    pub(super) client: Client<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, io::Error>>,
    bot: SecretString,
    pub(super) api: Uri,
    pub(super) patience: Duration,
    turns: Semaphore,
}

/// Why a file does not lie in the group's folder, as the message says it.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("it was deleted")]
    Gone,
    #[error("it is not kept by Slack but at {0}")]
    Elsewhere(String),
    #[error("it is larger than {} MiB", MOST_BYTES / 1024 / 1024)]
    TooLarge,
    #[error("only the first {MOST_FILES} files of a message are")]
    TooMany,
    #[error("the app may not read files (files:read)")]
    MayNot,
    #[error("its address is not one of Slack's")]
    Foreign,
    #[error("Slack does not say where it is")]
    Unsaid(#[source] ApiError),
    #[error("Slack answers {status}")]
    Status { status: StatusCode, after: Option<Duration> },
    #[error("the connection broke")]
    Broken,
    #[error("it did not come in time")]
    Slow,
    #[error("{}", unplaced(.0))]
    Unplaced(#[source] io::Error),
    #[error(transparent)]
    NotKept(#[from] NotKept),
}

impl Downloads {
    /// Downloads for the workspace that these tokens are of; `api` is the address of the Web API, and a step that takes
    /// longer than `patience` has failed.
    pub(super) fn new(
        api: &str,
        tokens: &SlackTokens,
        tls: &ClientConfig,
        patience: Duration,
    ) -> Self {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
        let connector = connector.https_or_http().enable_http1().build();
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector),
            bot: tokens.bot.clone(),
            api: api.parse().unwrap_or_default(),
            patience,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Streams a file to its place; returns its size.
    async fn stream(&self, url: &str, file: &File, to: &mut dyn FileSink) -> Result<u64, Missing> {
        let request = self.request(url)?;
        let answer = self.step(self.client.request(request)).await?;
        let answer = answer.map_err(|_broken| Missing::Broken)?;
        let kind = file.kind.as_deref().unwrap_or_default();
        accept(answer.status(), answer.headers(), kind)?;
        let (mut body, mut bytes) = (answer.into_body(), 0);
        while let Some(frame) = self.step(body.frame()).await? {
            let Ok(data) = frame.map_err(|_broken| Missing::Broken)?.into_data() else { continue };
            if bytes == 0 && is_log_in_page(&data, kind) {
                return Err(Missing::MayNot);
            }
            bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
            if bytes > MOST_BYTES {
                return Err(Missing::TooLarge);
            }
            to.write(&data).await.map_err(Missing::Unplaced)?;
        }
        Ok(bytes)
    }

    fn request(&self, url: &str) -> Result<Request<UnsyncBoxBody<Bytes, io::Error>>, Missing> {
        let uri = url.parse().ok().filter(|uri| is_slacks(uri, &self.api));
        let bearer = format!("Bearer {}", self.bot.expose_secret());
        let request = Request::get(uri.ok_or(Missing::Foreign)?).header(AUTHORIZATION, bearer);
        let nothing = Empty::new().map_err(|never| match never {});
        request.body(nothing.boxed_unsync()).map_err(|_odd| Missing::Foreign)
    }

    async fn step<T>(&self, step: impl Future<Output = T>) -> Result<T, Missing> {
        timeout(self.patience, step).await.map_err(|_elapsed| Missing::Slow)
    }
}

impl Inlet<'_> {
    /// Fetches the files of a message that is to be kept, and names them in it: those that came by their place, all by
    /// a line of its text.
    ///
    /// # Errors
    /// When the store does not tell whether they are wanted.
    pub(super) async fn fetch(
        &self,
        from: &Message,
        into: &mut model::Message,
    ) -> Result<(), NotKept> {
        let message = &*into;
        let fetched = from.files.iter().enumerate().map(|(n, file)| self.file(n, file, message));
        let fetched = join_all(fetched).await;
        for (file, fetched) in from.files.iter().zip(fetched) {
            let missing = match fetched {
                Err(Missing::NotKept(error)) => return Err(error),
                Err(missing) => Some(missing),
                Ok(attachment) => {
                    into.attachments.extend(attachment);
                    None
                }
            };
            name(file, missing.as_ref(), &mut into.text);
        }
        Ok(())
    }

    /// Fetches one file of a message, the `number`th; `None` where it is not wanted.
    async fn file(
        &self,
        number: usize,
        file: &File,
        of: &model::Message,
    ) -> Result<Option<Attachment>, Missing> {
        let url = address(number, file)?;
        let downloads = &self.workspace.downloads;
        let _turn = downloads.turns.acquire().await;
        let attempts = async {
            let mut attempt = 1;
            loop {
                let missing = match self.attempt(number, url, file, of).await {
                    Err(missing) if attempt < ATTEMPTS => missing,
                    done => return done,
                };
                let Some(wait) = missing.wait() else { return Err(missing) };
                sleep(wait.unwrap_or_else(|| self.workspace.pace.wait(attempt))).await;
                attempt += 1;
            }
        };
        let fetched = timeout(downloads.patience * STEPS, attempts).await;
        let fetched = fetched.unwrap_or(Err(Missing::Slow));
        if let Err(error) = &fetched {
            warn!(channel.name = "slack", error = error as &dyn Error, "a file was not fetched");
        }
        fetched
    }

    async fn attempt(
        &self,
        number: usize,
        url: Option<&str>,
        file: &File,
        of: &model::Message,
    ) -> Result<Option<Attachment>, Missing> {
        let to = self.intake.receive(&of.chat, &of.id, number, &file.name).await?;
        let Some(mut to) = to else { return Ok(None) };
        let bytes = match url {
            Some(url) => self.workspace.downloads.stream(url, file, &mut *to).await?,
            None => {
                let url = self.ask_for(file).await?;
                self.workspace.downloads.stream(&url, file, &mut *to).await?
            }
        };
        let path = to.settle().await.map_err(Missing::Unplaced)?;
        let kind = file.kind.as_deref().unwrap_or("application/octet-stream").to_owned();
        Ok(Some(Attachment { name: one_line(&file.name, MOST_NAME), path, bytes, kind }))
    }

    /// Asks where a file is whose message does not say it, as in conversations that are shared with others.
    async fn ask_for(&self, file: &File) -> Result<String, Missing> {
        let id = file.id.as_deref().unwrap_or_default();
        let answer = self.workspace.ask("files.info", &[("file", id)]).await;
        let file = answer.map_err(Missing::Unsaid)?.get("file").and_then(File::parse);
        match file.as_ref().map(|file| address(0, file)) {
            Some(Ok(Some(url))) => Ok(url.to_owned()),
            Some(Err(missing)) => Err(missing),
            _ => Err(Missing::Unsaid(ApiError::failed("an answer without an address"))),
        }
    }
}

impl Missing {
    /// Whether it may be had after a while, and after which, where Slack says it.
    fn wait(&self) -> Option<Option<Duration>> {
        match self {
            Self::Broken => Some(None),
            Self::Status { after, status } if after.is_some() || status.is_server_error() => {
                Some(*after)
            }
            _ => None,
        }
    }
}

/// Names the files of a message in its text, as far as that can be told without fetching them.
pub(super) fn name_all(message: &Message, text: &mut String) {
    for (number, file) in message.files.iter().enumerate() {
        name(file, address(number, file).err().as_ref(), text);
    }
}

/// Adds a line that names a file, and says why it is nowhere to be found.
fn name(file: &File, missing: Option<&Missing>, text: &mut String) {
    let kind = file.kind.as_deref().map(|kind| format!(", {}", one_line(kind, 100)));
    let said = file.transcript.as_deref().map(|said| format!(": {said}"));
    let missing = missing.map(|missing| format!(": not fetched: {missing}"));
    let parts = [kind, said, missing].map(Option::unwrap_or_default).concat();
    let line = if text.is_empty() { "" } else { "\n" };
    text.push_str(&format!("{line}[file: {}{parts}]", one_line(&file.name, MOST_NAME)));
}

/// Where a file is to be fetched from, `None` where that has to be asked for; or why it is not fetched.
fn address(number: usize, file: &File) -> Result<Option<&str>, Missing> {
    match &file.source {
        FileSource::Gone => Err(Missing::Gone),
        FileSource::External(url) => Err(Missing::Elsewhere(one_line(url, 500))),
        _ if number >= MOST_FILES => Err(Missing::TooMany),
        _ if file.bytes.is_some_and(|bytes| bytes > MOST_BYTES) => Err(Missing::TooLarge),
        FileSource::Url(url) => Ok(Some(url)),
        FileSource::AskFor => Ok(None),
    }
}

/// Whether what is Slack's alone may be sent to an address, as the bot's token: one of Slack itself, or of the server
/// that stands for it.
pub(super) fn is_slacks(uri: &Uri, api: &Uri) -> bool {
    let (Some(host), Some(home)) = (uri.host(), api.host()) else { return false };
    let beneath = |host: &str, home: &str| {
        let above = host.len().checked_sub(home.len()).and_then(|at| host.split_at_checked(at));
        above.is_some_and(|(above, end)| {
            end.eq_ignore_ascii_case(home) && (above.is_empty() || above.ends_with('.'))
        })
    };
    let home = if beneath(home, "slack.com") { "slack.com" } else { home };
    let bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    bare && beneath(host, home) && uri.scheme() == api.scheme() && uri.port_u16() == api.port_u16()
}

/// Whether an answer is what was asked for, by its head.
fn accept(status: StatusCode, headers: &HeaderMap, kind: &str) -> Result<(), Missing> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if status.is_redirection() {
        return Err(Missing::MayNot);
    }
    if status != StatusCode::OK {
        let after = text(RETRY_AFTER).and_then(|after| after.parse().ok()).map(Duration::from_secs);
        return Err(Missing::Status { status, after });
    }
    let told = text(CONTENT_TYPE).unwrap_or_default();
    if told.starts_with("text/html") && !kind.contains("html") {
        return Err(Missing::MayNot);
    }
    Ok(())
}

/// Whether a file that is no text begins like a page.
fn is_log_in_page(begin: &[u8], kind: &str) -> bool {
    let is_text = kind.starts_with("text/") || kind.contains("html") || kind.contains("xml");
    let begin = begin.trim_ascii_start();
    let begins = |with: &str| {
        begin.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
    };
    !is_text && (begins("<!doctype html") || begins("<html"))
}

/// What is said of a file that could not be put in its place.
fn unplaced(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the gateway's disk is full",
        _ => "it could not be put into files/",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_token_is_for_slack_and_for_whoever_stands_for_it() {
        let (slack, ours) = ("https://slack.com/api", "http://127.0.0.1:81/api");
        for (url, api, expected) in [
            ("https://files.slack.com/files-pri/T1-F1/download/x", slack, true),
            ("https://FILES.Slack.com/x", slack, true),
            ("https://slack.com/x", slack, true),
            ("https://team.enterprise.slack.com/x", slack, true),
            ("https://files.slack.com/x", "https://www.slack.com/api", true),
            ("http://files.slack.com/x", slack, false),
            ("https://files.slack.com:444/x", slack, false),
            ("https://files.slack.com.evil.com/x", slack, false),
            ("https://evilslack.com/x", slack, false),
            ("https://evil.com/files.slack.com", slack, false),
            ("https://files.slack.com@evil.com/x", slack, false),
            ("https://evil.com@files.slack.com/x", slack, false),
            ("https://drive.google.com/x", slack, false),
            ("https://com/x", slack, false),
            ("/x", slack, false),
            ("http://127.0.0.1:81/files-pri/x", ours, true),
            ("http://127.0.0.1:82/files-pri/x", ours, false),
            ("https://files.slack.com/x", ours, false),
            ("https://files.slack-gov.com/x", "https://slack-gov.com/api", true),
        ] {
            let may = is_slacks(&url.parse().unwrap(), &api.parse().unwrap());
            assert_eq!(may, expected, "{url} {api}");
        }
    }

    #[test]
    fn a_log_in_page_is_told_from_a_file() {
        const PAGE: &[u8] = b"\n <!DOCTYPE html><html>";
        for (told, kind, begin, is_page) in [
            ("text/html; charset=utf-8", "application/pdf", PAGE, true),
            ("text/html", "text/plain", b"", true),
            ("text/html", "", b"", true),
            ("application/pdf", "application/pdf", PAGE, true),
            ("image/png", "image/png", b"<HTML lang", true),
            ("text/html", "text/html", PAGE, false),
            ("text/plain", "text/plain", PAGE, false),
            ("application/xhtml+xml", "application/xhtml+xml", PAGE, false),
            ("application/pdf", "application/pdf", b"%PDF", false),
            ("image/png", "image/png", b"", false),
        ] {
            let headers = [(CONTENT_TYPE, told.parse().unwrap())].into_iter().collect();
            let accepted = accept(StatusCode::OK, &headers, kind);
            let found = accepted.is_err() || is_log_in_page(begin, kind);
            assert_eq!(found, is_page, "{told} {kind} {begin:?}");
        }
        for (status, said) in [
            (302, "the app may not read files (files:read)"),
            (404, "Slack answers 404 Not Found"),
            (206, "Slack answers 206 Partial Content"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = accept(status, &HeaderMap::new(), "image/png").unwrap_err();
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn what_is_not_fetched_is_named_with_the_reason() {
        let url = "https://files.slack.com/x";
        for (number, file, line) in [
            (
                0,
                json!({ "name": "a.pdf", "mimetype": "application/pdf", "url_private": url }),
                "a.pdf, application/pdf",
            ),
            (9, json!({ "name": "a", "size": MOST_BYTES, "url_private": url }), "a"),
            (
                10,
                json!({ "name": "a", "url_private": url }),
                "a: not fetched: only the first 10 files of a message are",
            ),
            (
                0,
                json!({ "name": "a", "size": MOST_BYTES + 1, "url_private": url }),
                "a: not fetched: it is larger than 25 MiB",
            ),
            (0, json!({ "name": "a", "mode": "tombstone" }), "a: not fetched: it was deleted"),
            (
                0,
                json!({ "name": "a", "is_external": true, "url_private": "https://x.y/z" }),
                "a: not fetched: it is not kept by Slack but at https://x.y/z",
            ),
            (0, json!({ "id": "F1", "name": "a", "file_access": "check_file_info" }), "a"),
            (
                0,
                json!({ "name": "m4a", "url_private": url, "transcription": { "preview": { "content": "hi" } } }),
                "m4a: hi",
            ),
        ] {
            let file = File::parse(&file).unwrap();
            let mut text = String::new();
            name(&file, address(number, &file).err().as_ref(), &mut text);
            assert_eq!(text, format!("[file: {line}]"));
        }
    }
}
