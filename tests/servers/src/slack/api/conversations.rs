//! Methods about conversations, other than what was said in them.

use serde_json::{Value, json};

use super::{Access, channel, kinds, page};
use crate::slack::args::Args;
use crate::slack::people::{Conversation, Kind};
use crate::slack::refusal::{Answer, Refusal};
use crate::slack::world::World;

/// `conversations.info`
pub(super) fn info(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Anyone)?;
    let conversation = world.conversation(&channel).ok_or("channel_not_found")?;
    Ok(json!({ "channel": conversation.json(&world.options) }))
}

/// `conversations.list`
pub(super) fn list(world: &mut World, args: &Args) -> Answer {
    list_where(world, args, |world, conversation| {
        conversation.kind == Kind::Public || world.bot_is_in(conversation.id())
    })
}

/// `users.conversations`
pub(super) fn of_bot(world: &mut World, args: &Args) -> Answer {
    list_where(world, args, |world, conversation| world.bot_is_in(conversation.id()))
}

fn list_where(world: &World, args: &Args, shown: impl Fn(&World, &Conversation) -> bool) -> Answer {
    let kinds = kinds(args);
    let skips_archived = args.flag("exclude_archived");
    let all = world.conversations.values().filter(|conversation| {
        kinds.contains(&conversation.kind)
            && !(skips_archived && conversation.is_archived())
            && shown(world, conversation)
    });
    let all: Vec<Value> = all.map(|conversation| conversation.json(&world.options)).collect();
    let (channels, cursor) = page(all, args, 100)?;
    Ok(json!({ "channels": channels, "response_metadata": { "next_cursor": cursor } }))
}

/// `conversations.members`
pub(super) fn members(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Anyone)?;
    let conversation = world.conversation(&channel).ok_or("channel_not_found")?;
    let all = conversation.members.iter().map(|member| json!(member)).collect();
    let (members, cursor) = page(all, args, 100)?;
    Ok(json!({ "members": members, "response_metadata": { "next_cursor": cursor } }))
}

/// `conversations.open`
pub(super) fn open(world: &mut World, args: &Args) -> Answer {
    let users = args.list("users");
    let id = match users.as_slice() {
        [] => channel(world, args.need("channel")?, Access::Anyone)?,
        [user] => direct(world, user)?,
        several => group(world, several)?,
    };
    Ok(json!({ "channel": { "id": id } }))
}

/// The direct messages with a user, begun if there are none.
pub(super) fn direct(world: &mut World, user: &str) -> Result<String, Refusal> {
    if !world.users.contains_key(user) {
        return Err("user_not_found".into());
    }
    let bot = world.options.bot_user.clone();
    if let Some(known) = world.conversations.values().find(|c| c.other(&bot) == Some(user)) {
        return Ok(known.id().to_owned());
    }
    let id = format!("D{}", user.trim_start_matches('U'));
    let conversation = Conversation::new(&id, Kind::Im, "", &[user, &bot]);
    world.conversations.insert(id.clone(), conversation);
    Ok(id)
}

/// The direct messages with several users, begun if there are none.
fn group(world: &mut World, users: &[&str]) -> Result<String, Refusal> {
    let bot = world.options.bot_user.clone();
    let mut members = users.to_vec();
    if !members.iter().all(|user| world.users.contains_key(*user)) {
        return Err("user_not_found".into());
    }
    members.push(&bot);
    let new =
        Conversation::new(&format!("G0FAKE{:04}", world.next_id()), Kind::Mpim, "mpdm", &members);
    let same = |c: &&Conversation| c.kind == Kind::Mpim && c.members == new.members;
    if let Some(known) = world.conversations.values().find(same) {
        return Ok(known.id().to_owned());
    }
    let id = new.id().to_owned();
    world.conversations.insert(id.clone(), new);
    Ok(id)
}
