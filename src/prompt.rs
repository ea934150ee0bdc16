//! Messages as text for the model.

use jiff::Timestamp;

use crate::model::{Conversation, GroupName, KeptMessage};

/// What a prompt is made from.
pub(crate) struct PromptInput<'a> {
    /// The messages, oldest first.
    pub(crate) messages: &'a [KeptMessage],
    /// How many older ones were left out.
    pub(crate) omitted: u64,
    /// The zone of the times shown.
    pub(crate) time_zone: &'a str,
    /// The time now.
    pub(crate) now: Timestamp,
}

/// What the engine is told about itself.
pub(crate) struct SystemInput<'a> {
    /// The assistant's name.
    pub(crate) assistant: &'a str,
    /// The group.
    pub(crate) group: &'a GroupName,
    /// The conversation.
    pub(crate) conversation: &'a Conversation,
}

/// Writes a prompt.
pub(crate) fn render(input: &PromptInput<'_>) -> String {
    let _ = (input.omitted, input.now);
    follow_up(input.messages, input.time_zone)
}

/// Writes follow-ups.
pub(crate) fn follow_up(messages: &[KeptMessage], _time_zone: &str) -> String {
    let mut text = String::from("<messages>\n");
    for kept in messages {
        let message = &kept.message;
        text.push_str(&format!(
            "<message sender=\"{}\">{}</message>\n",
            message.sender.name, message.text
        ));
    }
    text + "</messages>"
}

/// Writes what the engine is told about itself.
pub(crate) fn system(input: &SystemInput<'_>) -> String {
    format!("You are {}, in group {}, chat {}.", input.assistant, input.group, input.conversation)
}
