//! Messages that are streamed into.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::args::Args;
use super::json::Fields as _;
use super::refusal::Refusal;

/// How much text one call may bring, in characters, as Slack documents it.
const MOST: usize = 12_000;

/// A message that is, or was, streamed into.
#[derive(Debug)]
pub(super) struct Stream {
    started: Instant,
    mode: Option<Mode>,
    stopped: bool,
}

/// In which of two ways the text comes; a stream knows only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Text,
    Chunks,
}

impl Stream {
    /// A stream that begins with this call.
    pub(super) fn start(args: &Args) -> Self {
        Self { started: Instant::now(), mode: mode(args), stopped: false }
    }

    /// Whether it can be streamed into still.
    pub(super) fn is_open(&self, ttl: Duration) -> bool {
        !self.stopped && self.started.elapsed() < ttl
    }

    /// Takes in a call.
    ///
    /// # Errors
    /// The code with which Slack refuses it.
    pub(super) fn go_on(&mut self, args: &Args, ttl: Duration) -> Result<(), &'static str> {
        if !self.is_open(ttl) {
            return Err("message_not_in_streaming_state");
        }
        let mode = mode(args);
        if mode.is_some() && self.mode.is_some() && mode != self.mode {
            return Err("streaming_mode_mismatch");
        }
        self.mode = self.mode.or(mode);
        Ok(())
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }
}

fn mode(args: &Args) -> Option<Mode> {
    if !args.json("chunks").is_null() {
        Some(Mode::Chunks)
    } else if !args.text("markdown_text").is_empty() {
        Some(Mode::Text)
    } else {
        None
    }
}

/// The text that a call brings, in either way.
///
/// # Errors
/// When it is written in no way that Slack knows, or too long.
pub(super) fn streamed_text(args: &Args) -> Result<String, Refusal> {
    let mut text = args.text("markdown_text").to_owned();
    match args.json("chunks") {
        Value::Null => {}
        Value::Array(_) if !text.is_empty() => {
            return Err("cannot_provide_both_markdown_text_and_chunks".into());
        }
        Value::Array(chunks) => {
            for chunk in chunks {
                match chunk.at("type").as_str() {
                    Some("markdown_text") => {
                        text.push_str(chunk.at("text").as_str().unwrap_or_default());
                    }
                    Some("task_update" | "plan_update" | "blocks") => {}
                    _ => return Err("invalid_chunks".into()),
                }
            }
        }
        _ => return Err("invalid_chunks".into()),
    }
    if text.chars().count() > MOST { Err("msg_too_long".into()) } else { Ok(text) }
}
