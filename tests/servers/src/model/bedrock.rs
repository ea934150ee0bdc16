//! How Bedrock runtime writes: the same JSON, or the same events in AWS event-stream frames.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message as Frame};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::failure::Failure;
use super::message::Message;
use super::wire::Wire;

/// The wire of `bedrock-runtime.<region>.amazonaws.com`.
pub(super) struct Bedrock;

impl Wire for Bedrock {
    fn infix(&self) -> &'static str {
        "bdrk_"
    }

    fn headers(&self, message: &Message, stream: bool) -> Vec<(&'static str, String)> {
        let id = ("x-amzn-requestid", REQUEST_ID.to_owned());
        if stream {
            return vec![
                ("content-type", "application/vnd.amazon.eventstream".to_owned()),
                ("x-amzn-bedrock-content-type", "application/json".to_owned()),
                id,
            ];
        }
        let (input, output) = message.tokens();
        vec![
            ("content-type", "application/json".to_owned()),
            ("x-amzn-bedrock-input-token-count", input.to_string()),
            ("x-amzn-bedrock-output-token-count", output.to_string()),
            ("x-amzn-bedrock-invocation-latency", "1".to_owned()),
            id,
        ]
    }

    fn events(&self, message: &Message) -> Vec<Bytes> {
        let mut events = message.events();
        let (input, output) = message.tokens();
        if let Some(last) = events.last_mut().and_then(Value::as_object_mut) {
            let metrics = json!({
                "inputTokenCount": input, "outputTokenCount": output,
                "invocationLatency": 1, "firstByteLatency": 1,
            });
            last.insert("amazon-bedrock-invocationMetrics".to_owned(), metrics);
        }
        events.iter().map(|event| chunk(event.to_string().as_bytes())).collect()
    }

    fn breaking(&self, failure: &Failure) -> Bytes {
        let wording = failure.bedrock();
        // On the stream a shape goes by its member name, which begins with a small letter.
        let (first, rest) = wording.name.split_at(1);
        let name = format!("{}{rest}", first.to_ascii_lowercase());
        let payload = json!({ "message": wording.message }).to_string();
        frame("exception", ":exception-type", &name, payload.as_bytes())
    }

    fn malformed(&self) -> Bytes {
        chunk(br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_del"#)
    }

    fn garbled(&self) -> Bytes {
        let mut bytes = chunk(br#"{"type":"ping"}"#).to_vec();
        // The last four bytes are the checksum of the whole frame.
        if let Some(last) = bytes.last_mut() {
            *last ^= 0xff;
        }
        bytes.into()
    }

    fn refusal(&self, failure: &Failure) -> (u16, Vec<(&'static str, String)>, Value) {
        let wording = failure.bedrock();
        // Services add a namespace, which clients must cut off (Smithy, restJson1, error shapes).
        let kind = format!("{}:http://internal.amazon.com/coral/com.amazon.bedrock/", wording.name);
        let headers = vec![("x-amzn-errortype", kind), ("x-amzn-requestid", REQUEST_ID.to_owned())];
        (wording.status, headers, json!({ "message": wording.message }))
    }
}

const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";

/// An event of the model in the `chunk` that carries it; `p` is padding, as the service adds it.
fn chunk(event: &[u8]) -> Bytes {
    let payload = json!({ "bytes": STANDARD.encode(event), "p": "abcdefgh" }).to_string();
    frame("event", ":event-type", "chunk", payload.as_bytes())
}

fn frame(kind: &'static str, name_header: &'static str, name: &str, payload: &[u8]) -> Bytes {
    let text = |value: String| HeaderValue::String(value.into());
    let frame = Frame::new(Bytes::copy_from_slice(payload))
        .add_header(Header::new(name_header, text(name.to_owned())))
        .add_header(Header::new(":content-type", text("application/json".to_owned())))
        .add_header(Header::new(":message-type", text(kind.to_owned())));
    let mut bytes = Vec::new();
    write_message_to(&frame, &mut bytes).expect("short headers always fit a frame");
    bytes.into()
}
