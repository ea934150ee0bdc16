//! Groups: folders with memory, files and rights.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ChannelName, ChatId, GroupName, Message};

/// A folder with memory, files and rights that one or more registered chats belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name, and that of its folder.
    pub name: GroupName,
    /// What wakes the assistant; `None` is `@` and the assistant's name.
    pub trigger: Option<String>,
    /// Whether a message needs the trigger; the main group never does.
    pub requires_trigger: bool,
    /// Who is answered when, and what its sandbox gets.
    pub settings: GroupSettings,
}

impl Group {
    /// A group with nothing allowed beyond its own folder.
    #[must_use]
    pub fn new(name: GroupName) -> Self {
        let requires_trigger = !name.is_main();
        Self { name, trigger: None, requires_trigger, settings: GroupSettings::default() }
    }

    /// Whether messages must be addressed to the assistant.
    #[must_use]
    pub fn needs_trigger(&self) -> bool {
        self.requires_trigger && !self.name.is_main()
    }

    /// Whether the writer of a message may wake the assistant with it.
    ///
    /// Where senders are named, it is they and nobody else; else it is everybody but those from outside. In the terminal
    /// it is always the owner who writes.
    #[must_use]
    pub fn may_ask(&self, message: &Message) -> bool {
        let named = &self.settings.allowed_senders;
        let sender = &message.sender;
        *message.chat.channel() == ChannelName::terminal()
            || named.contains(&sender.id)
            || (named.is_empty() && !sender.outside)
    }
}

/// What somebody wants to wake the assistant in a group; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriggerWish {
    word: Option<String>,
    needed: Option<bool>,
}

/// What cannot be wanted of a group, by whichever way it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGroup {
    /// The main group has no trigger.
    #[error("the main group never needs a trigger")]
    MainTrigger,
    /// No message could bear this.
    #[error("a trigger is one word, such as @Crab, not {0:?}")]
    Trigger(String),
    /// Whoever talks to a group in the terminal means that group.
    #[error("{0} cannot be moved: each group has its own chat in the terminal")]
    TerminalChat(ChatId),
}

impl TriggerWish {
    /// A word, which is then needed, and whether one is.
    ///
    /// # Errors
    /// When the group can have no trigger, or not this.
    pub fn new(
        group: &GroupName,
        word: Option<&str>,
        needed: Option<bool>,
    ) -> Result<Self, InvalidGroup> {
        let fits = |word: &str| {
            (1..=64).contains(&word.chars().count())
                && !word.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        match word {
            Some(word) if !fits(word) => Err(InvalidGroup::Trigger(word.to_owned())),
            _ if group.is_main() && (word.is_some() || needed.is_some()) => {
                Err(InvalidGroup::MainTrigger)
            }
            _ => {
                let word = word.map(str::to_owned);
                Ok(Self { needed: needed.or(word.as_ref().map(|_| true)), word })
            }
        }
    }

    /// Has a group be so.
    pub fn apply_to(&self, group: &mut Group) {
        if let Some(word) = &self.word {
            group.trigger = Some(word.clone());
        }
        group.requires_trigger = self.needed.unwrap_or(group.requires_trigger);
    }
}

/// Looks whether a chat can be given to a group, or taken from it.
///
/// # Errors
/// When it stays where it is.
pub fn movable(chat: &ChatId) -> Result<(), InvalidGroup> {
    if *chat.channel() == ChannelName::terminal() {
        return Err(InvalidGroup::TerminalChat(chat.clone()));
    }
    Ok(())
}

/// Who a group answers when, and what its sandbox gets beyond the common; stored as JSON in `registered_groups.container_config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupSettings {
    /// More mounts, subject to the allow-list outside the project.
    pub additional_mounts: Vec<MountRequest>,
    /// Hosts that the agent may reach through the broker: `example.org`, or `*.example.org` for its sub-domains.
    pub web_allow: Vec<String>,
    /// The most money per day, in millionths of a dollar; `None` is no limit.
    pub daily_budget_micros: Option<u64>,
    /// The deadline of a run in milliseconds; `None` is `CONTAINER_TIMEOUT`.
    pub timeout: Option<u64>,
    /// What wakes the assistant in a thread that it takes part in.
    pub engage: Engage,
    /// Who may wake the assistant, as the platform names them; nobody named is everybody but those from outside.
    pub allowed_senders: Vec<String>,
}

/// What wakes the assistant in a thread that it takes part in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Engage {
    /// Only what is addressed to it, as elsewhere.
    Mention,
    /// Everything that is said there.
    #[default]
    Thread,
}

impl Engage {
    /// The word for it, as in the settings and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mention => "mention",
            Self::Thread => "thread",
        }
    }
}

/// A mount that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MountRequest {
    /// The path on the host; `~` is the owner's home.
    pub host_path: PathBuf,
    /// Where it appears under `/workspace/extra`; one relative path without `..`.
    pub container_path: PathBuf,
    /// Whether it is to be read-only; the default.
    #[serde(default = "yes")]
    pub readonly: bool,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_before_are_read_and_new_ones_are_written_like_them() {
        let old = r#"{"additionalMounts":[],"webAllow":["example.org"],"dailyBudgetMicros":null,"timeout":null}"#;
        let mut settings: GroupSettings = serde_json::from_str(old).unwrap();
        assert_eq!((settings.engage, settings.allowed_senders.len()), (Engage::Thread, 0));
        settings.engage = Engage::Mention;
        settings.allowed_senders.push("U1".to_owned());
        let json = serde_json::to_string(&settings).unwrap();
        assert!(json.ends_with(r#""engage":"mention","allowedSenders":["U1"]}"#), "{json}");
        assert_eq!(serde_json::from_str::<GroupSettings>(&json).unwrap(), settings);
    }
}
