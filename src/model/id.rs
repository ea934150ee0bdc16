//! Ids: each a type of its own that cannot be built wrong.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: {expected}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str, expected: &'static str) -> Self {
        Self { kind, text: text.chars().take(80).collect(), expected }
    }
}

/// Defines a text id: the name, what it is called, what is expected, and the check.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId::new($kind, text, $expected))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Defines a number that the store assigns.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

fn is_slug(text: &str, max: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= max
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_')
}

fn is_token(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_opaque(text: &str) -> bool {
    (1..=512).contains(&text.len()) && !text.chars().any(char::is_control)
}

text_id! {
    /// A messaging service that we are connected to: `terminal`, `slack`, `whatsapp`.
    ChannelName, "channel name", "lower-case letters, digits, - and _, at most 32", |text| is_slug(text, 32)
}

text_id! {
    /// A group, and the name of its folder. `global` is everybody's folder and no group.
    #[derive(Serialize, Deserialize)]
    #[serde(try_from = "String", into = "String")]
    GroupName, "group name", "lower-case letters, digits, - and _, at most 64, and not \"global\"",
    |text| is_slug(text, 64) && text != "global"
}

impl TryFrom<String> for GroupName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0.into()
    }
}

text_id! {
    /// A message, as its channel names it; unique within a chat.
    MessageId, "message id", "1 to 512 bytes without control characters", is_opaque
}

text_id! {
    /// A thread of a chat, as its channel names it.
    ThreadId, "thread id", "1 to 512 bytes without control characters", is_opaque
}

text_id! {
    /// A sandbox of this install; also the name of its ipc directory.
    SandboxId, "sandbox id", "lower-case letters and digits, at most 32", |text| is_slug(text, 32)
}

text_id! {
    /// The agent's memory of a conversation, as the engine names it.
    SessionId, "session id", "letters, digits, - and _, at most 64", |text| is_token(text, 64)
}

text_id! {
    /// A request of an agent: data, never part of a path that the gateway opens by name.
    RequestId, "request id", "letters, digits, - and _, at most 64", |text| is_token(text, 64)
}

number_id! {
    /// The place of a message in the order of arrival; assigned by the store, never reused.
    Seq
}

number_id! {
    /// A run in the ledger.
    RunId
}

number_id! {
    /// A row of the outbox.
    OutboxId
}

impl GroupName {
    /// The name of the privileged group.
    pub const MAIN: &'static str = "main";

    /// The privileged group.
    #[must_use]
    pub fn main() -> Self {
        Self(Self::MAIN.into())
    }

    /// Whether this is the privileged group.
    #[must_use]
    pub fn is_main(&self) -> bool {
        &*self.0 == Self::MAIN
    }
}

impl ChannelName {
    /// The terminal's channel, which is always there.
    #[must_use]
    pub fn terminal() -> Self {
        Self("terminal".into())
    }

    /// The channel of all Slack workspaces.
    #[must_use]
    pub fn slack() -> Self {
        Self("slack".into())
    }
}

/// One conversation place on one channel, printed `slack:T01/C02` or `terminal:main`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChatId {
    channel: ChannelName,
    local: Box<str>,
}

impl ChatId {
    /// A chat of a channel.
    ///
    /// # Errors
    /// When `local` is empty, longer than 512 bytes or holds control characters.
    pub fn new(channel: ChannelName, local: &str) -> Result<Self, InvalidId> {
        if is_opaque(local) {
            Ok(Self { channel, local: local.into() })
        } else {
            Err(InvalidId::new("chat id", local, "1 to 512 bytes without control characters"))
        }
    }

    /// The terminal's chat of a group.
    #[must_use]
    pub fn terminal(group: &GroupName) -> Self {
        Self { channel: ChannelName::terminal(), local: group.as_str().into() }
    }

    /// The channel it is on.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Its name on that channel.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }
}

impl FromStr for ChatId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let expected = "channel:chat, such as terminal:main";
        let (channel, local) =
            text.split_once(':').ok_or_else(|| InvalidId::new("chat id", text, expected))?;
        Self::new(channel.parse()?, local)
    }
}

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel, self.local)
    }
}

/// What a run is about: a chat, or a thread of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conversation {
    /// The chat.
    pub chat: ChatId,
    /// The thread, where the chat has threads and the conversation is in one.
    pub thread: Option<ThreadId>,
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.thread {
            Some(thread) => write!(f, "{}#{thread}", self.chat),
            None => self.chat.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_are_safe_folder_names() {
        for good in ["main", "family-chat", "a", "2nd_floor"] {
            assert_eq!(good.parse::<GroupName>().unwrap().as_str(), good);
        }
        for bad in
            ["", "global", "..", "a/b", "-rf", "Main", "a b", ".hidden", "é", &"x".repeat(65)]
        {
            assert!(bad.parse::<GroupName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn chat_ids_round_trip() {
        for text in ["terminal:main", "slack:T01/C02", "whatsapp:1203@g.us", "slack:a:b"] {
            assert_eq!(text.parse::<ChatId>().unwrap().to_string(), text);
        }
        for bad in ["", "terminal", ":main", "terminal:", "terminal:a\nb", "Te:x"] {
            assert!(bad.parse::<ChatId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn request_ids_never_look_like_options_or_paths() {
        for bad in ["", "-rf", "../x", "a/b", "a.json", "a b", "\u{202e}x"] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad:?}");
        }
        assert!("1700000000000-ab12cd".parse::<RequestId>().is_ok());
    }
}
