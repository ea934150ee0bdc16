//! A client with nothing between a test and the wire.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use test_servers::slack::{Options, Slack};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a test waits for a frame that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server as it is by default.
pub(crate) async fn start() -> Slack {
    Slack::start(Options::default()).await.unwrap()
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One request on a connection of its own; an error is a connection that closed.
pub(crate) async fn send(request: Request<Full<Bytes>>) -> Result<Reply, hyper::Error> {
    let authority = request.uri().authority().unwrap().to_string();
    let stream = TcpStream::connect(&authority).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    };
    tokio::pin!(exchange);
    tokio::select! {
        reply = &mut exchange => reply,
        // It ends first when it is closed without an answer, which the exchange then says.
        _ended = connection => exchange.await,
    }
}

/// A request with a token and a body of this type.
pub(crate) fn post(
    url: &str,
    token: &str,
    kind: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    Request::post(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", kind)
        .body(Full::new(body.into()))
        .unwrap()
}

pub(crate) fn get(url: &str, token: &str) -> Request<Full<Bytes>> {
    Request::get(url)
        .header("authorization", format!("Bearer {token}"))
        .body(Full::default())
        .unwrap()
}

/// A method with arguments in JSON, and the bot's token.
pub(crate) fn request(slack: &Slack, method: &str, args: &Value) -> Request<Full<Bytes>> {
    let url = format!("{}/{method}", slack.api_url());
    post(&url, &slack.options().bot_token, "application/json", args.to_string())
}

/// Calls a method with arguments in JSON.
pub(crate) async fn call(slack: &Slack, method: &str, args: Value) -> Value {
    send(request(slack, method, &args)).await.unwrap().json()
}

/// Calls a method with arguments in the query.
pub(crate) async fn ask(slack: &Slack, method: &str, query: &str) -> Value {
    let url = format!("{}/{method}?{query}", slack.api_url());
    send(get(&url, &slack.options().bot_token)).await.unwrap().json()
}

/// Asks for a socket's address.
pub(crate) async fn ticket(slack: &Slack) -> String {
    let url = format!("{}/apps.connections.open", slack.api_url());
    let request = post(&url, &slack.options().app_token, "application/x-www-form-urlencoded", "");
    send(request).await.unwrap().json()["url"].as_str().unwrap().to_owned()
}

/// One end of a socket.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects, and takes the `hello`.
    pub(crate) async fn open(slack: &Slack) -> Self {
        let mut socket = Self::dial(&ticket(slack).await).await.unwrap();
        assert_eq!(socket.next().await.unwrap()["type"], "hello");
        socket
    }

    /// Connects to an address.
    pub(crate) async fn dial(url: &str) -> Result<Self, Error> {
        Ok(Self(connect_async(url).await?.0))
    }

    /// The next frame, past pings; `None` when the socket was closed or lost.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame comes");
            match frame {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next frame of any kind.
    pub(crate) async fn frame(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame comes")
    }

    /// Acks an envelope.
    pub(crate) async fn ack(&mut self, envelope: &Value) {
        self.send(&json!({ "envelope_id": envelope["envelope_id"] })).await;
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Acks what comes, and returns the next event.
    pub(crate) async fn event(&mut self) -> Value {
        let envelope = self.next().await.expect("the socket is open");
        self.ack(&envelope).await;
        envelope["payload"]["event"].clone()
    }
}
