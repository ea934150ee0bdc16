//! The words of a message, wherever Slack put them: text, blocks, attachments.
//!
//! Everything here is in Slack's markup: what is plain is escaped on the way, so that one decoder reads it all.

use serde_json::Value;

use crate::channel::slack::json::{is_true, list, scalar, word};
use crate::channel::slack::text::escape;

/// What the author of a message said: its text, else that of its blocks, else that of its attachments.
pub(super) fn own(message: &Value) -> String {
    let text = message.get("text").and_then(scalar).unwrap_or_default();
    if !text.trim().is_empty() {
        return text;
    }
    let blocks = blocks(message, "blocks");
    if !blocks.is_empty() {
        return blocks;
    }
    let attachments = list(message, "attachments").filter(|attachment| !is_forwarded(attachment));
    lines(attachments.map(attachment), "\n")
}

/// What stands in the blocks, where there is a text beside them.
pub(super) fn in_blocks(message: &Value) -> String {
    let has_text = word(message, "text").is_some_and(|text| !text.trim().is_empty());
    if has_text { blocks(message, "blocks") } else { String::new() }
}

/// What others said, passed on with the message.
pub(super) fn forwarded(message: &Value) -> Vec<String> {
    let forwarded = list(message, "attachments").filter(|attachment| is_forwarded(attachment));
    forwarded.map(attachment).filter(|text| !text.is_empty()).collect()
}

fn is_forwarded(attachment: &Value) -> bool {
    is_true(attachment, "is_share")
}

/// The words of an attachment; what it says instead of them when it has none.
fn attachment(attachment: &Value) -> String {
    let field = |field: &Value| {
        let parts = ["title", "value"].into_iter().filter_map(|key| scalar(field.get(key)?));
        lines(parts, ": ")
    };
    let author = word(attachment, "author_name").map(|name| format!("{}:", escape(name)));
    let parts = ["pretext", "title", "text"].into_iter();
    let parts = parts.filter_map(|key| scalar(attachment.get(key)?));
    let nested = list(attachment, "message_blocks")
        .filter_map(|inner| Some(blocks(inner.get("message")?, "blocks")));
    let said = lines(parts.chain(list(attachment, "fields").map(field)), "\n");
    let said = if said.is_empty() {
        lines([blocks(attachment, "blocks")].into_iter().chain(nested), "\n")
    } else {
        said
    };
    let said = if said.is_empty() {
        attachment.get("fallback").and_then(scalar).unwrap_or_default()
    } else {
        said
    };
    if said.is_empty() { said } else { lines(author.into_iter().chain([said]), "\n") }
}

/// The words of blocks.
fn blocks(of: &Value, key: &str) -> String {
    lines(list(of, key).map(block), "\n")
}

fn block(block: &Value) -> String {
    match word(block, "type").unwrap_or_default() {
        "rich_text" => rich(block),
        "actions" | "divider" | "input" => String::new(),
        "table" => {
            let row = |row: &Value| lines(row.as_array().into_iter().flatten().map(any), " | ");
            lines(list(block, "rows").map(row), "\n")
        }
        _ => any(block),
    }
}

/// The words of a thing whose kind does not matter: its own, and those of the things in it.
fn any(thing: &Value) -> String {
    if word(thing, "type") == Some("rich_text") {
        return rich(thing);
    }
    let own = ["title", "text", "alt_text"].into_iter().filter_map(|key| {
        let inner = thing.get(key)?;
        let plain = matches!(word(thing, "type"), Some("plain_text" | "raw_text")) || key != "text";
        Some(match inner {
            Value::Object(_) => any(inner),
            _ if plain => escape(&scalar(inner)?),
            _ => scalar(inner)?,
        })
    });
    let inner = ["fields", "elements"].into_iter().flat_map(|key| list(thing, key).map(any));
    lines(own.chain(inner), "\n")
}

/// The words of rich text, as people type it in Slack's own clients.
fn rich(element: &Value) -> String {
    let inner = || list(element, "elements").map(rich);
    let id = |key: &str| word(element, key).unwrap_or_default();
    match word(element, "type").unwrap_or_default() {
        "rich_text" => lines(inner(), "\n"),
        "rich_text_list" => {
            let ordered = word(element, "style") == Some("ordered");
            let depth = element.get("indent").and_then(Value::as_u64).unwrap_or(0).min(8);
            let items = inner().zip(1..).map(|(item, number): (String, u64)| {
                let mark = if ordered { format!("{number}. ") } else { "- ".to_owned() };
                (0..depth).map(|_| "  ").chain([mark.as_str(), item.as_str()]).collect::<String>()
            });
            lines(items, "\n")
        }
        "rich_text_quote" => {
            let text: String = inner().collect();
            lines(text.lines().map(|line| format!("> {line}")), "\n")
        }
        "rich_text_preformatted" => format!("```\n{}\n```", inner().collect::<String>()),
        "link" => match word(element, "text") {
            Some(label) => format!("<{}|{}>", escape(id("url")), escape(label)),
            None => format!("<{}>", escape(id("url"))),
        },
        "user" => format!("<@{}>", id("user_id")),
        "channel" => format!("<#{}>", id("channel_id")),
        "usergroup" => format!("<!subteam^{}>", id("usergroup_id")),
        "broadcast" => format!("<!{}>", id("range")),
        "emoji" => format!(":{}:", id("name")),
        "color" => id("value").to_owned(),
        "date" => {
            let at = element.get("timestamp").and_then(scalar).unwrap_or_default();
            let written = word(element, "fallback").map(|text| format!("|{}", escape(text)));
            format!("<!date^{at}^{{date_num}}{}>", written.unwrap_or_default())
        }
        _ => {
            let text = element.get("text").and_then(scalar).map(|text| escape(&text));
            text.into_iter().chain(inner()).collect()
        }
    }
}

/// What is not empty, joined.
fn lines(parts: impl Iterator<Item = String>, between: &str) -> String {
    let mut joined = String::new();
    for part in parts.filter(|part| !part.is_empty()) {
        if !joined.is_empty() {
            joined.push_str(between);
        }
        joined.push_str(&part);
    }
    joined
}
