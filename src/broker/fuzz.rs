//! What the fuzz targets call: the readers of what strangers write.

use bytes::Bytes;
use hyper::HeaderMap;

use super::bedrock;
use super::policy;
use super::request::{Endpoint, ModelRequest};
use super::sse::SseReader;

/// Reads server-sent events, whole and cut in two; both ways must tell the same.
pub(crate) fn sse(bytes: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let (mut reader, mut events) = (SseReader::default(), Vec::new());
        for piece in pieces {
            reader.push(piece, |name, data| events.push((name.to_vec(), data.to_vec())));
        }
        events
    };
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    assert_eq!(read(&[bytes]), read(&[head, tail]));
}

/// Turns a chunk of Bedrock's into an event; there must be exactly one in what comes of it.
pub(crate) fn bedrock_chunk(bytes: &[u8]) {
    if let Some(event) = bedrock::fuzz_chunk(bytes) {
        let mut events = 0;
        SseReader::default().push(&event, |_, _| events += 1);
        assert!(events == 1 || event.len() > super::sse::MAX_EVENT_BYTES);
    }
}

/// Reads a request, judges it, and writes it anew; what is written must be a request again.
pub(crate) fn request(bytes: &[u8]) {
    let (headers, body) = (HeaderMap::new(), Bytes::copy_from_slice(bytes));
    let parsed = ModelRequest::parse(Endpoint::Messages, &headers, body, "configured");
    let Ok(request) = parsed else { return };
    drop(policy::check(&request));
    let body = request.body(&request.model);
    let written: Written = serde_json::from_slice(&body).expect("what was written can be read");
    assert_eq!(written.model, Some(request.model.clone()));
    let body = request.bedrock_body();
    let written: Written = serde_json::from_slice(&body).expect("what was written can be read");
    assert_eq!(written.model, None);
}

#[derive(serde::Deserialize)]
struct Written {
    model: Option<String>,
}
