//! How the Anthropic Messages API writes: JSON, or server-sent events, one per chunk.

use bytes::Bytes;
use serde_json::{Value, json};

use super::failure::Failure;
use super::message::Message;
use super::wire::Wire;

/// The wire of `api.anthropic.com`.
pub(super) struct Anthropic;

const REQUEST_ID: &str = "req_test";

impl Wire for Anthropic {
    fn infix(&self) -> &'static str {
        ""
    }

    fn headers(&self, _message: &Message, stream: bool) -> Vec<(&'static str, String)> {
        let kind = if stream { "text/event-stream; charset=utf-8" } else { "application/json" };
        vec![
            ("content-type", kind.to_owned()),
            ("cache-control", "no-cache".to_owned()),
            ("request-id", REQUEST_ID.to_owned()),
        ]
    }

    fn events(&self, message: &Message) -> Vec<Bytes> {
        let mut events: Vec<Bytes> = message.events().iter().map(event).collect();
        // The API sends its first ping when the first block has been opened; a client must take
        // one anywhere.
        events.insert(2.min(events.len()), event(&json!({ "type": "ping" })));
        events
    }

    fn breaking(&self, failure: &Failure) -> Bytes {
        event(&json!({ "type": "error", "error": error(failure) }))
    }

    fn malformed(&self) -> Bytes {
        let cut = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_del"#;
        sse("content_block_delta", cut.as_bytes())
    }

    fn garbled(&self) -> Bytes {
        sse("ping", b"{\"type\":\"pi\xff\xfeng\"}")
    }

    fn refusal(&self, failure: &Failure) -> (u16, Vec<(&'static str, String)>, Value) {
        let headers = vec![("request-id", REQUEST_ID.to_owned())];
        let body = json!({ "type": "error", "error": error(failure), "request_id": REQUEST_ID });
        (failure.anthropic().status, headers, body)
    }
}

fn error(failure: &Failure) -> Value {
    let wording = failure.anthropic();
    json!({ "type": wording.name, "message": wording.message })
}

fn event(event: &Value) -> Bytes {
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
    sse(kind, event.to_string().as_bytes())
}

fn sse(kind: &str, data: &[u8]) -> Bytes {
    [b"event: ", kind.as_bytes(), b"\ndata: ", data, b"\n\n"].concat().into()
}
