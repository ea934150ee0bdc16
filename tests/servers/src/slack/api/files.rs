//! Methods that upload files, in the three steps that Slack wants.

use serde_json::{Value, json};

use super::{Access, channel};
use crate::slack::args::Args;
use crate::slack::files::Stage;
use crate::slack::json::Fields as _;
use crate::slack::json::text;
use crate::slack::later::Later;
use crate::slack::refusal::{Answer, Refusal};
use crate::slack::world::World;

/// `files.getUploadURLExternal`
pub(super) fn upload_url(world: &mut World, args: &Args) -> Answer {
    let name = args.need("filename")?;
    let Some(size) = args.number("length").filter(|size| *size > 0) else {
        return Err(Refusal::missing("length"));
    };
    let mime = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("pdf") => "application/pdf",
        Some("txt" | "md") => "text/plain",
        _ => "application/octet-stream",
    };
    let bot = world.options.bot_user.clone();
    let id = world.announce_file(name, mime, &bot, size);
    Ok(json!({ "upload_url": format!("{}/upload/v1/{id}", world.base), "file_id": id }))
}

/// `files.completeUploadExternal`
pub(super) fn complete(world: &mut World, args: &Args) -> Answer {
    let blocks = args.json("blocks").as_array().into_iter().flatten();
    let mut markdown = blocks.filter(|block| block.at("type") == "markdown");
    // Slack takes no Markdown here, and says so in the worst way.
    if args.text("initial_comment").is_empty() && markdown.next().is_some() {
        return Err("internal_error".into());
    }
    let mut channels = args.list("channels");
    channels.extend(Some(args.text("channel_id")).filter(|channel| !channel.is_empty()));
    let mut places = Vec::new();
    for id in channels {
        places.push(channel(world, id, Access::Member)?);
    }
    let asked = args.json("files").as_array().filter(|files| !files.is_empty());
    let asked = asked.ok_or("invalid_arguments")?;
    let ready = |file: &Value| {
        world.files.get(text(file, "id")).is_some_and(|file| file.stage == Stage::Uploaded)
    };
    if !asked.iter().all(ready) {
        return Err("file_not_found".into());
    }
    let mut files = Vec::new();
    for file in asked {
        let Some(kept) = world.files.get_mut(text(file, "id")) else { continue };
        kept.stage = Stage::Complete;
        if let Some(title) = file.at("title").as_str().filter(|title| !title.is_empty()) {
            kept.json.put("title", title);
        }
        files.push(kept.json.clone());
    }
    for channel in places {
        let mut message = world.bot_message(args.text("initial_comment"));
        message.put("subtype", "file_share");
        message.put("files", json!(files));
        if !args.text("thread_ts").is_empty() {
            message.put("thread_ts", args.text("thread_ts"));
        }
        // The answer names no message, because there is none yet.
        world.later.push(Later::Share { channel, message });
    }
    Ok(json!({ "files": files }))
}

/// `files.info`
pub(super) fn info(world: &mut World, args: &Args) -> Answer {
    let file = world.files.get(args.need("file")?).ok_or("file_not_found")?;
    Ok(json!({ "file": file.json }))
}
