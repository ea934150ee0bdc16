//! Buttons and commands: what people do that expects an answer.

use std::fmt;

use serde_json::Value;

use super::chat_of;
use crate::channel::slack::id::{ConversationId, TeamId, Ts, UserId};
use crate::channel::slack::json::{list, parsed, word};

/// Somebody pressed a button of a message, or chose from one of its lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Click {
    /// The workspace.
    pub(crate) team: Option<TeamId>,
    /// Who.
    pub(crate) user: UserId,
    /// The conversation of the message.
    pub(crate) chat: Option<ConversationId>,
    /// The message.
    pub(crate) ts: Option<Ts>,
    /// Its thread.
    pub(crate) thread: Option<Ts>,
    /// What was pressed, in general one thing.
    pub(crate) actions: Vec<Action>,
    /// Where an answer may be left.
    pub(crate) response_url: Option<ResponseUrl>,
}

/// What was pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    /// The name that we gave it.
    pub(crate) id: String,
    /// The value that we gave it, or that was chosen.
    pub(crate) value: Option<String>,
}

/// Somebody typed a command with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlashCommand {
    /// The workspace.
    pub(crate) team: Option<TeamId>,
    /// Who.
    pub(crate) user: UserId,
    /// Where.
    pub(crate) chat: ConversationId,
    /// The command, with its slash.
    pub(crate) command: String,
    /// What stands after it, as Slack writes it.
    pub(crate) text: String,
    /// Where an answer may be left.
    pub(crate) response_url: Option<ResponseUrl>,
}

/// An address at which whoever knows it may answer: it does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ResponseUrl(String);

impl ResponseUrl {
    fn parse(value: &Value) -> Option<Self> {
        word(value, "response_url").map(|url| Self(url.to_owned()))
    }

    /// The address.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ResponseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseUrl(…)")
    }
}

impl Click {
    /// Reads a press; `None` for other interactions, and where nobody pressed.
    pub(super) fn parse(payload: &Value) -> Option<Self> {
        if word(payload, "type") != Some("block_actions") {
            return None;
        }
        let empty = Value::Null;
        let of = |key: &str| payload.get(key).unwrap_or(&empty);
        let (container, message) = (of("container"), of("message"));
        Some(Self {
            team: parsed(of("team"), "id").or_else(|| parsed(of("user"), "team_id")),
            user: parsed(of("user"), "id")?,
            chat: chat_of(payload).or_else(|| parsed(container, "channel_id")),
            ts: parsed(container, "message_ts").or_else(|| parsed(message, "ts")),
            thread: parsed(container, "thread_ts").or_else(|| parsed(message, "thread_ts")),
            actions: list(payload, "actions").filter_map(Action::parse).collect(),
            response_url: ResponseUrl::parse(payload),
        })
    }
}

impl Action {
    fn parse(action: &Value) -> Option<Self> {
        let chosen = || word(action.get("selected_option")?, "value");
        Some(Self {
            id: word(action, "action_id")?.to_owned(),
            value: word(action, "value").or_else(chosen).map(str::to_owned),
        })
    }
}

impl SlashCommand {
    /// Reads a command; `None` where it does not say who, where or which.
    pub(super) fn parse(payload: &Value) -> Option<Self> {
        Some(Self {
            team: parsed(payload, "team_id"),
            user: parsed(payload, "user_id")?,
            chat: parsed(payload, "channel_id")?,
            command: word(payload, "command")?.to_owned(),
            text: word(payload, "text").unwrap_or_default().to_owned(),
            response_url: ResponseUrl::parse(payload),
        })
    }
}
