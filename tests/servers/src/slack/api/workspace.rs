//! Methods about the app, its workspace and its people.

use serde_json::{Value, json};

use super::{Access, channel, page};
use crate::slack::args::Args;
use crate::slack::events::Reaction;
use crate::slack::refusal::Answer;
use crate::slack::world::World;

/// `apps.connections.open`
pub(super) fn connections_open(world: &mut World, args: &Args) -> Answer {
    if !args.posted {
        return Err("invalid_post_type".into());
    }
    Ok(json!({ "url": world.lend_ticket() }))
}

/// `auth.test`
pub(super) fn auth_test(world: &mut World, _: &Args) -> Answer {
    let options = &world.options;
    Ok(json!({
        "url": "https://fake.slack.com/", "team": "Fake", "team_id": options.team_id,
        "user": "gatewaybot", "user_id": options.bot_user, "bot_id": options.bot_id,
        "is_enterprise_install": false,
    }))
}

/// `bots.info`
pub(super) fn bots_info(world: &mut World, args: &Args) -> Answer {
    let options = &world.options;
    if ![options.bot_id.as_str(), ""].contains(&args.text("bot")) {
        return Err("bot_not_found".into());
    }
    Ok(json!({ "bot": {
        "id": options.bot_id, "deleted": false, "name": "gatewaybot", "app_id": options.app_id,
        "user_id": options.bot_user, "icons": { "image_36": "https://example.com/36.png" },
    } }))
}

/// `users.info`
pub(super) fn users_info(world: &mut World, args: &Args) -> Answer {
    let user = world.users.get(args.need("user")?).ok_or("user_not_found")?;
    Ok(json!({ "user": user.json(&world.options) }))
}

/// `users.list`
pub(super) fn users_list(world: &mut World, args: &Args) -> Answer {
    let all = world.users.values().map(|user| user.json(&world.options)).collect();
    let (members, cursor) = page(all, args, 1000)?;
    Ok(json!({ "members": members, "response_metadata": { "next_cursor": cursor } }))
}

/// `usergroups.list`
pub(super) fn usergroups_list(world: &mut World, _: &Args) -> Answer {
    Ok(json!({ "usergroups": world.usergroups }))
}

/// `reactions.add`
pub(super) fn reactions_add(world: &mut World, args: &Args) -> Answer {
    react(world, args, Reaction::Add)
}

/// `reactions.remove`
pub(super) fn reactions_remove(world: &mut World, args: &Args) -> Answer {
    react(world, args, Reaction::Remove)
}

fn react(world: &mut World, args: &Args, reaction: Reaction) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    let (name, user) = (args.text("name"), world.options.bot_user.clone());
    if name.is_empty() || name.contains(':') {
        return Err("invalid_name".into());
    }
    world.react((&channel, args.need("timestamp")?), name, &user, reaction)?;
    Ok(json!({}))
}

/// `reactions.get`
pub(super) fn reactions_get(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Anyone)?;
    let message = world.message(&channel, args.text("timestamp")).ok_or("message_not_found")?;
    Ok(json!({ "type": "message", "channel": channel, "message": message.json() }))
}

impl World {
    /// Adds a user group.
    pub(in crate::slack) fn add_usergroup(&mut self, id: &str, handle: &str) {
        self.usergroups.push(json!({
            "id": id, "team_id": self.options.team_id, "is_usergroup": true, "name": handle,
            "handle": handle, "description": "", "date_delete": 0, "user_count": 0,
        }));
    }

    /// Archives a conversation.
    pub(in crate::slack) fn archive(&mut self, channel: &str) {
        if let Some(conversation) = self.conversations.get_mut(channel) {
            conversation.fields.insert("is_archived".to_owned(), Value::Bool(true));
        }
    }
}
