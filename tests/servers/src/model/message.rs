//! A message of the model, whole and as the events that both services stream.

use std::borrow::Cow;
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
    /// What it says; the ids of tool calls are their place in it.
    blocks: Vec<Block>,
    stop: Value,
    usage: Usage,
}

impl Message {
    /// The message that a plan makes of a request; ids begin as those of the wire do.
    pub(super) fn new(ask: &Ask, plan: Plan, infix: &str) -> Self {
        let usage = plan.usage.unwrap_or_else(|| Usage {
            input: quarter(ask.size),
            output: plan.blocks.iter().map(|block| quarter(content(block).len())).sum(),
            ..Usage::default()
        });
        Self {
            // No id is used twice, also not by two servers that a conversation meets in turn.
            id: format!("{infix}{:016x}", RandomState::new().hash_one(ask.size)),
            model: ask.model.clone(),
            blocks: plan.blocks,
            stop: json!(plan.stop.name()),
            usage,
        }
    }

    /// The whole message, as it is answered when no stream is asked for.
    pub(super) fn whole(&self) -> Value {
        let content = self.blocks.iter().enumerate().map(|(index, block)| match block {
            Block::Text(text) => json!({ "type": "text", "text": text }),
            Block::ToolUse { name, input } => {
                json!({ "type": "tool_use", "id": self.call(index), "name": name, "input": input })
            }
        });
        self.json(&content.collect::<Vec<_>>(), &self.stop, self.usage.output)
    }

    /// The events of the stream, in order; pings are the business of the wire.
    pub(super) fn events(&self) -> Vec<Value> {
        let start = self.json(&[], &Value::Null, 1);
        let mut events = vec![json!({ "type": "message_start", "message": start })];
        for (index, block) in self.blocks.iter().enumerate() {
            let empty = match block {
                Block::Text(_) => json!({ "type": "text", "text": "" }),
                Block::ToolUse { name, .. } => {
                    json!({ "type": "tool_use", "id": self.call(index), "name": name, "input": {} })
                }
            };
            events.push(json!({
                "type": "content_block_start", "index": index, "content_block": empty,
            }));
            events.extend(deltas(block).into_iter().map(
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

    fn call(&self, index: usize) -> String {
        format!("toolu_{}{index:02}", self.id)
    }

    fn json(&self, content: &[Value], stop: &Value, output: u64) -> Value {
        json!({
            "id": format!("msg_{}", self.id), "type": "message", "role": "assistant", "model": self.model,
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

/// What a block says: its text, or the tool's input as JSON.
fn content(block: &Block) -> Cow<'_, str> {
    match block {
        Block::Text(text) => text.into(),
        Block::ToolUse { input, .. } => input.to_string().into(),
    }
}

/// The deltas that fill a block.
fn deltas(block: &Block) -> Vec<Value> {
    let content = content(block);
    let pieces = pieces(&content);
    match block {
        Block::Text(_) => {
            pieces.map(|text| json!({ "type": "text_delta", "text": text })).collect()
        }
        // The API opens a tool's input with an empty piece.
        Block::ToolUse { .. } => std::iter::once(String::new())
            .chain(pieces)
            .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
            .collect(),
    }
}

fn pieces(text: &str) -> impl Iterator<Item = String> {
    let mut chars = text.chars();
    std::iter::from_fn(move || Some(chars.by_ref().take(DELTA_CHARS).collect::<String>()))
        .take_while(|piece| !piece.is_empty())
}
