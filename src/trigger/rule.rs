//! Which messages wake the assistant.

use super::Trigger;
use crate::model::{Conversation, Engage, Group, KeptMessage, Revision};

/// Where a message was said, as far as that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a chat itself, or in a thread that the assistant has no part in.
    Open,
    /// In a thread in which somebody has woken the assistant before.
    Joined,
}

impl Place {
    /// What a conversation is, in which the assistant was woken before, or was not.
    pub(crate) fn of(conversation: &Conversation, woken: bool) -> Self {
        if woken && conversation.thread.is_some() { Self::Joined } else { Self::Open }
    }
}

/// What wakes the assistant in one conversation.
pub(crate) struct Rule<'a> {
    group: &'a Group,
    trigger: Trigger,
    place: Place,
}

impl<'a> Rule<'a> {
    /// The rule of a group, in such a place.
    pub(crate) fn new(group: &'a Group, assistant: &str, place: Place) -> Self {
        Self { group, trigger: Trigger::of(group, assistant), place }
    }

    /// Whether a message wakes the assistant. That of somebody who may not never does: it is context for those who may.
    pub(crate) fn wakes(&self, kept: &KeptMessage) -> bool {
        let message = &kept.message;
        !message.from_me
            && kept.revision != Revision::Deleted
            && self.group.may_ask(message)
            && (message.addressed || self.calls(&message.text))
    }

    /// Whether such a text does, of somebody who may, on a platform that says nothing of whom it is meant for.
    pub(crate) fn calls(&self, text: &str) -> bool {
        let engaged = self.place == Place::Joined && self.group.settings.engage == Engage::Thread;
        engaged || !self.group.needs_trigger() || self.trigger.is_addressed(text)
    }
}
