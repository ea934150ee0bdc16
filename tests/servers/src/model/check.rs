//! Checks a request's body as the real API does, so that a client that passes here is right.
//!
//! The sentences are the API's own. One check is stricter: the API merges neighbouring messages of
//! one role before it looks for tool results, here they must be in the very next message.

use serde_json::Value;

use super::ask::{blocks, kind};
use super::failure::Failure;

/// Which kind of body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `POST /model/{id}/invoke…`.
    Bedrock,
}

/// Fields of every form; the rest is in [`Form::knows`].
const FIELDS: [&str; 5] = ["messages", "system", "thinking", "tool_choice", "tools"];

/// Fields of the forms that make the model write.
const SAMPLING: [&str; 7] =
    ["max_tokens", "metadata", "output_config", "stop_sequences", "temperature", "top_k", "top_p"];

/// Fields of `POST /v1/messages` alone.
const MESSAGES: [&str; 6] =
    ["cache_control", "container", "context_management", "mcp_servers", "service_tier", "stream"];

/// How many blocks may be marked for the cache.
const MAX_CACHE_MARKS: usize = 4;

impl Form {
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Messages => &["model", "max_tokens", "messages"],
            Self::CountTokens => &["model", "messages"],
            Self::Bedrock => &["anthropic_version", "max_tokens", "messages"],
        }
    }

    fn knows(self, field: &str) -> bool {
        self.required().contains(&field)
            || FIELDS.contains(&field)
            || match self {
                Self::Messages => SAMPLING.contains(&field) || MESSAGES.contains(&field),
                Self::CountTokens => false,
                Self::Bedrock => SAMPLING.contains(&field) || field == "anthropic_beta",
            }
    }
}

/// Checks a whole body.
pub(super) fn check(body: &Value, form: Form) -> Result<(), Failure> {
    fields(body, form)?;
    let messages: Vec<&Value> = blocks(body.get("messages")).collect();
    let Some(first) = messages.first() else {
        return invalid("messages: at least one message is required");
    };
    if role(first) != "user" {
        return invalid("messages: first message must use the \"user\" role");
    }
    for (at, message) in messages.iter().enumerate() {
        shape(message, at, at + 1 == messages.len())?;
    }
    tool_pairs(&messages)?;
    tools(body)?;
    cache_marks(body)
}

fn fields(body: &Value, form: Form) -> Result<(), Failure> {
    let Some(object) = body.as_object() else {
        return invalid("The request body is not a valid JSON object.");
    };
    if let Some(missing) = form.required().iter().find(|field| !object.contains_key(**field)) {
        return invalid(format!("{missing}: Field required"));
    }
    if let Some(unknown) = object.keys().find(|field| !form.knows(field)) {
        return invalid(format!("{unknown}: Extra inputs are not permitted"));
    }
    for (field, right, wanted) in [
        ("model", is_text as fn(&Value) -> bool, "a valid string"),
        ("messages", Value::is_array, "a valid list"),
        ("max_tokens", is_positive, "greater than or equal to 1"),
        ("stream", Value::is_boolean, "a valid boolean"),
        ("system", is_content, "a valid string or list"),
        ("tools", Value::is_array, "a valid list"),
        ("anthropic_version", is_bedrock_version, "\"bedrock-2023-05-31\""),
    ] {
        if object.get(field).is_some_and(|value| !right(value)) {
            return invalid(format!("{field}: Input should be {wanted}"));
        }
    }
    Ok(())
}

/// Role and content of one message.
fn shape(message: &Value, at: usize, last: bool) -> Result<(), Failure> {
    let role = role(message);
    if !matches!(role, "user" | "assistant") {
        return invalid(format!("messages.{at}.role: Input should be 'user' or 'assistant'"));
    }
    let content = message.get("content").unwrap_or(&Value::Null);
    if !is_content(content) {
        return invalid(format!("messages.{at}.content: Input should be a valid list"));
    }
    let empty = content.as_array().is_some_and(Vec::is_empty) || *content == "";
    if empty && !(last && role == "assistant") {
        return invalid(
            "messages: all messages must have non-empty content except for the optional final \
             assistant message",
        );
    }
    for (index, block) in blocks(Some(content)).enumerate() {
        let place = format!("messages.{at}.content.{index}");
        let (wanted, side) = match kind(block) {
            "text" => (&["text"][..], role),
            "tool_use" => (&["id", "name", "input"][..], "assistant"),
            "tool_result" => (&["tool_use_id"][..], "user"),
            "thinking" => (&["thinking", "signature"][..], "assistant"),
            "redacted_thinking" => (&["data"][..], "assistant"),
            "image" | "document" => (&["source"][..], "user"),
            other => return invalid(format!("{place}: Input tag '{other}' is not supported")),
        };
        if let Some(field) = wanted.iter().find(|field| block.get(**field).is_none()) {
            return invalid(format!("{place}.{}.{field}: Field required", kind(block)));
        }
        if side != role {
            let kind = kind(block);
            return invalid(format!(
                "messages.{at}: `{kind}` blocks can only be in `{side}` messages"
            ));
        }
        if block.get("text").is_some_and(|text| text == "") {
            return invalid("messages: text content blocks must be non-empty");
        }
        if kind(block) == "tool_use" && !block.get("input").is_some_and(Value::is_object) {
            return invalid(format!("{place}.tool_use.input: Input should be a valid dictionary"));
        }
    }
    Ok(())
}

/// Every call is answered in the next message, and nothing else is.
fn tool_pairs(messages: &[&Value]) -> Result<(), Failure> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let mut results = ids(message, "tool_result", "tool_use_id");
        if let Some(orphan) = results.find(|id| !open.contains(id)) {
            return invalid(format!(
                "messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {orphan}. \
                 Each `tool_result` block must have a corresponding `tool_use` block in the \
                 previous message."
            ));
        }
        answered(&open, Some(message), at)?;
        open = ids(message, "tool_use", "id").collect();
    }
    answered(&open, None, messages.len())
}

fn answered(open: &[&str], message: Option<&Value>, at: usize) -> Result<(), Failure> {
    let results: Vec<&str> =
        message.into_iter().flat_map(|m| ids(m, "tool_result", "tool_use_id")).collect();
    let missing: Vec<&str> = open.iter().filter(|id| !results.contains(id)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let before = at.saturating_sub(1);
    invalid(format!(
        "messages.{before}: `tool_use` ids were found without `tool_result` blocks immediately \
         after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the \
         next message.",
        missing.join(", ")
    ))
}

fn tools(body: &Value) -> Result<(), Failure> {
    let mut names: Vec<&str> = Vec::new();
    for (at, tool) in blocks(body.get("tools")).enumerate() {
        let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
        let well_named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > 128 || !name.chars().all(well_named) {
            return invalid(format!(
                "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        if names.contains(&name) {
            return invalid("tools: Tool names must be unique.");
        }
        // Tools that the service itself defines have a type of their own and no schema.
        let own = matches!(kind(tool), "" | "custom");
        let schema = tool.get("input_schema").and_then(|schema| schema.get("type"));
        if own && schema.is_none_or(|kind| kind != "object") {
            return invalid(format!("tools.{at}.custom.input_schema: Field required"));
        }
        names.push(name);
    }
    Ok(())
}

fn cache_marks(body: &Value) -> Result<(), Failure> {
    let messages = blocks(body.get("messages")).flat_map(|message| blocks(message.get("content")));
    let outer: Vec<&Value> =
        blocks(body.get("tools")).chain(blocks(body.get("system"))).chain(messages).collect();
    let inner = outer.iter().flat_map(|block| blocks(block.get("content")));
    let marked = |block: &&Value| block.get("cache_control").is_some_and(|mark| !mark.is_null());
    let marks = outer.iter().copied().chain(inner).filter(marked).count();
    if marks <= MAX_CACHE_MARKS {
        return Ok(());
    }
    invalid(format!(
        "A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found {marks}."
    ))
}

fn ids<'a>(message: &'a Value, wanted: &str, field: &str) -> impl Iterator<Item = &'a str> {
    blocks(message.get("content"))
        .filter(move |block| kind(block) == wanted)
        .filter_map(move |block| block.get(field)?.as_str())
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_content(value: &Value) -> bool {
    value.is_string() || value.is_array()
}

fn is_positive(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| number > 0)
}

fn is_bedrock_version(value: &Value) -> bool {
    value == "bedrock-2023-05-31"
}

fn invalid(reason: impl Into<String>) -> Result<(), Failure> {
    Err(Failure::Invalid(reason.into()))
}

#[cfg(test)]
mod tests;
