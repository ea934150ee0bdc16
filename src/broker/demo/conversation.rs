//! A conversation, as far as the demo model looks at it: pure.

use serde::Deserialize;
use serde_json::Value;

/// The messages of a request, as far as the demo looks at them.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Conversation(pub(super) Vec<Message>);

/// One message.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    /// Who said it.
    pub(super) role: String,
    /// What.
    pub(super) content: Content,
}

/// What a message or a tool says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    /// Text only.
    Text(String),
    /// Blocks.
    Blocks(Vec<Part>),
}

/// A block.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A call of a tool.
    ToolUse {
        /// Its id.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        #[serde(default)]
        input: Value,
    },
    /// What came of it.
    ToolResult {
        /// The call's id.
        tool_use_id: String,
        /// What the tool said.
        content: Option<Content>,
        /// Whether it failed.
        #[serde(default)]
        is_error: bool,
    },
    /// Pictures, thoughts and what is yet to be invented.
    #[serde(other)]
    Other,
}

impl Conversation {
    /// How many bytes of text it holds.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|message| message.content.text().len()).sum()
    }

    /// Which tool a call was for, with its arguments.
    pub(super) fn tool(&self, call: &str) -> (&str, &Value) {
        let parts = self.0.iter().flat_map(|message| message.content.parts());
        let mut calls = parts.filter_map(|part| match part {
            Part::ToolUse { id, name, input } if id == call => Some((name.as_str(), input)),
            _ => None,
        });
        calls.next_back().unwrap_or(("", &Value::Null))
    }
}

impl Message {
    /// Whether the model ended its turn with it.
    pub(super) fn is_an_answer(&self) -> bool {
        let calls = |part: &Part| matches!(part, Part::ToolUse { .. });
        self.role == "assistant" && !self.content.parts().iter().any(calls)
    }
}

impl Content {
    /// Its blocks.
    pub(super) fn parts(&self) -> &[Part] {
        match self {
            Self::Text(_) => &[],
            Self::Blocks(parts) => parts,
        }
    }

    /// All text, other than that of tools.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Blocks(parts) => {
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text { text } => Some(text.as_str()),
                    _ => None,
                });
                texts.collect::<Vec<_>>().join("\n")
            }
        }
    }
}
