//! Is a message addressed to the assistant?

use std::fmt;

use crate::model::Group;

/// What makes a message wake the assistant.
pub(crate) struct Trigger(String);

impl Trigger {
    /// The trigger of a group.
    pub(crate) fn of(group: &Group, assistant: &str) -> Self {
        Self(group.trigger.clone().unwrap_or_else(|| format!("@{assistant}")))
    }

    /// Whether a text is addressed to the assistant.
    pub(crate) fn is_addressed(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.0.to_lowercase())
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
