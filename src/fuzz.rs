//! Doors for the fuzz targets in `tests/fuzz`: each takes any bytes, and panics when a promise is broken.
//!
//! They are there for fuzzing and for the test that replays what fuzzing found, and in no other build.

#[cfg(feature = "slack")]
use crate::channel::slack;
use crate::{broker, ipc, text, trigger};

/// A file from a sandbox: its name up to the first line end, then its content.
pub fn ipc(data: &[u8]) {
    let (name, content) = halves(data);
    ipc::fuzz::file(name, content);
}

/// A trigger up to the first line end, then a message.
pub fn trigger(data: &[u8]) {
    let (written, message) = halves(data);
    let (written, message) = (String::from_utf8_lossy(written), String::from_utf8_lossy(message));
    trigger::fuzz::message(&written, &message);
}

/// A message's length limit in one byte, then a text to be split, cut and defused.
pub fn text(data: &[u8]) {
    let Some((&limit, data)) = data.split_first() else { return };
    text::fuzz::outgoing(usize::from(limit).max(1), &String::from_utf8_lossy(data));
}

/// A message as Slack delivers it, in JSON.
#[cfg(feature = "slack")]
pub fn slack_event(data: &[u8]) {
    slack::event::fuzz::frame(data);
}

/// An answer on its way to Slack.
#[cfg(feature = "slack")]
pub fn slack_text(data: &[u8]) {
    let may_ping = |user: &slack::id::UserId| user.as_str() == "U1";
    slack::text::fuzz::assert_harmless(&String::from_utf8_lossy(data), &may_ping);
}

/// Where to cut in one byte, then a stream of server-sent events.
pub fn broker_sse(data: &[u8]) {
    let Some((&at, data)) = data.split_first() else { return };
    let (first, second) = data.split_at(usize::from(at).min(data.len()));
    broker::fuzz::sse(first, second);
}

/// The payload of one chunk of a Bedrock event stream.
pub fn event_stream(data: &[u8]) {
    broker::fuzz::bedrock_chunk(data);
}

/// The body of a model call that a sandbox makes.
pub fn model_request(data: &[u8]) {
    broker::fuzz::request(data);
}

/// What is before the first line end, and what is after it.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (first, second) = data.split_at(at);
    (first, second.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Door = fn(&[u8]);

    #[test]
    fn what_fuzzing_found_is_replayed() {
        let doors: &[(&str, Door)] = &[
            ("ipc", ipc),
            ("trigger", trigger),
            ("text", text),
            #[cfg(feature = "slack")]
            ("slack_event", slack_event),
            #[cfg(feature = "slack")]
            ("slack_text", slack_text),
            ("broker_sse", broker_sse),
            ("event_stream", event_stream),
            ("model_request", model_request),
        ];
        for (name, door) in doors {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
            let mut files = 0;
            for entry in std::fs::read_dir(&corpus).unwrap() {
                door(&std::fs::read(entry.unwrap().path()).unwrap());
                files += 1;
            }
            assert!(files > 0, "{} is empty", corpus.display());
        }
    }
}
