//! Events of Bedrock as server-sent events of the Messages API: pure.

use std::borrow::Cow;

use aws_sdk_bedrockruntime::types::error::ResponseStreamError;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::broker::sse;

/// What Bedrock adds to the last event of a message.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// The event in a chunk; `None` when it is none.
pub(in crate::broker) fn of_chunk(json: &[u8]) -> Option<Bytes> {
    let Typed { kind } = serde_json::from_slice(json).ok()?;
    // Names go onto a line of their own and must not end it.
    if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return None;
    }
    if kind == "message_stop" {
        let mut event: Map<String, Value> = serde_json::from_slice(json).ok()?;
        event.remove(METRICS);
        return Some(sse::event(&kind, Value::Object(event).to_string().as_bytes()));
    }
    if json.contains(&b'\n') || json.contains(&b'\r') {
        let event: Value = serde_json::from_slice(json).ok()?;
        return Some(sse::event(&kind, event.to_string().as_bytes()));
    }
    Some(sse::event(&kind, json))
}

/// The event that tells of an error in the middle of a stream.
pub(super) fn of_exception(error: &ResponseStreamError) -> Bytes {
    let kind = match error {
        ResponseStreamError::ThrottlingException(_) => "rate_limit_error",
        ResponseStreamError::ServiceUnavailableException(_) => "overloaded_error",
        ResponseStreamError::ValidationException(_) => "invalid_request_error",
        _ => "api_error",
    };
    let message = error.meta().message().unwrap_or("the model broke off");
    let body = json!({"type": "error", "error": {"type": kind, "message": message}});
    sse::event("error", body.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_events() {
        for (json, expected) in [
            (r#"{"type":"ping"}"#, Some("event: ping\ndata: {\"type\":\"ping\"}\n\n")),
            (
                r#"{"delta":{"text":"a"},"type":"content_block_delta"}"#,
                Some(
                    "event: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"},\"type\":\"content_block_delta\"}\n\n",
                ),
            ),
            (
                r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}"#,
                Some("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
            ),
            ("{\n\"type\":\"ping\"\r}", Some("event: ping\ndata: {\"type\":\"ping\"}\n\n")),
            (r#"{"type":"a\ndata: x"}"#, None),
            (r#"{"type":""}"#, None),
            (r#"{"type":1}"#, None),
            ("{}", None),
            ("", None),
        ] {
            let event = of_chunk(json.as_bytes());
            assert_eq!(event.as_deref(), expected.map(str::as_bytes), "{json}");
        }
    }
}
