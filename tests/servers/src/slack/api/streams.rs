//! Methods that stream a message.

use serde_json::json;

use super::{Access, channel};
use crate::slack::args::Args;
use crate::slack::json::Fields as _;
use crate::slack::people::Kind;
use crate::slack::refusal::{Answer, Refusal};
use crate::slack::stream::{Stream, streamed_text};
use crate::slack::world::World;

/// `chat.startStream`
pub(super) fn start(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    let thread_ts = args.need("thread_ts")?;
    if world.kind(&channel) != Some(Kind::Im) {
        if args.text("recipient_team_id").is_empty() {
            return Err("missing_recipient_team_id".into());
        }
        if args.text("recipient_user_id").is_empty() {
            return Err("missing_recipient_user_id".into());
        }
    }
    let mut message = world.bot_message(&streamed_text(args)?);
    message.put("thread_ts", thread_ts);
    message.put("streaming_state", "in_progress");
    let message = world.say(&channel, message);
    world.clear_status(&channel, Some(thread_ts));
    world.streams.insert((channel.clone(), message.ts().to_owned()), Stream::start(args));
    Ok(json!({ "channel": channel, "ts": message.ts() }))
}

/// `chat.appendStream`
pub(super) fn append(world: &mut World, args: &Args) -> Answer {
    let (channel, ts, text) = go_on(world, args)?;
    let conversation = world.conversations.get_mut(&channel).ok_or("channel_not_found")?;
    // Slack tells the app of a streamed message when it begins and when it ends.
    conversation.message_mut(&ts).ok_or("message_not_found")?.set("text", text.into());
    Ok(json!({ "channel": channel, "ts": ts }))
}

/// `chat.stopStream`
pub(super) fn stop(world: &mut World, args: &Args) -> Answer {
    let (channel, ts, text) = go_on(world, args)?;
    if let Some(stream) = world.streams.get_mut(&(channel.clone(), ts.clone())) {
        stream.stop();
    }
    world.alter(&channel, &ts, |message| {
        message.set("text", text.into());
        message.set("streaming_state", "completed".into());
        for key in ["blocks", "metadata"] {
            if !args.json(key).is_null() {
                message.set(key, args.json(key).clone());
            }
        }
    });
    let message = world.message(&channel, &ts).ok_or("message_not_found")?;
    let json = json!({ "channel": channel, "ts": ts, "message": message.json() });
    if let Some(thread) = message.thread_ts().map(str::to_owned) {
        let status = match args.text("session_status") {
            "" => "active",
            status => status,
        };
        if let Some(session) = world.sessions.get_mut(&(channel, thread)) {
            *session = status.to_owned();
        }
    }
    Ok(json)
}

/// The message that a call streams into, and its text with what the call brings.
fn go_on(world: &mut World, args: &Args) -> Result<(String, String, String), Refusal> {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    let ts = args.need("ts")?.to_owned();
    let more = streamed_text(args)?;
    let message = world.message(&channel, &ts).ok_or("message_not_found")?;
    let text = format!("{}{more}", message.text());
    let (ttl, limit) = (world.options.stream_ttl, world.options.stream_limit);
    let stream = world.streams.get_mut(&(channel.clone(), ts.clone()));
    stream.ok_or("message_not_in_streaming_state")?.go_on(args, ttl)?;
    if text.chars().count() > limit {
        return Err("msg_too_long".into());
    }
    Ok((channel, ts, text))
}
