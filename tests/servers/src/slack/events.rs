//! What happens in conversations, and the events that tell the app of it.

use serde_json::{Value, json};

use super::delivery::{Envelope, EnvelopeKind};
use super::json::Fields as _;
use super::json::text;
use super::message::{Message, rich_text};
use super::people::Kind;
use super::post::Post;
use super::world::{World, since_1970};

impl World {
    /// Tells the app of an event, if it subscribed to it; returns the event's id.
    pub(super) fn emit(&mut self, event: &Value) -> String {
        let id = format!("Ev0FAKE{:06}", self.next_id());
        let options = &self.options;
        if !options.events.is_empty() && !options.events.contains(&subscription(event)) {
            return id;
        }
        let payload = json!({
            "token": "verification", "type": "event_callback", "event": event, "event_id": id,
            "event_time": since_1970().as_secs(), "event_context": format!("4-{id}"),
            "team_id": options.team_id, "context_team_id": options.team_id,
            "context_enterprise_id": null, "api_app_id": options.app_id,
            "authorizations": [{
                "enterprise_id": null, "team_id": options.team_id, "user_id": options.bot_user,
                "is_bot": true, "is_enterprise_install": false,
            }],
            "is_ext_shared_channel": self.is_shared(text(event, "channel")),
        });
        self.send(Envelope::new(EnvelopeKind::EventsApi, &payload));
        id
    }

    fn is_shared(&self, channel: &str) -> bool {
        let conversation = self.conversation(channel);
        conversation.is_some_and(|c| c.fields.get("is_ext_shared") == Some(&Value::Bool(true)))
    }

    /// Keeps a message, with a new ts unless it was said at another time, and counts it in its thread.
    pub(super) fn store(&mut self, channel: &str, mut json: Value) -> Message {
        let ts = json.at("ts").as_str().map_or_else(|| self.next_ts(), str::to_owned);
        json.put("ts", ts.as_str());
        let user = text(&json, "user").to_owned();
        let root = json.at("thread_ts").as_str().map(str::to_owned);
        let Some(conversation) = self.conversations.get_mut(channel) else {
            return Message::new(json);
        };
        if let Some(root) = root.and_then(|root| conversation.message_mut(&root)) {
            root.count_reply(&ts, &user);
            json.put("parent_user_id", root.user());
        }
        let message = Message::new(json);
        conversation.messages.push(message.clone());
        message
    }

    /// Keeps a message and tells the app of it.
    pub(super) fn say(&mut self, channel: &str, json: Value) -> Message {
        let message = self.store(channel, json);
        self.emit_message(channel, message.json());
        message
    }

    /// Tells the app of a message, if the bot is there to hear it.
    pub(super) fn emit_message(&mut self, channel: &str, message: &Value) {
        if !self.bot_is_in(channel) {
            return;
        }
        let mut event = message.clone();
        event.put("channel", channel);
        event.put("channel_type", self.kind(channel).map(Kind::event_word));
        event.put("event_ts", message.at("ts").clone());
        self.emit(&event);
    }

    pub(super) fn kind(&self, channel: &str) -> Option<Kind> {
        self.conversation(channel).map(|conversation| conversation.kind)
    }

    /// A person posts: the app hears of it as a message, and again as a mention if it is one.
    pub(super) fn user_message(&mut self, post: Post) -> String {
        let Post { channel, user, text: words, thread_ts, files, fields } = post;
        let home = self.options.team_id.as_str();
        let team = self.users.get(&user).map_or(home, |user| user.team(&self.options)).to_owned();
        let number = self.next_id();
        let mut json = json!({
            "type": "message", "user": user, "text": words, "team": team,
            "client_msg_id": format!("00000000-0000-4000-8000-{:012x}", number),
            "blocks": rich_text(&words),
        });
        if team != self.options.team_id {
            json.put("user_team", team);
        }
        if let Some(thread_ts) = thread_ts {
            json.put("thread_ts", thread_ts);
        }
        if !files.is_empty() {
            let files = files.into_iter().map(|file| self.add_file(file, &user));
            json.put("files", files.collect::<Value>());
            json.put("subtype", "file_share");
            json.put("upload", false);
        }
        for (key, value) in fields {
            json.put(&key, value);
        }
        let message = self.say(&channel, json);
        let mention = format!("<@{}>", self.options.bot_user);
        let here = self.bot_is_in(&channel) && self.kind(&channel) != Some(Kind::Im);
        if here && message.text().contains(&mention) {
            let mut event = message.json().clone();
            event.put("type", "app_mention");
            event.put("channel", channel);
            event.put("event_ts", message.ts());
            if let Some(fields) = event.as_object_mut() {
                fields.remove("subtype");
            }
            self.emit(&event);
        }
        message.ts().to_owned()
    }

    /// Changes a message as `change` does and tells the app; false when there is none.
    pub(super) fn alter(
        &mut self,
        channel: &str,
        ts: &str,
        change: impl FnOnce(&mut Message),
    ) -> bool {
        let event_ts = self.next_ts();
        let conversation = self.conversations.get_mut(channel);
        let Some(message) = conversation.and_then(|c| c.message_mut(ts)) else { return false };
        let before = message.clone();
        change(message);
        let event = json!({
            "type": "message", "subtype": "message_changed", "hidden": true, "ts": event_ts,
            "message": message.json(), "previous_message": before.json(),
        });
        self.emit_message(channel, &event);
        true
    }

    /// Somebody edits a text; false when there is no such message.
    pub(super) fn edit(&mut self, channel: &str, ts: &str, words: &str) -> bool {
        let edited = self.next_ts();
        self.alter(channel, ts, |message| {
            let user = message.user().to_owned();
            message.set("text", words.into());
            message.set("blocks", rich_text(words));
            message.set("edited", json!({ "user": user, "ts": edited }));
        })
    }

    /// Somebody deletes a message; false when there is none.
    pub(super) fn delete(&mut self, channel: &str, ts: &str) -> bool {
        let event_ts = self.next_ts();
        let Some(conversation) = self.conversations.get_mut(channel) else { return false };
        let Some(at) = conversation.position(ts) else { return false };
        let gone = conversation.messages.remove(at);
        let event = json!({
            "type": "message", "subtype": "message_deleted", "hidden": true, "ts": event_ts,
            "deleted_ts": ts, "previous_message": gone.json(),
        });
        self.emit_message(channel, &event);
        true
    }

    /// Adds or takes back a reaction.
    ///
    /// # Errors
    /// The code with which Slack refuses it.
    pub(super) fn react(
        &mut self,
        (channel, ts): (&str, &str),
        name: &str,
        user: &str,
        add: Reaction,
    ) -> Result<(), &'static str> {
        let conversation = self.conversations.get_mut(channel).ok_or("channel_not_found")?;
        let message = conversation.message_mut(ts).ok_or("message_not_found")?;
        let word = match add {
            Reaction::Add if message.add_reaction(name, user) => "reaction_added",
            Reaction::Remove if message.remove_reaction(name, user) => "reaction_removed",
            Reaction::Add => return Err("already_reacted"),
            Reaction::Remove => return Err("no_reaction"),
        };
        let author = message.user().to_owned();
        if self.bot_is_in(channel) {
            let event_ts = self.next_ts();
            self.emit(&json!({
                "type": word, "user": user, "reaction": name, "item_user": author,
                "item": { "type": "message", "channel": channel, "ts": ts }, "event_ts": event_ts,
            }));
        }
        Ok(())
    }

    /// Takes somebody into a conversation, or out of it, and tells the app if it is there.
    pub(super) fn move_member(&mut self, channel: &str, user: &str, to: Member) -> bool {
        let Some(conversation) = self.conversations.get_mut(channel) else { return false };
        let (changed, word) = match to {
            Member::Joins => {
                (conversation.members.insert(user.to_owned()), "member_joined_channel")
            }
            Member::Leaves => (conversation.members.remove(user), "member_left_channel"),
        };
        let letter = if conversation.kind == Kind::Public { "C" } else { "G" };
        if changed && self.bot_is_in(channel) {
            let event_ts = self.next_ts();
            self.emit(&json!({
                "type": word, "user": user, "channel": channel, "channel_type": letter,
                "team": self.options.team_id, "event_ts": event_ts,
            }));
        }
        changed
    }
}

/// Whether a reaction comes or goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reaction {
    /// It comes.
    Add,
    /// It goes.
    Remove,
}

/// Whether a member comes or goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member {
    /// Comes.
    Joins,
    /// Goes.
    Leaves,
}

/// The name under which an app subscribes to an event.
fn subscription(event: &Value) -> String {
    match (text(event, "type"), text(event, "channel_type")) {
        ("message", "im") => "message.im".to_owned(),
        ("message", "mpim") => "message.mpim".to_owned(),
        ("message", "group") => "message.groups".to_owned(),
        ("message", _) => "message.channels".to_owned(),
        (other, _) => other.to_owned(),
    }
}
