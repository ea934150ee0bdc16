//! A message as Slack writes it.

use serde_json::{Value, json};

use super::json::{Fields as _, text};

/// A message of a conversation; its JSON is open, so it stays JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Message(Value);

impl Message {
    /// Takes an object.
    pub(super) fn new(json: Value) -> Self {
        debug_assert!(json.is_object(), "a message is an object");
        Self(json)
    }

    /// All of it, as events and histories carry it.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Its name within the conversation: seconds and microseconds, `1700000000.000100`.
    #[must_use]
    pub fn ts(&self) -> &str {
        text(&self.0, "ts")
    }

    /// The text; empty when there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        text(&self.0, "text")
    }

    /// Who wrote it; the bot's own carry its user too.
    #[must_use]
    pub fn user(&self) -> &str {
        text(&self.0, "user")
    }

    /// What kind it is, when it is not a plain one: `file_share`, `thread_broadcast`, ….
    #[must_use]
    pub fn subtype(&self) -> Option<&str> {
        self.0.at("subtype").as_str()
    }

    /// The thread that it belongs to, as an answer or as the root of one.
    #[must_use]
    pub fn thread_ts(&self) -> Option<&str> {
        self.0.at("thread_ts").as_str()
    }

    /// Whether it is an answer in a thread.
    #[must_use]
    pub fn is_reply(&self) -> bool {
        self.thread_ts().is_some_and(|root| root != self.ts())
    }

    /// Whether a bot wrote it.
    #[must_use]
    pub fn is_from_bot(&self) -> bool {
        self.0.at("bot_id").is_string()
    }

    /// What `chat.startStream` made of it: `in_progress`, later `completed`.
    #[must_use]
    pub fn streaming_state(&self) -> Option<&str> {
        self.0.at("streaming_state").as_str()
    }

    /// Who reacted with this emoji.
    #[must_use]
    pub fn reacted(&self, name: &str) -> Vec<&str> {
        let reactions = self.0.at("reactions").as_array().into_iter().flatten();
        let users = reactions.filter(|reaction| reaction.at("name") == name);
        users
            .filter_map(|reaction| reaction.at("users").as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// Writes one field; `null` takes it away.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        if let Some(fields) = self.0.as_object_mut() {
            if value.is_null() {
                fields.remove(key);
            } else {
                fields.insert(key.to_owned(), value);
            }
        }
    }

    /// Counts a reply to it.
    pub(super) fn count_reply(&mut self, ts: &str, user: &str) {
        let mut users = self.0.at("reply_users").as_array().cloned().unwrap_or_default();
        if !users.contains(&json!(user)) {
            users.push(json!(user));
        }
        self.set("thread_ts", json!(self.ts()));
        self.set("reply_count", json!(self.0.at("reply_count").as_u64().unwrap_or(0) + 1));
        self.set("latest_reply", json!(ts));
        self.set("reply_users_count", json!(users.len()));
        self.set("reply_users", json!(users));
        self.set("subscribed", json!(true));
    }

    /// Adds a reaction; false when this user has it there already.
    pub(super) fn add_reaction(&mut self, name: &str, user: &str) -> bool {
        let mut users = self.reacted(name);
        if users.contains(&user) {
            return false;
        }
        users.push(user);
        let users = json!(users);
        self.write_reaction(name, users);
        true
    }

    /// Takes a reaction back; false when this user has none there.
    pub(super) fn remove_reaction(&mut self, name: &str, user: &str) -> bool {
        let mut users = self.reacted(name);
        let before = users.len();
        users.retain(|other| *other != user);
        let changed = users.len() < before;
        let users = json!(users);
        self.write_reaction(name, users);
        changed
    }

    fn write_reaction(&mut self, name: &str, users: Value) {
        let mut reactions = self.0.at("reactions").as_array().cloned().unwrap_or_default();
        let count = users.as_array().map_or(0, Vec::len);
        let written = json!({ "name": name, "users": users, "count": count });
        match reactions.iter_mut().find(|reaction| reaction.at("name") == name) {
            Some(reaction) => *reaction = written,
            None => reactions.push(written),
        }
        reactions.retain(|reaction| reaction.at("count") != 0);
        self.set("reactions", if reactions.is_empty() { Value::Null } else { json!(reactions) });
    }
}

/// Text as the one block in which Slack's own clients send it.
pub(super) fn rich_text(text: &str) -> Value {
    let mut elements = Vec::new();
    let mut rest = text;
    while let Some((before, (user, after))) =
        rest.split_once("<@").and_then(|(before, after)| Some((before, after.split_once('>')?)))
    {
        if !before.is_empty() {
            elements.push(json!({ "type": "text", "text": before }));
        }
        elements.push(json!({ "type": "user", "user_id": user }));
        rest = after;
    }
    if !rest.is_empty() {
        elements.push(json!({ "type": "text", "text": rest }));
    }
    let section = json!({ "type": "rich_text_section", "elements": elements });
    json!([{ "type": "rich_text", "block_id": "b1", "elements": [section] }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactions_come_and_go() {
        let mut message = Message::new(json!({ "ts": "1.000001" }));
        assert!(message.add_reaction("eyes", "U1") && message.add_reaction("eyes", "U2"));
        assert!(!message.add_reaction("eyes", "U1"));
        assert_eq!(message.reacted("eyes"), ["U1", "U2"]);
        assert!(message.remove_reaction("eyes", "U1") && !message.remove_reaction("eyes", "U1"));
        assert_eq!(
            message.json()["reactions"],
            json!([{ "name": "eyes", "users": ["U2"], "count": 1 }])
        );
        assert!(message.remove_reaction("eyes", "U2"));
        assert_eq!(message.json(), &json!({ "ts": "1.000001" }));
    }

    #[test]
    fn mentions_are_elements_of_their_own() {
        let blocks = rich_text("hi <@U1>, and < b");
        assert_eq!(
            blocks[0]["elements"][0]["elements"],
            json!([
                { "type": "text", "text": "hi " },
                { "type": "user", "user_id": "U1" },
                { "type": "text", "text": ", and < b" },
            ])
        );
    }
}
