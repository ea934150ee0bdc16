//! Methods of assistants: what a thread shows while its answer is made.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Access, channel};
use crate::slack::args::Args;
use crate::slack::refusal::{Answer, Refusal};
use crate::slack::world::{Status, World};

/// How many texts are shown by turns at most, as Slack documents it.
const MOST_TEXTS: usize = 10;
/// How many prompts may be suggested, as Slack documents it.
const MOST_PROMPTS: usize = 4;

/// `assistant.threads.setStatus`
pub(super) fn status(world: &mut World, args: &Args) -> Answer {
    let (channel, thread_ts) = thread(world, args)?;
    let loading_messages = args.json("loading_messages").as_array().into_iter().flatten();
    let loading_messages: Vec<String> =
        loading_messages.filter_map(Value::as_str).map(str::to_owned).collect();
    if loading_messages.len() > MOST_TEXTS || args.json("status").is_null() {
        return Err("invalid_arguments".into());
    }
    world.statuses.push(Status {
        channel,
        thread_ts,
        text: args.text("status").to_owned(),
        loading_messages,
        by_reply: false,
        at: Instant::now(),
    });
    Ok(json!({}))
}

/// `assistant.threads.setTitle`
pub(super) fn title(world: &mut World, args: &Args) -> Answer {
    thread(world, args)?;
    args.need("title")?;
    Ok(json!({}))
}

/// `assistant.threads.setSuggestedPrompts`
pub(super) fn prompts(world: &mut World, args: &Args) -> Answer {
    channel(world, args.text("channel_id"), Access::Member)?;
    match args.json("prompts").as_array() {
        Some(prompts) if (1..=MOST_PROMPTS).contains(&prompts.len()) => Ok(json!({})),
        _ => Err("invalid_arguments".into()),
    }
}

/// The thread that a call is about.
pub(super) fn thread(world: &mut World, args: &Args) -> Result<(String, String), Refusal> {
    let channel = channel(world, args.text("channel_id"), Access::Member)?;
    let thread_ts = args.need("thread_ts")?;
    world.message(&channel, thread_ts).ok_or("invalid_thread_ts")?;
    Ok((channel, thread_ts.to_owned()))
}

impl World {
    /// The bot said something in a thread: Slack clears the status there.
    pub(super) fn clear_status(&mut self, channel: &str, thread_ts: Option<&str>) {
        let Some(thread_ts) = thread_ts else { return };
        if self.status(channel, thread_ts).is_empty() {
            return;
        }
        self.statuses.push(Status {
            channel: channel.to_owned(),
            thread_ts: thread_ts.to_owned(),
            text: String::new(),
            loading_messages: Vec::new(),
            by_reply: true,
            at: Instant::now(),
        });
    }
}
