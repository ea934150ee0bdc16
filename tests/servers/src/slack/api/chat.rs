//! Methods that write, change and take back messages.

use serde_json::{Value, json};

use super::content::{Purpose, check};
use super::{Access, channel};
use crate::slack::args::Args;
use crate::slack::json::Fields as _;
use crate::slack::json::text;
use crate::slack::refusal::Answer;
use crate::slack::world::{World, since_1970};

/// Where Slack cuts a text, in characters.
const MOST_TEXT: usize = 40_000;

/// `chat.postMessage`
pub(super) fn post_message(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    check(args, Purpose::Post)?;
    let message = message(world, args);
    let message = world.say(&channel, message);
    world.clear_status(&channel, message.thread_ts());
    Ok(json!({ "channel": channel, "ts": message.ts(), "message": message.json() }))
}

/// `chat.postEphemeral`
pub(super) fn post_ephemeral(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    check(args, Purpose::Post)?;
    let message = message(world, args);
    let ts = world.whisper(&channel, args.need("user")?, message);
    Ok(json!({ "message_ts": ts }))
}

/// `chat.update`
pub(super) fn update(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    let ts = args.need("ts")?;
    let message = world.message(&channel, ts).ok_or("message_not_found")?;
    if !world.is_ours(message) {
        return Err("cant_update_message".into());
    }
    let stream = world.streams.get(&(channel.clone(), ts.to_owned()));
    if stream.is_some_and(|stream| stream.is_open(world.options.stream_ttl)) {
        return Err("streaming_state_conflict".into());
    }
    check(args, Purpose::Update)?;
    let edited = json!({ "user": world.options.bot_user, "ts": world.next_ts() });
    world.alter(&channel, ts, |message| {
        for key in ["blocks", "attachments", "metadata"] {
            if !args.json(key).is_null() {
                message.set(key, args.json(key).clone());
            }
        }
        if !words(args).is_empty() {
            message.set("text", words(args).into());
            // A new text without new blocks takes the old blocks away.
            if args.json("blocks").is_null() {
                message.set("blocks", Value::Null);
            }
        }
        message.set("edited", edited);
        // As people have seen it, this is what mends a message whose stream Slack has closed.
        if message.streaming_state() == Some("in_progress") {
            message.set("streaming_state", "completed".into());
        }
    });
    let message = world.message(&channel, ts).ok_or("message_not_found")?;
    Ok(json!({ "channel": channel, "ts": ts, "text": message.text(), "message": message.json() }))
}

/// `chat.delete`
pub(super) fn delete(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Anyone)?;
    let ts = args.need("ts")?;
    let message = world.message(&channel, ts).ok_or("message_not_found")?;
    if !world.is_ours(message) {
        return Err("cant_delete_message".into());
    }
    world.delete(&channel, ts);
    Ok(json!({ "channel": channel, "ts": ts }))
}

/// `chat.getPermalink`
pub(super) fn permalink(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Anyone)?;
    let ts = args.need("message_ts")?;
    world.message(&channel, ts).ok_or("message_not_found")?;
    let link = format!("https://fake.slack.com/archives/{channel}/p{}", ts.replace('.', ""));
    Ok(json!({ "channel": channel, "permalink": link }))
}

/// The text of a call, written in either way.
fn words(args: &Args) -> &str {
    let markdown = args.text("markdown_text");
    if markdown.is_empty() { args.text("text") } else { markdown }
}

/// The message that a call asks for.
fn message(world: &World, args: &Args) -> Value {
    let mut json = world.bot_message(words(args));
    for key in ["blocks", "attachments", "metadata", "thread_ts"] {
        if !args.json(key).is_null() && args.json(key) != "" {
            json.put(key, args.json(key).clone());
        }
    }
    if !text(&json, "thread_ts").is_empty() && args.flag("reply_broadcast") {
        json.put("subtype", "thread_broadcast");
    }
    json
}

impl World {
    /// A message of the bot, with nothing but a text.
    pub(in crate::slack) fn bot_message(&self, words: &str) -> Value {
        let options = &self.options;
        let words: String = words.chars().take(MOST_TEXT).collect();
        json!({
            "type": "message", "user": options.bot_user, "bot_id": options.bot_id,
            "app_id": options.app_id, "team": options.team_id, "text": words,
            "bot_profile": {
                "id": options.bot_id, "app_id": options.app_id, "user_id": options.bot_user,
                "name": "gatewaybot", "icons": { "image_36": "https://example.com/36.png" },
                "deleted": false, "updated": since_1970().as_secs(), "team_id": options.team_id,
            },
        })
    }
}
