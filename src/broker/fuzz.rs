//! What must hold for any bytes that the broker reads.

use bytes::Bytes;
use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::request::{Endpoint, ModelRequest};
use super::sse::{MAX_EVENT_BYTES, SseReader};
use super::{bedrock, policy};

/// Reads server-sent events, in two pieces and at once: it is the same.
pub(crate) fn sse(first: &[u8], second: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let (mut reader, mut events) = (SseReader::default(), Vec::new());
        for piece in pieces {
            reader.push(piece, |name, data| events.push((name.to_vec(), data.to_vec())));
        }
        events
    };
    let events = read(&[first, second]);
    assert_eq!(events, read(&[&[first, second].concat()]));
    for (name, data) in events {
        assert!(name.len() + data.len() <= MAX_EVENT_BYTES);
        assert!(!name.contains(&b'\n') && !name.contains(&b'\r'));
    }
}

/// Turns a chunk of Bedrock's into an event: it is one, and bears the name that its data says.
pub(crate) fn bedrock_chunk(json: &[u8]) {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    let Some(event) = bedrock::fuzz_chunk(json) else { return };
    let mut count = 0;
    SseReader::default().push(&event, |name, data| {
        count += 1;
        let typed: Typed = serde_json::from_slice(data).expect("an event's data has a type");
        assert_eq!(typed.r#type.as_bytes(), name);
    });
    assert!(count == 1 || event.len() > MAX_EVENT_BYTES);
}

/// Reads a request, judges it, and writes it anew: it says the same as before, but for the model.
pub(crate) fn request(bytes: &[u8]) {
    #[derive(Deserialize)]
    struct Written {
        model: Option<String>,
    }
    let (headers, body) = (HeaderMap::new(), Bytes::copy_from_slice(bytes));
    let parsed = ModelRequest::parse(Endpoint::Messages, &headers, body, "configured");
    let Ok(request) = parsed else { return };
    drop(policy::check(&request));
    let body = request.body(&request.model);
    let written: Written = serde_json::from_slice(&body).expect("what was written can be read");
    assert_eq!(written.model.as_ref(), Some(&request.model));
    // What the broker leaves unread, such as a number beyond all measure, may be no JSON to a stricter reader.
    if let Ok(mut before) = serde_json::from_slice::<Value>(bytes) {
        let members = before.as_object_mut().expect("only objects are requests");
        members.insert("model".to_owned(), request.model.clone().into());
        let after: Value = serde_json::from_slice(&body).expect("what was written can be read");
        assert_eq!(before, after);
    }
    let body = request.bedrock_body();
    let written: Written = serde_json::from_slice(&body).expect("what was written can be read");
    assert_eq!(written.model, None);
}
