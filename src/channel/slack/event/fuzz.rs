//! What must hold for any frame.

use serde_json::Value;

use super::{Event, Frame, Payload};
use crate::channel::slack::id::{ConversationId, UserId};
use crate::channel::slack::json::word;
use crate::channel::slack::text::{Names, Reader, named};

/// Reads a frame, and the message in it: its text is there.
pub(crate) fn frame(json: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(json) else { return };
    let Frame::Envelope(envelope) = Frame::parse(&json) else { return };
    let Payload::Event(event) = envelope.payload else { return };
    let (message, path) = match event {
        Event::Said(message) | Event::Mentioned(message) => (message, "/payload/event"),
        Event::Edited { message, .. } => (message, "/payload/event/message"),
        _ => return,
    };
    let text = json.pointer(path).and_then(|written| word(written, "text"));
    if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
        assert_eq!(message.text, text);
    }
    let bot: UserId = "UBOT".parse().expect("it is an id");
    let readable = Reader { bot: &bot, assistant: "Andy", names: &Nobody }.message(&message);
    assert!(
        !readable.mentioned
            || message.in_blocks.contains("UBOT")
            || named(&message).users.contains(&bot)
            || named(&message).users.len() == 50
    );
}

/// Knows no names.
struct Nobody;

impl Names for Nobody {
    fn user(&self, _: &UserId) -> Option<String> {
        None
    }

    fn chat(&self, _: &ConversationId) -> Option<String> {
        None
    }
}
