//! Sends one request to the broker and hands back the bytes of its answer as they come.
//!
//! Straight to the broker's socket where there is one, else to the bridge's port. A connection is made for each
//! request: it costs tens of microseconds, and a gateway that was restarted is found again.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::settings::Broker;

/// How long the broker may be away: the bridge may not be up yet, or the gateway is being restarted.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
/// The time between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take to begin; the broker waits for an overloaded service.
const HEAD_PATIENCE: Duration = Duration::from_mins(15);
/// How long an answer may pause; the service sends pings.
const BODY_PATIENCE: Duration = Duration::from_mins(3);
/// The most bytes of an answer that is read whole.
const MAX_WHOLE_BYTES: usize = 64 * 1024;

/// Why an answer could not be had; each may be different the next time.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// Nobody listens.
    #[error("the gateway's broker cannot be reached")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection to the gateway's broker broke")]
    Broken(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("the gateway's broker was silent for too long")]
    Silent,
}

/// An answer, of which the body is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// Drives the connection; ends with this.
    _connection: JoinSet<()>,
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Posts a body of JSON.
///
/// # Errors
///
/// The broker is away, or the connection broke before the answer began.
pub(crate) async fn post(broker: &Broker, path: &str, json: Bytes) -> Result<Answer, HttpError> {
    let stream = connect(broker).await?;
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(HttpError::Broken)?;
    let mut tasks = JoinSet::new();
    // How it ends is seen where the answer is read.
    tasks.spawn(async move { connection.await.unwrap_or_default() });
    let mut request = Request::new(Full::new(json));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    for (name, value) in [
        ("host", "broker"),
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("anthropic-version", "2023-06-01"),
        ("x-api-key", crate::PLACEHOLDER_KEY),
        ("user-agent", concat!("hermitcrab-native/", env!("CARGO_PKG_VERSION"))),
    ] {
        headers.insert(name, hyper::header::HeaderValue::from_static(value));
    }
    let answer = timeout(HEAD_PATIENCE, requests.send_request(request));
    let answer = answer.await.map_err(|_elapsed| HttpError::Silent)?.map_err(HttpError::Broken)?;
    let (head, body) = answer.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body, _connection: tasks })
}

impl Answer {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    ///
    /// The connection broke, or nothing came for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = timeout(BODY_PATIENCE, self.body.frame());
            let Some(frame) = frame.await.map_err(|_elapsed| HttpError::Silent)? else {
                return Ok(None);
            };
            // A frame that is no data is trailers, of which there is no use here.
            if let Ok(data) = frame.map_err(HttpError::Broken)?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The first bytes of the body, as far as a message of an error needs them.
    ///
    /// # Errors
    ///
    /// The connection broke, or nothing came for too long.
    pub(crate) async fn whole(mut self) -> Result<Vec<u8>, HttpError> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            whole.extend_from_slice(&bytes);
            if whole.len() > MAX_WHOLE_BYTES {
                break;
            }
        }
        Ok(whole)
    }
}

async fn connect(broker: &Broker) -> Result<Box<dyn Stream>, HttpError> {
    let until = Instant::now() + CONNECT_PATIENCE;
    loop {
        let connected: io::Result<Box<dyn Stream>> = match broker {
            Broker::Socket(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(error),
            },
            Broker::Address(address) => match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map(|()| Box::new(stream) as Box<dyn Stream>)
                }
                Err(error) => Err(error),
            },
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= until => return Err(HttpError::Connect(error)),
            Err(_away) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
    }
}
