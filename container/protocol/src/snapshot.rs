//! Gateway to agent: what a group may see of the others.

use serde::{Deserialize, Serialize};

/// `available_groups.json`: the main group sees every known chat, another group its own; the newest come first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableGroups {
    /// The chats, whether they are registered or not.
    pub groups: Vec<AvailableChat>,
}

/// A chat that can be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AvailableChat {
    /// Its id. The file says `jid`, as agents and skills of this field know it; in the code a chat is a chat.
    #[serde(rename = "jid")]
    pub chat: String,
    /// Its name for people.
    pub name: Option<String>,
    /// The group that it belongs to.
    pub group: Option<String>,
    /// When somebody last said something there, in RFC 3339.
    pub last_activity: Option<String>,
    /// Whether it belongs to a group.
    pub is_registered: bool,
}
