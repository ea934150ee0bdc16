//! Files that come with messages: fetched with the bot's token, and put into the folder of the chat's group.
//!
//! The token goes to Slack's own hosts and nowhere else, and no redirect is followed: it is Slack's way to a log-in
//! page. A file is streamed to its place, never held whole. A message waits for its files, in the lane of its chat
//! alone; one whose files cannot be had is kept with a note in their place. Files of those who may not ask the assistant are
//! not fetched, nor is more than a group may be sent in a day.

mod naming;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};

use self::naming::{address, name};
pub(super) use self::naming::{name_again, name_all};
use super::api;
use super::event::{File, Message};
use super::intake::Inlet;
use crate::channel::{FileSink, NotKept, Room};
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
/// What is said of Slack's log-in page.
const MAY_NOT: &str = "the app may not read files (files:read)";
/// What is said of a file that takes too long.
const SLOW: &str = "it did not come in time";
/// How many steps a file may take in all, however its bytes drip and whenever Slack wants to be asked again.
const STEPS: u32 = 6;
/// The most characters of what is said in a recording.
const MOST_SAID: usize = 4_000;
/// What is said of a file of a message that was said before the assistant was called.
const BEFORE: &str = "it was sent before you were called";
/// What is said of a file that a message has got since.
const SINCE: &str = "it was added later";

/// How files are fetched from one workspace.
pub(super) struct Downloads {
    pub(super) client: Client<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, io::Error>>,
    bot: SecretString,
    pub(super) api: Uri,
    pub(super) patience: Duration,
    turns: Semaphore,
}

/// Why a file does not lie in the group's folder.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Missing {
    /// It is not to be had, for this reason.
    #[error("{0}")]
    Never(String),
    /// It may be had in a while, and where Slack says after which.
    #[error("{why}")]
    Later { why: String, after: Option<Duration> },
    #[error(transparent)]
    NotKept(#[from] NotKept),
}

impl Downloads {
    /// Downloads for the workspace that these tokens are of; `api_url` is the address of the Web API, and a step that takes
    /// longer than `patience` has failed.
    pub(super) fn new(
        api_url: &str,
        tokens: &SlackTokens,
        tls: &ClientConfig,
        patience: Duration,
    ) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(api::connector(tls)),
            bot: tokens.bot.clone(),
            api: api_url.parse().unwrap_or_default(),
            patience,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Streams a file of this kind to its place; returns its size.
    async fn stream(&self, url: &str, kind: &str, to: &mut dyn FileSink) -> Result<u64, Missing> {
        let uri = url.parse().ok().filter(|uri| is_slacks(uri, &self.api));
        let uri = uri.ok_or_else(|| never("its address is not one of Slack's"))?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.bot.expose_secret()))
            .map_err(|_odd| never(MAY_NOT))?;
        bearer.set_sensitive(true);
        let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get::<Uri>(uri).header(AUTHORIZATION, bearer).body(nothing);
        let request = request.map_err(|_odd| never("its address cannot be asked for"))?;
        let answer = self.step(self.client.request(request)).await?.map_err(broken)?;
        accept(answer.status(), answer.headers(), kind)?;
        let (mut body, mut bytes) = (answer.into_body(), 0);
        while let Some(frame) = self.step(body.frame()).await? {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes == 0 && is_log_in_page(&data, kind) {
                return Err(never(MAY_NOT));
            }
            bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
            if bytes > MOST_BYTES {
                return Err(too_large());
            }
            to.write(&data).await.map_err(unplaced)?;
        }
        Ok(bytes)
    }

    async fn step<T>(&self, step: impl Future<Output = T>) -> Result<T, Missing> {
        timeout(self.patience, step).await.map_err(|_elapsed| never(SLOW))
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
        let kind = file.kind.as_deref().unwrap_or("application/octet-stream");
        let attempt = async || match self.intake.receive(of, number, &file.name).await? {
            Room::Here(mut to) => {
                let bytes = downloads.stream(url, kind, &mut *to).await?;
                Ok(Some((to, bytes)))
            }
            Room::Unwanted => Ok(None),
            Room::Refused(why) => Err(Missing::Never(why)),
        };
        let _turn = downloads.turns.acquire().await;
        let end = Instant::now() + downloads.patience * STEPS;
        let attempts = async {
            let mut failures = 0;
            loop {
                failures += 1;
                let error = match attempt().await {
                    Err(error) if failures < ATTEMPTS => error,
                    done => return done,
                };
                let Missing::Later { after, .. } = &error else { return Err(error) };
                let wait = after.unwrap_or_else(|| self.workspace.pace.wait(failures));
                if wait >= end.saturating_duration_since(Instant::now()) {
                    return Err(error);
                }
                sleep(wait).await;
            }
        };
        let fetched = timeout_at(end, attempts).await;
        let fetched = match fetched.unwrap_or_else(|_elapsed| Err(never(SLOW))) {
            // Once the file is whole, nothing ends its way into the folder: it would lie there, and nobody know of it.
            Ok(Some((to, bytes))) => to.settle().await.map_err(unplaced).map(|(group, path)| {
                let (name, kind) = (one_line(&file.name, MOST_NAME), kind.to_owned());
                Some(Attachment {
                    name,
                    path,
                    bytes,
                    kind,
                    id: file.id.clone(),
                    group: Some(group),
                })
            }),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if let Err(error) = &fetched {
            warn!(channel.name = "slack", %error, "a file was not fetched");
        }
        fetched
    }
}

/// Whether what is Slack's alone may be sent to an address, as the bot's token: one of Slack itself, or of the server
/// that stands for it.
pub(super) fn is_slacks(uri: &Uri, api: &Uri) -> bool {
    let (Some(host), Some(home)) = (uri.host(), api.host()) else { return false };
    let beneath = |host: &str, home: &str| host == home || host.ends_with(&format!(".{home}"));
    let home = if beneath(home, "slack.com") { "slack.com" } else { home };
    let bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let same = (uri.scheme(), uri.port_u16()) == (api.scheme(), api.port_u16());
    bare && same && beneath(&host.to_ascii_lowercase(), home)
}

/// Whether an answer is what was asked for, by its head.
fn accept(status: StatusCode, headers: &HeaderMap, kind: &str) -> Result<(), Missing> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_page = text(CONTENT_TYPE).starts_with("text/html") && !kind.contains("html");
    if status.is_redirection() || status == StatusCode::OK && is_page {
        return Err(never(MAY_NOT));
    }
    let after = text(RETRY_AFTER).parse().ok().map(Duration::from_secs);
    let why = format!("Slack answers {status}");
    match status {
        StatusCode::OK => Ok(()),
        _ if after.is_some() || status.is_server_error() => Err(Missing::Later { why, after }),
        _ => Err(Missing::Never(why)),
    }
}

/// Whether a file that is no text begins like a page.
fn is_log_in_page(begin: &[u8], kind: &str) -> bool {
    let is_text = kind.starts_with("text/") || kind.contains("html") || kind.contains("xml");
    let begin = begin.trim_ascii_start().to_ascii_lowercase();
    !is_text && (begin.starts_with(b"<!doctype html") || begin.starts_with(b"<html"))
}

fn never(why: impl Into<String>) -> Missing {
    Missing::Never(why.into())
}

fn too_large() -> Missing {
    never(format!("it is larger than {} MiB", MOST_BYTES / 1024 / 1024))
}

fn broken<E>(_error: E) -> Missing {
    Missing::Later { why: "the connection broke".to_owned(), after: None }
}

/// A file that could not be put in its place; what exactly went wrong there is not for the chat.
fn unplaced(error: io::Error) -> Missing {
    debug!(channel.name = "slack", %error, "no place for a file");
    never(match error.kind() {
        io::ErrorKind::StorageFull => "the gateway's disk is full",
        io::ErrorKind::QuotaExceeded => {
            "the group has been sent as much today as it takes in a day"
        }
        _ => "it could not be put into files/",
    })
}

#[cfg(test)]
mod tests;
