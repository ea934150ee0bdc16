//! A sandbox's end of a door, a ledger in memory, and settings that point at test servers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::broker::sse::SseReader;
use crate::broker::web::Web;
use crate::broker::{Allowance, Broker, Client, Door, Ledger};
use crate::clock;
use crate::config::{AnthropicCredential, AnthropicSettings, BedrockSettings, ModelSettings};
use crate::model::{GroupName, Usage};

/// The key that must never be seen inside.
pub(super) const CANARY: &str = "sk-canary-0451";

/// A ledger in memory.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The sentence with which everything is refused.
    pub refusal: Mutex<Option<String>>,
    /// The group's budget, if it has one.
    pub budget: Mutex<Option<u64>>,
    recorded: watch::Sender<Vec<(GroupName, Usage)>>,
}

impl Book {
    /// Waits until so many calls were recorded, and returns them.
    pub(super) async fn recorded(&self, n: usize) -> Vec<(GroupName, Usage)> {
        let mut recorded = self.recorded.subscribe();
        recorded.wait_for(|recorded| recorded.len() >= n).await.unwrap().clone()
    }
}

#[async_trait]
impl Ledger for Book {
    async fn may_spend(&self, _group: &GroupName) -> Result<Allowance, String> {
        let spent: u64 = self.recorded.borrow().iter().map(|(_, usage)| usage.cost_micros).sum();
        let budget = *self.budget.lock().unwrap();
        let allowance = match budget.map(|budget| budget.saturating_sub(spent)) {
            None => Allowance::Unlimited,
            Some(0) => return Err("the budget is used up".to_owned()),
            Some(left) => Allowance::Budget { left },
        };
        self.refusal.lock().unwrap().clone().map_or(Ok(allowance), Err)
    }

    async fn record(&self, client: &Client, usage: Usage) {
        self.recorded.send_modify(|recorded| recorded.push((client.group.clone(), usage)));
    }

    async fn settle(&self) {}
}

/// The Anthropic API at this address.
pub(super) fn anthropic(url: &str) -> ModelSettings {
    let credential = AnthropicCredential::ApiKey(CANARY.into());
    let anthropic = AnthropicSettings { base_url: url.to_owned(), credential };
    ModelSettings { anthropic: Some(anthropic), ..demo() }
}

/// Bedrock at this address.
pub(super) fn bedrock(url: &str) -> ModelSettings {
    let bedrock = BedrockSettings {
        region: "eu-central-1".to_owned(),
        access_key_id: "AKIATEST".to_owned(),
        secret_access_key: CANARY.into(),
        session_token: None,
        endpoint_url: Some(url.to_owned()),
    };
    ModelSettings { bedrock: Some(bedrock), ..demo() }
}

/// Bedrock first, then the Anthropic API.
pub(super) fn both(bedrock_url: &str, anthropic_url: &str) -> ModelSettings {
    ModelSettings { bedrock: bedrock(bedrock_url).bedrock, ..anthropic(anthropic_url) }
}

/// No credentials.
pub(super) fn demo() -> ModelSettings {
    let model = "claude-sonnet-4-5-20250929".to_owned();
    ModelSettings { model, anthropic: None, bedrock: None }
}

/// A broker with one door to a group called `kin`.
pub(super) struct House {
    pub broker: Broker,
    pub book: Arc<Book>,
    pub door: Option<Door>,
    pub dir: TempDir,
}

impl House {
    pub(super) fn new(settings: &ModelSettings) -> Self {
        Self::with_web(settings, Web::new(), &[])
    }

    pub(super) fn with_web(settings: &ModelSettings, web: Web, allow: &[&str]) -> Self {
        let book = Arc::new(Book::default());
        let ledger: Arc<dyn Ledger> = book.clone();
        let broker = Broker::with_web(settings, ledger, clock::system(), web).unwrap();
        let dir = TempDir::new().unwrap();
        let socket = broker.bind(dir.path(), own_user()).unwrap();
        let door = broker.open_socket(socket, client("kin", allow));
        Self { broker, book, door: Some(door), dir }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("broker.sock")
    }

    /// A new connection from inside.
    pub(super) async fn connect(&self) -> Inside {
        Inside::new(UnixStream::connect(self.socket()).await.unwrap()).await
    }

    /// Asks for a message on a new connection.
    pub(super) async fn ask(&self, body: &Value) -> Reply {
        self.connect().await.ask(body).await
    }
}

/// The user and group ids of the test.
pub(super) fn own_user() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// Who is behind a door.
pub(super) fn client(group: &str, allow: &[&str]) -> Client {
    Client {
        group: group.parse().unwrap(),
        sandbox: "s1".parse().unwrap(),
        web_allow: allow.iter().map(|&host| host.to_owned()).collect(),
    }
}

/// A program inside a sandbox, on one connection; dropping it hangs up.
pub(super) struct Inside {
    sender: http1::SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Inside {
    pub(super) async fn new<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // A connection that breaks is seen by whoever waits for a response.
            connection.with_upgrades().await.ok();
        });
        Self { sender, _connection: tasks }
    }

    /// Sends a request and returns the response when its head is there.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.sender.send_request(request).await.unwrap()
    }

    /// Sends a request and returns the whole response.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Reply {
        Reply::read(self.send(request).await).await.expect("a whole answer")
    }

    /// Asks for a message.
    pub(super) async fn ask(&mut self, body: &Value) -> Reply {
        self.exchange(post("/v1/messages", body)).await
    }
}

/// A request for a model call.
pub(super) fn post(path: &str, body: &Value) -> Request<Full<Bytes>> {
    request(Method::POST, path, Bytes::from(body.to_string()))
}

/// Any request.
pub(super) fn request(method: Method, uri: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "127.0.0.1:8383")
        .header("content-type", "application/json")
        .header("x-api-key", "placeholder")
        .body(Full::new(body))
        .unwrap()
}

/// A body that asks for a streamed answer to a text.
pub(super) fn streamed(text: &str) -> Value {
    let mut body = whole(text);
    body["stream"] = true.into();
    body
}

/// A body that asks for an answer in one piece to a text.
pub(super) fn whole(text: &str) -> Value {
    json!({"model": "default", "max_tokens": 100, "messages": [{"role": "user", "content": text}]})
}

/// A whole response.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Reads a response to its end; `None` when it breaks off.
    pub(super) async fn read(response: Response<Incoming>) -> Option<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Self { status: head.status, headers: head.headers, body })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The type of the error.
    pub(super) fn error(&self) -> String {
        self.json()["error"]["type"].as_str().unwrap().to_owned()
    }

    /// The events of a stream.
    pub(super) fn events(&self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        SseReader::default().push(&self.body, |name, data| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            events.push((name, serde_json::from_slice(data).unwrap()));
        });
        events
    }

    /// The text of a stream.
    pub(super) fn text(&self) -> String {
        let events = self.events();
        events.iter().filter_map(|(_, event)| event["delta"]["text"].as_str()).collect()
    }
}

/// A provider that sends what a test says, byte by byte.
pub(super) struct Upstream(TcpListener);

impl Upstream {
    /// The provider and its address.
    pub(super) async fn new() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Self(listener), url)
    }

    /// Takes a connection, and its request as far as that comes in one go.
    pub(super) async fn accept(&self) -> UpstreamConnection {
        let (mut stream, _) = self.0.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        UpstreamConnection(stream)
    }
}

/// One connection of it.
pub(super) struct UpstreamConnection(TcpStream);

impl UpstreamConnection {
    /// Begins an answer, with a cookie that is nobody's business.
    pub(super) async fn begin_stream(&mut self) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nset-cookie: a=b\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        self.0.write_all(head.as_bytes()).await.unwrap();
    }

    /// Sends a piece of it.
    pub(super) async fn send(&mut self, piece: &str) {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        self.0.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// Ends it.
    pub(super) async fn end_stream(&mut self) {
        self.0.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// Waits until the broker has hung up; a test in which it does not never ends.
    pub(super) async fn hung_up(mut self) {
        let mut rest = Vec::new();
        // A reset is a way to hang up, too.
        self.0.read_to_end(&mut rest).await.ok();
    }
}
