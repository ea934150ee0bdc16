//! What a test does to a workspace: people act, and things go wrong.

use std::time::Duration;

use serde_json::Value;

use super::events::{Member, Reaction};
use super::{Conversation, Fault, Post, Slack, User, World};

impl Slack {
    /// A person posts; returns the message's ts.
    pub fn user_message(&self, post: Post) -> String {
        self.shared.change(|world| world.user_message(post))
    }

    /// The author edits a message; false when there is none.
    pub fn edit(&self, channel: &str, ts: &str, text: &str) -> bool {
        self.shared.change(|world| world.edit(channel, ts, text))
    }

    /// The author deletes a message; false when there is none.
    pub fn delete(&self, channel: &str, ts: &str) -> bool {
        self.shared.change(|world| world.delete(channel, ts))
    }

    /// Somebody reacts to a message; false when that is not possible.
    pub fn react(&self, channel: &str, ts: &str, name: &str, user: &str) -> bool {
        self.shared.change(|world| world.react((channel, ts), name, user, Reaction::Add).is_ok())
    }

    /// Somebody takes a reaction back; false when there is none.
    pub fn unreact(&self, channel: &str, ts: &str, name: &str, user: &str) -> bool {
        self.shared.change(|world| world.react((channel, ts), name, user, Reaction::Remove).is_ok())
    }

    /// Somebody types a command: `/ask`, and what stands behind it.
    pub fn slash(&self, channel: &str, user: &str, command: &str, text: &str) {
        self.shared.change(|world| world.slash(channel, user, command, text));
    }

    /// Somebody presses a button of a message; false when the message has no such button.
    pub fn click(&self, channel: &str, user: &str, ts: &str, action_id: &str) -> bool {
        self.shared.change(|world| world.click(channel, user, ts, action_id))
    }

    /// Somebody sends an open view with these values (block → action → element); false when there
    /// is no such view.
    pub fn submit(&self, view_id: &str, user: &str, values: &Value) -> bool {
        self.shared.change(|world| world.submit(view_id, user, values))
    }

    /// Tells the app of any event at all; returns its id.
    pub fn emit(&self, event: &Value) -> String {
        self.shared.change(|world| world.emit(event))
    }

    /// Adds a user, or replaces the one with this id.
    pub fn add_user(&self, user: User) {
        self.shared.change(|world| drop(world.users.insert(user.id().to_owned(), user)));
    }

    /// Adds a conversation, or replaces the one with this id.
    pub fn add_conversation(&self, conversation: Conversation) {
        let id = conversation.id().to_owned();
        self.shared.change(|world| drop(world.conversations.insert(id, conversation)));
    }

    /// Adds a user group.
    pub fn add_usergroup(&self, id: &str, handle: &str) {
        self.shared.change(|world| world.add_usergroup(id, handle));
    }

    /// Somebody joins a conversation; false when they were in it.
    pub fn join(&self, channel: &str, user: &str) -> bool {
        self.shared.change(|world| world.move_member(channel, user, Member::Joins))
    }

    /// Somebody leaves a conversation; false when they were not in it.
    pub fn leave(&self, channel: &str, user: &str) -> bool {
        self.shared.change(|world| world.move_member(channel, user, Member::Leaves))
    }

    /// Archives a conversation.
    pub fn archive(&self, channel: &str) {
        self.shared.change(|world| world.archive(channel));
    }

    /// Announces to every socket that it will be closed (`warning`, `refresh_requested`,
    /// `link_disabled`), and closes it after this time.
    pub fn disconnect(&self, reason: &str, after: Duration) {
        self.shared.change(|world| world.disconnect(reason, after));
    }

    /// Resets the TCP connection of every socket.
    pub fn abort_sockets(&self) {
        self.shared.change(World::abort_sockets);
    }

    /// Every socket falls silent, pings included, and its TCP connection stays open.
    pub fn stall_sockets(&self) {
        self.shared.change(World::stall_sockets);
    }

    /// Sends text to every socket as it is.
    pub fn frame(&self, text: &str) {
        self.shared.change(|world| world.frame(text));
    }

    /// Takes in so many acks, from now on, as if they had been lost on the way.
    pub fn ignore_acks(&self, acks: usize) {
        self.shared.change(|world| world.ignore_acks(acks));
    }

    /// Adds a fault behind those that are there.
    pub fn fault(&self, fault: Fault) {
        self.shared.change(|world| world.faults.add(fault));
    }

    /// Takes all faults away; what hangs goes on hanging.
    pub fn clear_faults(&self) {
        self.shared.change(|world| world.faults.clear());
    }

    /// Lets all go on that hangs now.
    pub fn release(&self) {
        self.shared.released.send_replace(());
    }

    /// From now on both tokens are answered with this code: `token_revoked`, `invalid_auth`.
    pub fn revoke(&self, code: &str) {
        self.shared.change(|world| world.revoked = Some(code.to_owned()));
    }

    /// The tokens are good again.
    pub fn restore(&self) {
        self.shared.change(|world| world.revoked = None);
    }
}
