//! Writes a request of the Messages API.
//!
//! Three cache marks, of the four that are allowed: the tools, the system prompt, and the end of the
//! conversation, so that each call pays only for what is new.

use serde_json::{Map, Value, json};

use super::entries::{Entry, Role};

/// The most tokens that the model may write in one answer.
const MAX_TOKENS: u32 = 16_384;

/// What a request says besides the conversation.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// The model.
    pub(crate) model: &'a str,
    /// The system prompt.
    pub(crate) system: &'a str,
    /// The definitions of the tools.
    pub(crate) tools: &'a [Value],
}

/// The body of a request.
pub(crate) fn body(setup: &Setup<'_>, entries: &[Entry]) -> Value {
    let mut messages = merge(entries);
    if let Some(last) = messages.last_mut() {
        mark_last(last.get_mut("content").and_then(Value::as_array_mut));
    }
    let mut body = Map::from_iter([
        (String::from("model"), setup.model.into()),
        (String::from("max_tokens"), MAX_TOKENS.into()),
        (String::from("stream"), true.into()),
        (String::from("messages"), messages.into()),
    ]);
    if !setup.system.trim().is_empty() {
        let mut system = vec![json!({"type": "text", "text": setup.system})];
        mark_last(Some(&mut system));
        body.insert(String::from("system"), system.into());
    }
    if !setup.tools.is_empty() {
        let mut tools = setup.tools.to_vec();
        mark_last(Some(&mut tools));
        body.insert(String::from("tools"), tools.into());
    }
    body.into()
}

/// The messages, with neighbours of the same role made one: results of tools must come first in theirs, and
/// what people add goes behind them.
fn merge(entries: &[Entry]) -> Vec<Value> {
    let mut messages: Vec<(Role, Vec<Value>)> = Vec::new();
    for entry in entries {
        let content = entry.message.content.iter().cloned();
        match messages.last_mut() {
            Some((role, blocks)) if *role == entry.message.role => blocks.extend(content),
            _ => messages.push((entry.message.role, content.collect())),
        }
    }
    let messages = messages.into_iter();
    messages.map(|(role, content)| json!({"role": role, "content": content})).collect()
}

fn mark_last(blocks: Option<&mut Vec<Value>>) {
    if let Some(Value::Object(block)) = blocks.and_then(|blocks| blocks.last_mut()) {
        block.insert(String::from("cache_control"), json!({"type": "ephemeral"}));
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::{Origin, tool_result};
    use super::*;

    #[test]
    fn neighbours_are_merged_and_the_ends_are_marked() {
        let entries = [
            Entry::text(1, Origin::Summary, "notes"),
            Entry::text(1, Origin::Prompt { from: 1, through: 1 }, "hello"),
            Entry::model(
                1,
                vec![json!({"type": "tool_use", "id": "t", "name": "bash", "input": {}})],
            ),
            Entry::user(1, Origin::Tools, vec![tool_result("t", Ok("out"))]),
            Entry::text(1, Origin::FollowUp { through: 2 }, "more"),
        ];
        let tools = [json!({"name": "a"}), json!({"name": "b"})];
        let body = body(&Setup { model: "m", system: "s", tools: &tools }, &entries);
        let roles: Vec<_> =
            body["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        let last = &body["messages"][2]["content"];
        assert_eq!((&last[0]["type"], &last[1]["text"]), (&json!("tool_result"), &json!("more")));
        for marked in [&last[1], &body["system"][0], &body["tools"][1]] {
            assert_eq!(marked["cache_control"]["type"], "ephemeral");
        }
        assert_eq!(body.to_string().matches("cache_control").count(), 3);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let body = body(&Setup { model: "m", system: " ", tools: &[] }, &[]);
        assert!(body.get("system").is_none() && body.get("tools").is_none());
    }
}
