//! The demo model: what answers when no credentials are configured, so that the whole way can be seen.
//!
//! It speaks the same wire as the real one, says plainly that it is none, and does three things when it is told
//! to: run a command, write a file, send a message. It reads nothing but the request and reaches nothing.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use hyper::HeaderMap;
use serde_json::{Value, json};

use super::provider::{Answer, AnswerBody, Failure, FailureKind, Provider};
use super::reply::Reply;
use super::request::{Endpoint, ModelRequest};
use super::sse;
use conversation::Conversation;
use script::Block;

mod conversation;
mod script;

/// What the demo calls itself.
pub(super) const NAME: &str = "demo";
/// The model that its answers name.
pub(super) const MODEL: &str = "hermitcrab-demo";

/// The pause between two pieces of an answer: short enough not to wait for, long enough to be seen.
const PAUSE: Duration = Duration::from_millis(15);
/// The most pieces that one answer comes in.
const MAX_PIECES: usize = 40;
/// Characters of a piece, in a short answer.
const PIECE_CHARS: usize = 12;
/// Bytes that are taken for one token.
const BYTES_PER_TOKEN: usize = 4;

/// The demo model.
#[derive(Debug)]
pub(super) struct Demo;

#[async_trait]
impl Provider for Demo {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn ask(&self, request: &ModelRequest) -> Result<Answer, Failure> {
        let Some(Ok(conversation)) = request.member::<Conversation>("messages") else {
            return Err(not_understood());
        };
        let said = conversation.bytes() / BYTES_PER_TOKEN;
        if request.endpoint == Endpoint::CountTokens {
            let body = AnswerBody::Whole(json!({ "input_tokens": said }).to_string().into());
            return Ok(Answer { headers: HeaderMap::new(), body });
        }
        let message = Message { blocks: script::answer(&conversation), input_tokens: said };
        let body = if request.stream {
            AnswerBody::Events(pieces(message.events()).boxed())
        } else {
            AnswerBody::Whole(message.whole().to_string().into())
        };
        Ok(Answer { headers: HeaderMap::new(), body })
    }
}

fn not_understood() -> Failure {
    let (status, kind) = (hyper::StatusCode::BAD_REQUEST, "invalid_request_error");
    let reply = Reply::error(status, kind, "messages: not a conversation");
    Failure::new(FailureKind::Rejected, reply)
}

/// The events, one by one, with a pause before each piece of text.
fn pieces(
    events: VecDeque<Value>,
) -> impl futures_util::Stream<Item = Result<Bytes, super::reply::BodyError>> + Send {
    stream::unfold(events, async |mut events| {
        let event = events.pop_front()?;
        let name = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if name == "content_block_delta" {
            tokio::time::sleep(PAUSE).await;
        }
        Some((Ok(sse::event(&name, event.to_string().as_bytes())), events))
    })
}

/// An answer of the demo.
struct Message {
    blocks: Vec<Block>,
    input_tokens: usize,
}

impl Message {
    fn envelope(&self, content: Vec<Value>, stop: Value, output_tokens: usize) -> Value {
        json!({
            "id": "msg_demo", "type": "message", "role": "assistant", "model": MODEL,
            "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": output_tokens},
        })
    }

    fn stop_reason(&self) -> &'static str {
        let uses = self.blocks.iter().any(|block| matches!(block, Block::ToolUse { .. }));
        if uses { "tool_use" } else { "end_turn" }
    }

    fn output_tokens(&self) -> usize {
        self.blocks.iter().map(|block| block.text().len()).sum::<usize>() / BYTES_PER_TOKEN
    }

    fn whole(&self) -> Value {
        let content = self.blocks.iter().map(Block::whole).collect();
        self.envelope(content, self.stop_reason().into(), self.output_tokens())
    }

    fn events(&self) -> VecDeque<Value> {
        let message = self.envelope(Vec::new(), Value::Null, 1);
        let mut events = VecDeque::from([json!({"type": "message_start", "message": message})]);
        for (index, block) in self.blocks.iter().enumerate() {
            events.push_back(json!({
                "type": "content_block_start", "index": index, "content_block": block.start(),
            }));
            events.extend(cut(&block.text()).into_iter().map(|piece| {
                json!({"type": "content_block_delta", "index": index, "delta": block.delta(&piece)})
            }));
            events.push_back(json!({"type": "content_block_stop", "index": index}));
        }
        events.push_back(json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
            "usage": {"output_tokens": self.output_tokens()},
        }));
        events.push_back(json!({"type": "message_stop"}));
        events
    }
}

/// Cuts a text into pieces as a model would stream them.
fn cut(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let size = PIECE_CHARS.max(chars.len().div_ceil(MAX_PIECES));
    chars.chunks(size).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_streams_to_the_same_as_it_is_whole() {
        let blocks = vec![
            Block::Text("Grüße, in several pieces, so that the way can be seen.".to_owned()),
            Block::ToolUse {
                id: "toolu_demo_1".to_owned(),
                name: "bash",
                input: json!({"command": "ls -la"}),
            },
        ];
        let message = Message { blocks, input_tokens: 5 };
        let (mut text, mut input, mut stop) = (String::new(), String::new(), String::new());
        for event in message.events() {
            if let Some(piece) = event["delta"]["text"].as_str() {
                text.push_str(piece);
            }
            if let Some(piece) = event["delta"]["partial_json"].as_str() {
                input.push_str(piece);
            }
            if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                stop.push_str(reason);
            }
        }
        let whole = message.whole();
        assert_eq!(whole["content"][0]["text"], text);
        assert_eq!(whole["content"][1]["input"], serde_json::from_str::<Value>(&input).unwrap());
        assert_eq!(whole["stop_reason"], stop);
    }

    #[test]
    fn long_answers_come_in_few_pieces() {
        assert_eq!(cut(&"é".repeat(100_000)).len(), MAX_PIECES);
        assert_eq!(cut("short").len(), 1);
        assert!(cut("").is_empty());
    }
}
