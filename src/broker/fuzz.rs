//! What must hold for any bytes that the broker reads.

use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::request::{Endpoint, ModelRequest};
use super::sse::{MAX_EVENT_BYTES, SseReader};

/// Reads a stream of events in two pieces and at once: it is the same.
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
pub(crate) fn chunk(json: &[u8]) {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    let Some(event) = super::bedrock::event_of_chunk(json) else { return };
    let mut count = 0;
    SseReader::default().push(&event, |name, data| {
        count += 1;
        let typed: Typed = serde_json::from_slice(data).expect("an event's data has a type");
        assert_eq!(typed.r#type.as_bytes(), name);
    });
    assert!(count == 1 || event.len() > MAX_EVENT_BYTES);
}

/// Reads a model call and writes it for a provider: it says the same as before, but for the model.
pub(crate) fn request(body: &[u8]) {
    let parsed = ModelRequest::parse(
        Endpoint::Messages,
        &HeaderMap::new(),
        body.to_vec().into(),
        "configured",
    );
    let before = serde_json::from_slice::<Value>(body);
    match (parsed, before) {
        (Ok(request), Ok(mut before)) => {
            let members = before.as_object_mut().expect("only objects are calls");
            members.insert("model".to_owned(), "other".into());
            let after: Value =
                serde_json::from_slice(&request.body("other")).expect("a call is JSON");
            assert_eq!(before, after);
        }
        // What it leaves unread, such as a number beyond all measure, the provider may refuse.
        (Ok(request), Err(_)) => drop((request.body("other"), request.bedrock_body())),
        (Err(_), _) => {}
    }
}
