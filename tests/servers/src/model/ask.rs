//! What a request says, as far as a script can ask about it; the two services say it alike.

use serde_json::Value;

/// A request that has passed the checks.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// The model's id.
    pub(super) model: String,
    /// Whether the answer is wanted as a stream.
    pub(super) stream: bool,
    /// The text of the last user message that carries any.
    pub(super) text: String,
    /// How many times the assistant has spoken since.
    pub(super) steps: usize,
    /// What people have said since the assistant last came to an end, that text among it.
    pub(super) unanswered: String,
    /// The arguments of the tools that it has called since then, as JSON.
    pub(super) called: String,
    /// What the tools have said since, in order.
    pub(super) tool_results: Vec<String>,
    /// The system prompt.
    pub(super) system: String,
    /// The names of the tools.
    pub(super) tools: Vec<String>,
    /// How many messages there are.
    pub(super) messages: usize,
    /// The size of the body in bytes.
    pub(super) size: usize,
}

impl Ask {
    /// Reads the body of a request to this model.
    pub(super) fn read(body: &Value, model: &str, stream: bool, size: usize) -> Self {
        let mut ask = Self {
            model: model.to_owned(),
            stream,
            system: texts(body.get("system")).join("\n"),
            tools: blocks(body.get("tools")).filter_map(|tool| string(tool, "name")).collect(),
            size,
            ..Self::default()
        };
        for message in blocks(body.get("messages")) {
            ask.messages += 1;
            let content = message.get("content");
            if message.get("role").and_then(Value::as_str) == Some("assistant") {
                ask.steps += 1;
                let calls = || blocks(content).filter(|block| kind(block) == "tool_use");
                ask.called.extend(calls().map(|call| call["input"].to_string()));
                if calls().next().is_none() {
                    ask.unanswered.clear();
                    ask.called.clear();
                }
                continue;
            }
            let texts = texts(content);
            if !texts.is_empty() {
                ask.text = texts.join("\n");
                ask.unanswered.push_str(&ask.text);
                ask.steps = 0;
                ask.tool_results.clear();
            }
            let results = blocks(content).filter(|block| kind(block) == "tool_result");
            ask.tool_results
                .extend(results.map(|block| self::texts(block.get("content")).join("\n")));
        }
        ask
    }
}

/// The blocks of a content; text that is not in a block has none.
pub(super) fn blocks(content: Option<&Value>) -> std::slice::Iter<'_, Value> {
    content.and_then(Value::as_array).map(|blocks| blocks.iter()).unwrap_or_default()
}

/// The type of a block.
pub(super) fn kind(block: &Value) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a content, whether it is a string or blocks.
fn texts(content: Option<&Value>) -> Vec<&str> {
    match content {
        Some(Value::String(text)) => vec![text],
        content => blocks(content)
            .filter(|block| kind(block) == "text")
            .filter_map(|block| block.get("text")?.as_str())
            .collect(),
    }
}

fn string(value: &Value, field: &str) -> Option<String> {
    Some(value.get(field)?.as_str()?.to_owned())
}
