//! Puts a model's streamed answer together: events in, content blocks out.
//!
//! Blocks are kept as the service wrote them, so what is not known here (thinking and its signature, above all)
//! goes back to the service unchanged.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use wire::{Counts, Delta, Wire};

mod wire;

/// The most bytes of one answer's blocks.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// The most blocks of one answer.
const MAX_BLOCKS: usize = 1024;
/// Marks a call whose arguments are not JSON; they were cut off.
const BROKEN_INPUT: &str = "hermitcrab_broken_input";

/// An answer that came whole.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reply {
    /// The content blocks, in order.
    pub(crate) blocks: Vec<Value>,
    /// Why the model stopped.
    pub(crate) stop: String,
}

/// A call of a tool.
#[derive(Debug, PartialEq)]
pub(crate) struct ToolCall {
    /// The id that the result must name.
    pub(crate) id: String,
    /// The tool.
    pub(crate) name: String,
    /// The arguments; `None` when they were cut off.
    pub(crate) input: Option<Value>,
}

/// What one event brought.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing to show.
    Quiet,
    /// A piece of text.
    Text(String),
    /// The answer is whole.
    End,
    /// The service broke off, with the type and message of its error.
    Error {
        /// The service's name for it, `overloaded_error` for one.
        name: String,
        /// The service's sentence.
        message: String,
    },
}

/// Why an event makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplyError {
    /// It is not JSON, or not of the shape that its type has.
    #[error("an event of the stream is malformed: {0}")]
    Malformed(#[source] serde_json::Error),
    /// It names a block that was not begun, or one twice.
    #[error("the blocks of the stream are out of order")]
    OutOfOrder,
    /// The answer is larger than any real one.
    #[error("the model's answer is too long")]
    TooLong,
}

/// An answer in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    blocks: BTreeMap<usize, Block>,
    bytes: usize,
    stop: String,
    usage: Counts,
}

#[derive(Debug)]
struct Block {
    fields: Map<String, Value>,
    /// Arguments of a tool, which arrive as pieces of JSON text.
    arguments: String,
}

impl Assembler {
    /// Takes the data of one event.
    ///
    /// # Errors
    ///
    /// The stream makes no sense.
    pub(crate) fn push(&mut self, data: &str) -> Result<Step, ReplyError> {
        match serde_json::from_str(data).map_err(ReplyError::Malformed)? {
            Wire::MessageStart { message } => self.usage.update(message.usage),
            Wire::ContentBlockStart { index, content_block } => {
                return self.begin(index, content_block);
            }
            Wire::ContentBlockDelta { index, delta } => return self.extend(index, delta),
            Wire::MessageDelta { delta, usage } => {
                self.usage.update(usage);
                self.stop = delta.stop_reason.unwrap_or_default();
            }
            Wire::MessageStop => return Ok(Step::End),
            Wire::Error { error } => {
                return Ok(Step::Error { name: error.name, message: error.message });
            }
            Wire::Other => {}
        }
        Ok(Step::Quiet)
    }

    /// How many tokens question and answer take of the context, as the service counts them.
    pub(crate) fn context(&self) -> u64 {
        let Counts {
            input_tokens,
            output_tokens,
            cache_read_input_tokens,
            cache_creation_input_tokens,
        } = &self.usage;
        [input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens]
            .into_iter()
            .flatten()
            .sum()
    }

    /// The whole answer, without blocks that say nothing: the service does not take those back.
    pub(crate) fn finish(self) -> Reply {
        let blocks = self.blocks.into_values().map(Block::finish).filter(says_something).collect();
        Reply { blocks, stop: self.stop }
    }

    fn begin(
        &mut self,
        index: usize,
        content_block: Map<String, Value>,
    ) -> Result<Step, ReplyError> {
        if self.blocks.len() >= MAX_BLOCKS {
            return Err(ReplyError::TooLong);
        }
        let text = content_block.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
        let block = Block { fields: content_block, arguments: String::new() };
        if self.blocks.insert(index, block).is_some() {
            return Err(ReplyError::OutOfOrder);
        }
        Ok(if text.is_empty() { Step::Quiet } else { Step::Text(text) })
    }

    fn extend(&mut self, index: usize, delta: Delta) -> Result<Step, ReplyError> {
        let block = self.blocks.get_mut(&index).ok_or(ReplyError::OutOfOrder)?;
        let (field, piece) = match &delta {
            Delta::Text { text } => ("text", text),
            Delta::Thinking { thinking } => ("thinking", thinking),
            Delta::Signature { signature } => ("signature", signature),
            Delta::InputJson { partial_json } => ("", partial_json),
            Delta::Other => return Ok(Step::Quiet),
        };
        self.bytes += piece.len();
        if self.bytes > MAX_REPLY_BYTES {
            return Err(ReplyError::TooLong);
        }
        if field.is_empty() {
            block.arguments.push_str(piece);
        } else if let Some(Value::String(whole)) = block.fields.get_mut(field) {
            whole.push_str(piece);
        } else {
            block.fields.insert(field.to_owned(), Value::String(piece.clone()));
        }
        Ok(match delta {
            Delta::Text { text } => Step::Text(text),
            _ => Step::Quiet,
        })
    }
}

impl Block {
    fn finish(mut self) -> Value {
        if !self.arguments.is_empty() {
            let input = serde_json::from_str::<Map<String, Value>>(&self.arguments);
            let input = input
                .unwrap_or_else(|_cut| Map::from_iter([(BROKEN_INPUT.to_owned(), true.into())]));
            self.fields.insert(String::from("input"), Value::Object(input));
        }
        Value::Object(self.fields)
    }
}

/// Joins the text of an answer's blocks.
pub(crate) fn text(blocks: &[Value]) -> String {
    blocks
        .iter()
        .filter(|block| kind(block) == "text")
        .filter_map(|block| block["text"].as_str())
        .collect()
}

/// The calls among an answer's blocks.
pub(crate) fn tool_calls(blocks: &[Value]) -> Vec<ToolCall> {
    let string = |block: &Value, field: &str| block[field].as_str().unwrap_or_default().to_owned();
    blocks
        .iter()
        .filter(|block| kind(block) == "tool_use")
        .map(|block| ToolCall {
            id: string(block, "id"),
            name: string(block, "name"),
            input: Some(&block["input"]).filter(|input| input.get(BROKEN_INPUT).is_none()).cloned(),
        })
        .collect()
}

/// The type of a block.
pub(crate) fn kind(block: &Value) -> &str {
    block["type"].as_str().unwrap_or_default()
}

fn says_something(block: &Value) -> bool {
    kind(block) != "text" || block["text"].as_str().is_some_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assemble(events: &[Value]) -> Result<(Reply, u64, String), ReplyError> {
        let mut assembler = Assembler::default();
        let mut shown = String::new();
        for event in events {
            if let Step::Text(text) = assembler.push(&event.to_string())? {
                shown.push_str(&text);
            }
        }
        let context = assembler.context();
        Ok((assembler.finish(), context, shown))
    }

    fn delta(index: usize, delta: &Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    fn start(index: usize, block: &Value) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block})
    }

    #[test]
    fn blocks_are_put_together_and_thinking_is_kept_as_it_is() {
        let (reply, context, shown) = assemble(&[
            json!({"type": "message_start", "message": {"usage":
                {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1}}}),
            start(0, &json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, &json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(0, &json!({"type": "signature_delta", "signature": "sig"})),
            json!({"type": "ping"}),
            start(1, &json!({"type": "text", "text": ""})),
            delta(1, &json!({"type": "text_delta", "text": "Let me "})),
            delta(1, &json!({"type": "text_delta", "text": "look."})),
            delta(1, &json!({"type": "citations_delta", "citation": {}})),
            json!({"type": "content_block_stop", "index": 1}),
            start(2, &json!({"type": "tool_use", "id": "t1", "name": "bash", "input": {}})),
            delta(2, &json!({"type": "input_json_delta", "partial_json": "{\"comm"})),
            delta(2, &json!({"type": "input_json_delta", "partial_json": "and\":\"ls\"}"})),
            start(3, &json!({"type": "text", "text": " "})),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
                "usage": {"output_tokens": 9}}),
            json!({"type": "brand_new"}),
        ])
        .unwrap();
        let blocks = json!([
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "ls"}},
        ]);
        assert_eq!(Value::from(reply.blocks.clone()), blocks);
        assert_eq!(reply.stop, "tool_use");
        assert_eq!(shown, "Let me look. ");
        assert_eq!(context, 5 + 7 + 9);
        assert_eq!(text(&reply.blocks), "Let me look.");
        let call = ToolCall {
            id: String::from("t1"),
            name: String::from("bash"),
            input: Some(json!({"command": "ls"})),
        };
        assert_eq!(tool_calls(&reply.blocks), [call]);
    }

    #[test]
    fn arguments_that_were_cut_off_are_still_an_object_but_no_input() {
        let (reply, ..) = assemble(&[
            start(0, &json!({"type": "tool_use", "id": "t1", "name": "write", "input": {}})),
            delta(0, &json!({"type": "input_json_delta", "partial_json": "{\"path\": \"a"})),
        ])
        .unwrap();
        assert!(reply.blocks[0]["input"].is_object());
        assert_eq!(tool_calls(&reply.blocks)[0].input, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let text = json!({"type": "text", "text": ""});
        for events in [
            vec![json!(7)],
            vec![json!({"type": "content_block_delta", "index": "x"})],
            vec![delta(0, &json!({"type": "text_delta", "text": "a"}))],
            vec![start(0, &text), start(0, &text)],
        ] {
            assert!(assemble(&events).is_err(), "{events:?}");
        }
    }
}
