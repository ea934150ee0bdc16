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

    /// Whether a message wakes the assistant.
    ///
    /// That of somebody who may not never does, whatever it says. It is kept all the same: when somebody who may asks
    /// about what was said, the assistant must know it, and it is told whose words are nobody's request. An answer that
    /// says no would itself be something that a stranger can make the assistant do, as often as they like.
    pub(crate) fn wakes(&self, kept: &KeptMessage) -> bool {
        let message = &kept.message;
        !message.from_me
            && !kept.context
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{GroupName, Message, Sender, Seq};

    /// What somebody in a chat of Slack says in a thread.
    fn said(text: &str) -> KeptMessage {
        let message = Message {
            chat: "slack:T01/C02".parse().unwrap(),
            thread: Some("1.0".parse().unwrap()),
            id: "1.1".parse().unwrap(),
            sender: Sender { id: "U1".to_owned(), name: "Ann".to_owned(), outside: false },
            text: text.to_owned(),
            attachments: Vec::new(),
            addressed: false,
            sent_at: Timestamp::UNIX_EPOCH,
            from_me: false,
        };
        KeptMessage { seq: Seq(1), message, revision: Revision::Original, context: false }
    }

    fn with(text: &str, change: impl FnOnce(&mut KeptMessage)) -> KeptMessage {
        let mut kept = said(text);
        change(&mut kept);
        kept
    }

    fn outside(text: &str) -> KeptMessage {
        with(text, |kept| kept.message.sender.outside = true)
    }

    fn group(change: impl FnOnce(&mut Group)) -> Group {
        let mut group = Group::new("work".parse().unwrap());
        change(&mut group);
        group
    }

    fn check(what: &str, group: &Group, place: Place, kept: &KeptMessage, expected: bool) {
        assert_eq!(Rule::new(group, "Andy", place).wakes(kept), expected, "{what}");
    }

    #[test]
    fn what_is_addressed_wakes_and_in_a_joined_thread_everything_does() {
        use Place::{Joined, Open};
        let work = group(|_| ());
        let rare = group(|group| group.settings.engage = Engage::Mention);
        let own = group(|group| group.trigger = Some("@Crab".to_owned()));
        let quiet = group(|group| group.requires_trigger = false);
        let main = Group::new(GroupName::main());
        let plain = said("hello");
        let mention = with("hello", |kept| kept.message.addressed = true);
        let from_me = with("@Andy", |kept| kept.message.from_me = true);
        let context = with("@Andy", |kept| {
            kept.message.addressed = true;
            kept.context = true;
        });
        let edited = with("@Andy", |kept| kept.revision = Revision::Edited);
        let deleted = with("", |kept| {
            kept.message.addressed = true;
            kept.revision = Revision::Deleted;
        });
        for (what, group, place, kept, expected) in [
            ("talk", &work, Open, &plain, false),
            ("talk where all is for us", &quiet, Open, &plain, true),
            ("talk in main", &main, Open, &plain, true),
            ("the trigger", &work, Open, &said("@andy!"), true),
            ("the trigger of another group", &own, Open, &said("@andy!"), false),
            ("a mention", &work, Open, &mention, true),
            ("a mention where the trigger is another", &own, Open, &mention, true),
            ("talk in our thread", &work, Joined, &plain, true),
            ("talk in our thread, if mentions are wanted", &rare, Joined, &plain, false),
            ("a mention there", &rare, Joined, &mention, true),
            ("the trigger there", &rare, Joined, &said("@Andy"), true),
            ("what we said", &main, Joined, &from_me, false),
            ("what was said before we were called", &main, Joined, &context, false),
            ("what was edited", &work, Open, &edited, true),
            ("what was deleted", &main, Joined, &deleted, false),
        ] {
            check(what, group, place, kept, expected);
        }
    }

    #[test]
    fn who_may_not_never_wakes() {
        use Place::{Joined, Open};
        let named = |ids: &[&str]| {
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            group(|group| group.settings.allowed_senders = ids)
        };
        let mut main = Group::new(GroupName::main());
        let mention = |mut kept: KeptMessage| {
            kept.message.addressed = true;
            kept
        };
        for (what, group, place, kept, expected) in [
            ("a member", &named(&[]), Open, mention(said("")), true),
            ("a guest", &named(&[]), Open, mention(outside("")), false),
            ("a guest with the trigger", &named(&[]), Open, outside("@Andy"), false),
            ("a guest in our thread", &named(&[]), Joined, outside("hello"), false),
            ("a guest in main", &main, Open, outside("hello"), false),
            ("a guest who is named", &named(&["U1"]), Open, outside("@Andy"), true),
            ("a member who is named", &named(&["U0", "U1"]), Open, said("@Andy"), true),
            ("a member beside those named", &named(&["U2"]), Open, mention(said("@Andy")), false),
            ("the same in our thread", &named(&["U2"]), Joined, said("hello"), false),
            ("a name is not an id", &named(&["Ann"]), Open, said("@Andy"), false),
        ] {
            check(what, group, place, &kept, expected);
        }
        main.settings.allowed_senders = vec!["U2".to_owned()];
        check("not named in main", &main, Open, &said("hello"), false);
        let typed = with("hello", |kept| kept.message.chat = "terminal:main".parse().unwrap());
        check("the owner at the terminal", &main, Open, &typed, true);
    }

    #[test]
    fn only_a_thread_can_be_joined() {
        let thread = said("").message.conversation();
        let chat = Conversation { thread: None, ..thread.clone() };
        for (conversation, woken, place) in [
            (&thread, true, Place::Joined),
            (&thread, false, Place::Open),
            (&chat, true, Place::Open),
            (&chat, false, Place::Open),
        ] {
            assert_eq!(Place::of(conversation, woken), place, "{conversation} {woken}");
        }
    }
}
