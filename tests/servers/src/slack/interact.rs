//! Commands, buttons and forms: what people do that expects an answer.

use serde_json::{Value, json};

use super::delivery::{Envelope, EnvelopeKind};
use super::grant::Response;
use super::json::Fields as _;
use super::json::text;
use super::message::Message;
use super::people::User;
use super::world::{Ephemeral, World};

impl World {
    /// Somebody types a command with a slash.
    pub(super) fn slash(&mut self, channel: &str, user: &str, command: &str, words: &str) {
        let payload = json!({
            "token": "verification", "team_id": self.options.team_id, "team_domain": "fake",
            "channel_id": channel, "channel_name": self.channel_name(channel),
            "user_id": user, "user_name": self.user_name(user), "command": command, "text": words,
            "api_app_id": self.options.app_id, "is_enterprise_install": "false",
            "response_url": self.lend_response(channel, user, None),
            "trigger_id": self.lend_trigger(),
        });
        self.send(Envelope::new(EnvelopeKind::SlashCommands, &payload));
    }

    /// Somebody presses a button of a message; false when the message has no such button.
    pub(super) fn click(&mut self, channel: &str, user: &str, ts: &str, action_id: &str) -> bool {
        let Some(message) = self.message(channel, ts).map(|message| message.json().clone()) else {
            return false;
        };
        let Some(mut action) = find_action(message.at("blocks"), action_id) else { return false };
        action.put("action_ts", self.next_ts());
        let payload = json!({
            "type": "block_actions", "token": "verification", "actions": [action],
            "api_app_id": self.options.app_id, "user": self.actor(user), "team": self.team(),
            "enterprise": null, "is_enterprise_install": false,
            "channel": { "id": channel, "name": self.channel_name(channel) },
            "container": {
                "type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": false,
                "thread_ts": message.at("thread_ts"),
            },
            "message": message, "state": { "values": {} },
            "response_url": self.lend_response(channel, user, Some(ts)),
            "trigger_id": self.lend_trigger(),
        });
        self.send(Envelope::new(EnvelopeKind::Interactive, &payload));
        true
    }

    /// Somebody sends a view that is open, filled with these values (`block_id` → `action_id` →
    /// element); false when there is no such view.
    pub(super) fn submit(&mut self, view_id: &str, user: &str, values: &Value) -> bool {
        let Some(mut view) = self.views.remove(view_id) else { return false };
        view.put("state", json!({ "values": values }));
        let payload = json!({
            "type": "view_submission", "token": "verification", "view": view,
            "api_app_id": self.options.app_id, "user": self.actor(user), "team": self.team(),
            "enterprise": null, "is_enterprise_install": false, "response_urls": [],
            "trigger_id": self.lend_trigger(),
        });
        self.send(Envelope::new(EnvelopeKind::Interactive, &payload));
        true
    }

    /// Takes in what was posted to a response URL.
    ///
    /// # Errors
    /// The words with which Slack refuses it.
    pub(super) fn respond_to(&mut self, id: &str, body: &Value) -> Result<(), &'static str> {
        let Response { channel, user, message_ts, .. } = self.use_response(id)?;
        let original = message_ts.as_deref().unwrap_or_default();
        if body.at("delete_original") == true {
            return self.delete(&channel, original).then_some(()).ok_or("no_original");
        }
        if body.at("replace_original") == true {
            let (words, blocks) = (body.at("text").clone(), body.at("blocks").clone());
            let replaced = self.alter(&channel, original, |message| {
                message.set("text", words);
                message.set("blocks", blocks);
            });
            return replaced.then_some(()).ok_or("no_original");
        }
        self.respond(&channel, &user, body);
        Ok(())
    }

    /// Shows an answer to whoever asked, or to all.
    fn respond(&mut self, channel: &str, user: &str, body: &Value) {
        let mut json = self.bot_message(text(body, "text"));
        if !body.at("blocks").is_null() {
            json.put("blocks", body.at("blocks").clone());
        }
        if text(body, "response_type") == "in_channel" {
            self.say(channel, json);
        } else {
            self.whisper(channel, user, json);
        }
    }

    /// Shows a message to one person only; returns its ts.
    pub(super) fn whisper(&mut self, channel: &str, user: &str, mut json: Value) -> String {
        let ts = self.next_ts();
        json.put("ts", ts.as_str());
        self.ephemerals.push(Ephemeral {
            channel: channel.to_owned(),
            user: user.to_owned(),
            message: Message::new(json),
        });
        ts
    }

    fn actor(&self, user: &str) -> Value {
        let name = self.user_name(user);
        json!({ "id": user, "username": name, "name": name, "team_id": self.options.team_id })
    }

    fn team(&self) -> Value {
        json!({ "id": self.options.team_id, "domain": "fake" })
    }

    fn user_name(&self, user: &str) -> &str {
        self.users.get(user).map(User::name).unwrap_or_default()
    }

    fn channel_name(&self, channel: &str) -> String {
        let name = self.conversation(channel).map(|c| c.name.as_str()).unwrap_or_default();
        if name.is_empty() { "directmessage".to_owned() } else { name.to_owned() }
    }
}

/// An ack came, perhaps with an answer to a command.
pub(super) fn answered(world: &mut World, envelope: &Envelope, answer: &Value) {
    let says = answer.at("text").is_string() || answer.at("blocks").is_array();
    if envelope.kind == EnvelopeKind::SlashCommands && says {
        let (channel, user) = envelope.asker();
        world.respond(channel, user, answer);
    }
}

/// The element of this action, as a click reports it.
fn find_action(blocks: &Value, action_id: &str) -> Option<Value> {
    for block in blocks.as_array()? {
        let elements = block.at("elements").as_array().into_iter().flatten();
        let mut elements = elements.chain(std::iter::once(block.at("accessory")));
        if let Some(element) = elements.find(|element| element.at("action_id") == action_id) {
            let mut action = json!({ "action_id": action_id });
            for key in ["type", "text", "value"] {
                if !element.at(key).is_null() {
                    action.put(key, element.at(key).clone());
                }
            }
            action.put("block_id", block.at("block_id").as_str().unwrap_or("block"));
            return Some(action);
        }
    }
    None
}
