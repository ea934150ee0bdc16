//! A message of the model, whole and as the events that both services stream.

use std::hash::{BuildHasher as _, RandomState};

use serde_json::{Value, json};

use super::ask::Ask;
use super::plan::Plan;
use super::script::{Block, Usage};

/// Characters in one delta of a stream.
const DELTA_CHARS: usize = 24;

/// A message, ready for the wire.
#[derive(Debug)]
pub(super) struct Message {
    id: String,
    model: String,
    content: Vec<Value>,
    stop: Value,
    usage: Usage,
}

impl Message {
    /// The message that a plan makes of a request; ids carry this infix (`bdrk_` at Bedrock).
    pub(super) fn new(ask: &Ask, plan: &Plan, infix: &str) -> Self {
        // Ids are never used twice, also not by two servers on one conversation.
        let unique = RandomState::new().hash_one(ask.size);
        let content: Vec<Value> = plan
            .blocks
            .iter()
            .enumerate()
            .map(|(index, block)| match block {
                Block::Text(text) => json!({ "type": "text", "text": text }),
                Block::ToolUse { name, input } => json!({
                    "type": "tool_use", "name": name, "input": input,
                    "id": format!("toolu_{infix}{unique:016x}{index:02}"),
                }),
            })
            .collect();
        let usage = plan.usage.unwrap_or_else(|| Usage {
            input: quarter(ask.size),
            output: content.iter().map(|block| quarter(block.to_string().len())).sum(),
            ..Usage::default()
        });
        Self {
            id: format!("msg_{infix}{unique:016x}"),
            model: ask.model.clone(),
            content,
            stop: json!(plan.stop.name()),
            usage,
        }
    }

    /// The whole message, as it is answered when no stream is asked for.
    pub(super) fn whole(&self) -> Value {
        self.json(&self.content, &self.stop, self.usage.output)
    }

    /// The events of the stream, in order; pings are the business of the wire.
    pub(super) fn events(&self) -> Vec<Value> {
        let start = self.json(&[], &Value::Null, 1);
        let mut events = vec![json!({ "type": "message_start", "message": start })];
        for (index, block) in self.content.iter().enumerate() {
            let (empty, deltas) = opened(block);
            events.push(json!({
                "type": "content_block_start", "index": index, "content_block": empty,
            }));
            events.extend(deltas.into_iter().map(
                |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta }),
            ));
            events.push(json!({ "type": "content_block_stop", "index": index }));
        }
        events.push(json!({
            "type": "message_delta",
            "delta": { "stop_reason": self.stop, "stop_sequence": null },
            "usage": self.usage(self.usage.output),
        }));
        events.push(json!({ "type": "message_stop" }));
        events
    }

    /// Tokens in and out.
    pub(super) fn tokens(&self) -> (u64, u64) {
        (self.usage.input, self.usage.output)
    }

    fn json(&self, content: &[Value], stop: &Value, output: u64) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": self.usage(output),
        })
    }

    fn usage(&self, output: u64) -> Value {
        json!({
            "input_tokens": self.usage.input,
            "cache_creation_input_tokens": self.usage.cache_write,
            "cache_read_input_tokens": self.usage.cache_read,
            "output_tokens": output,
        })
    }
}

/// A rough count of the tokens in so many bytes.
pub(super) fn quarter(bytes: usize) -> u64 {
    u64::try_from(bytes / 4).unwrap_or(u64::MAX).max(1)
}

/// A block as a stream opens it, and the deltas that fill it.
fn opened(block: &Value) -> (Value, Vec<Value>) {
    let mut empty = block.clone();
    if let Some(text) = block.get("text").and_then(Value::as_str) {
        empty["text"] = json!("");
        let deltas = pieces(text).map(|text| json!({ "type": "text_delta", "text": text }));
        (empty, deltas.collect())
    } else {
        let input = block.get("input").map(Value::to_string).unwrap_or_default();
        empty["input"] = json!({});
        // The API opens a tool's input with an empty piece.
        let deltas = std::iter::once(String::new())
            .chain(pieces(&input))
            .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }));
        (empty, deltas.collect())
    }
}

fn pieces(text: &str) -> impl Iterator<Item = String> {
    let mut chars = text.chars();
    std::iter::from_fn(move || Some(chars.by_ref().take(DELTA_CHARS).collect::<String>()))
        .take_while(|piece| !piece.is_empty())
}
