//! What a message may consist of: Slack's limits for texts, blocks and metadata.

use serde_json::Value;

use crate::slack::args::Args;
use crate::slack::json::Fields as _;
use crate::slack::json::text;
use crate::slack::refusal::Refusal;

/// The largest `markdown_text`, and sum of markdown blocks, in characters.
const MOST_MARKDOWN: usize = 12_000;
/// The largest text that a message can be updated to; a new one is only cut, at ten times that.
const MOST_UPDATED: usize = 4_000;
const MOST_BLOCKS: usize = 50;
const MOST_ELEMENTS: usize = 25;
const MOST_SECTION: usize = 3_000;
const MOST_HEADER: usize = 150;
/// Blocks of which only the type is looked at.
const OTHER_BLOCKS: &[&str] = &[
    "alert",
    "card",
    "carousel",
    "context",
    "context_actions",
    "divider",
    "file",
    "image",
    "input",
    "plan",
    "rich_text",
    "table",
    "task_card",
    "video",
];

/// Whether a message is new or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is new.
    Post,
    /// It is changed.
    Update,
}

/// Refuses what Slack refuses.
pub(super) fn check(args: &Args, purpose: Purpose) -> Result<(), Refusal> {
    let (words, markdown) = (args.text("text"), args.text("markdown_text"));
    let blocks = args.json("blocks");
    if !markdown.is_empty() && (!words.is_empty() || !blocks.is_null()) {
        return Err("markdown_text_conflict".into());
    }
    let no_blocks = blocks.as_array().is_none_or(Vec::is_empty);
    let empty = words.is_empty() && markdown.is_empty() && no_blocks;
    if empty && blocks.is_null() && args.json("attachments").is_null() {
        return Err("no_text".into());
    }
    if length(markdown) > MOST_MARKDOWN {
        return Err("msg_too_long".into());
    }
    if purpose == Purpose::Update && length(words) > MOST_UPDATED {
        return Err("msg_too_long".into());
    }
    check_metadata(args.json("metadata"))?;
    match blocks {
        Value::Null => Ok(()),
        Value::Array(blocks) => check_blocks(blocks),
        _ => Err("invalid_blocks_format".into()),
    }
}

fn check_metadata(metadata: &Value) -> Result<(), Refusal> {
    let whole = metadata.at("event_type").is_string() && metadata.at("event_payload").is_object();
    if metadata.is_null() || whole { Ok(()) } else { Err("invalid_metadata_format".into()) }
}

fn check_blocks(blocks: &[Value]) -> Result<(), Refusal> {
    if blocks.len() > MOST_BLOCKS {
        return Err(Refusal::block(0, "no more than 50 items allowed"));
    }
    let mut markdown = 0;
    for (at, block) in blocks.iter().enumerate() {
        let written = length(text(block.at("text"), "text"));
        match text(block, "type") {
            "section" if block.at("text").is_null() && block.at("fields").is_null() => {
                return Err(Refusal::block(at, "missing required field: text"));
            }
            "section" if written > MOST_SECTION => {
                return Err(Refusal::block(at, "must be less than 3001 characters"));
            }
            "header" if written > MOST_HEADER => {
                return Err(Refusal::block(at, "must be less than 151 characters"));
            }
            "actions" => {
                let elements = block.at("elements").as_array().map_or(0, Vec::len);
                if !(1..=MOST_ELEMENTS).contains(&elements) {
                    return Err(Refusal::block(at, "must have 1 to 25 elements"));
                }
            }
            "markdown" => markdown += length(text(block, "text")),
            "section" | "header" => {}
            other if OTHER_BLOCKS.contains(&other) => {}
            other => return Err(Refusal::block(at, &format!("unsupported type: {other}"))),
        }
    }
    if markdown > MOST_MARKDOWN { Err("msg_blocks_too_long".into()) } else { Ok(()) }
}

/// How long Slack takes a text to be.
fn length(words: &str) -> usize {
    words.chars().count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_slack_refuses_is_refused() {
        let section =
            |length: usize| json!({ "type": "section", "text": { "text": "x".repeat(length) } });
        let markdown = |length: usize| json!({ "type": "markdown", "text": "x".repeat(length) });
        let button = json!({ "type": "button" });
        for (args, expected) in [
            (json!({ "text": "x" }), None),
            (json!({}), Some("no_text")),
            (json!({ "attachments": [] }), None),
            (json!({ "text": "x", "markdown_text": "x" }), Some("markdown_text_conflict")),
            (json!({ "markdown_text": "ä".repeat(12_000) }), None),
            (json!({ "markdown_text": "x".repeat(12_001) }), Some("msg_too_long")),
            (json!({ "text": "x", "blocks": "[" }), Some("invalid_blocks_format")),
            (json!({ "blocks": [section(3_000)] }), None),
            (json!({ "blocks": [section(3_001)] }), Some("invalid_blocks")),
            (json!({ "blocks": [{ "type": "section" }] }), Some("invalid_blocks")),
            (json!({ "blocks": [{ "type": "rainbow" }] }), Some("invalid_blocks")),
            (json!({ "blocks": vec![section(1); 51] }), Some("invalid_blocks")),
            (json!({ "blocks": [markdown(6_000), markdown(6_000)] }), None),
            (json!({ "blocks": [markdown(6_000), markdown(6_001)] }), Some("msg_blocks_too_long")),
            (json!({ "blocks": [{ "type": "actions", "elements": [button] }] }), None),
            (json!({ "blocks": [{ "type": "actions", "elements": [] }] }), Some("invalid_blocks")),
            (json!({ "text": "x", "metadata": { "event_type": "t", "event_payload": {} } }), None),
            (
                json!({ "text": "x", "metadata": { "event_type": "t" } }),
                Some("invalid_metadata_format"),
            ),
        ] {
            let refused = check(&Args::from_json(args.clone()), Purpose::Post).err();
            assert_eq!(refused.as_ref().map(|refusal| refusal.code.as_ref()), expected, "{args}");
        }
        let long = |length: usize| Args::from_json(json!({ "text": "x".repeat(length) }));
        assert!(check(&long(4_001), Purpose::Post).is_ok());
        assert!(check(&long(4_000), Purpose::Update).is_ok());
        assert!(check(&long(4_001), Purpose::Update).is_err());
    }
}
