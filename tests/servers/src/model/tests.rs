//! The wire, read by hand: a bare HTTP client, and no code of the server to decode with.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Script, Server};

mod anthropic;
mod bedrock;
mod faults;
mod server;

/// A response, read to its end.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether the body ended as HTTP says that it must.
    complete: bool,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A client with one connection, which lives as long as it does.
struct Client {
    requests: http1::SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { connection.await.unwrap_or_default() });
        Self { requests, _connection: tasks }
    }

    async fn send(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl ToString,
    ) -> Response<Incoming> {
        let request = Request::post(path).header("host", "test");
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        let body = Full::new(Bytes::from(body.to_string()));
        self.requests.send_request(request.body(body).unwrap()).await.unwrap()
    }
}

async fn read(response: Response<Incoming>) -> Reply {
    let (head, mut body) = response.into_parts();
    let mut reply = Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: Vec::new(),
        complete: true,
    };
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => reply.body.extend(frame.into_data().unwrap()),
            Err(_) => reply.complete = false,
        }
    }
    reply
}

async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: impl ToString) -> Reply {
    read(Client::connect(server).await.send(path, headers, body).await).await
}

/// Asks as the Anthropic API wants to be asked, without a key.
async fn ask(server: &Server, body: &Value) -> Reply {
    post(server, "/v1/messages", &[("anthropic-version", "2023-06-01")], body).await
}

/// Asks Bedrock, with a signature that nobody has to match.
async fn invoke(server: &Server, operation: &str, body: &Value) -> Reply {
    let signature = "0".repeat(64);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIA/20260131/eu-west-1/bedrock/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
    );
    let headers = [("authorization", authorization.as_str()), ("x-amz-date", "20260131T101112Z")];
    post(server, &format!("/model/anthropic.claude%3A0/{operation}"), &headers, body).await
}

fn says(text: &str, stream: bool) -> Value {
    let messages = json!([{ "role": "user", "content": text }]);
    json!({ "model": "m-1", "max_tokens": 64, "stream": stream, "messages": messages })
}

fn says_to_bedrock(text: &str) -> Value {
    let messages = json!([{ "role": "user", "content": text }]);
    let version = "bedrock-2023-05-31";
    json!({ "anthropic_version": version, "max_tokens": 64, "messages": messages })
}

async fn start(script: Script) -> Server {
    Server::start(script).await.unwrap()
}

/// The events of a server-sent stream: `event:` and `data:` lines, a blank line after each.
fn sse(text: &str) -> Vec<(String, String)> {
    assert!(text.is_empty() || text.ends_with("\n\n"), "a whole event ends in a blank line");
    text.split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            (name, data.strip_prefix("data: ").unwrap().to_owned())
        })
        .collect()
}

fn sse_json(reply: &Reply) -> Vec<Value> {
    let events = sse(reply.text());
    let parsed = events.iter().map(|(name, data)| {
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name.as_str());
        data
    });
    parsed.collect()
}

/// The names of events, with how often each comes in a row.
fn kinds(events: &[Value]) -> Vec<String> {
    let mut kinds: Vec<String> =
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    kinds.dedup();
    kinds
}

/// What the deltas of one block say, put together.
fn written(events: &[Value], index: usize, field: &str) -> String {
    let deltas = events
        .iter()
        .filter(|event| event["type"] == "content_block_delta" && event["index"] == index)
        .map(|event| event["delta"][field].as_str().unwrap());
    deltas.collect()
}
