//! A stop sign: somebody wants a run to end, by a reaction to a message of its conversation.

use tracing::info;

use super::event::{Change, Reaction};
use super::id::{ConversationId, Ts};
use super::intake::{Inlet, unread};
use super::people;
use crate::channel::NotKept;
use crate::model::Conversation;

/// The reactions that end a run.
const STOP: [&str; 3] = ["octagonal_sign", "stop_sign", "stop_button"];

impl Inlet<'_> {
    /// Ends the run of the conversation that a stop sign was put up in by a member of the workspace.
    ///
    /// # Errors
    /// When Slack does not say now who it was, or where.
    pub(super) async fn reaction(&self, reaction: &Reaction) -> Result<(), NotKept> {
        let Some(ours) = self.workspace.ours() else { return Ok(()) };
        let is_stop = STOP.contains(&reaction.name.as_str()) && reaction.change == Change::Came;
        if !is_stop || reaction.user == ours.me.user {
            return Ok(());
        }
        let person = self.workspace.person(&reaction.user).await.map_err(unread)?;
        if people::is_outside(person.as_ref()) {
            return Ok(());
        }
        let message = self.message(&reaction.chat, reaction.ts).await.map_err(unread)?;
        let root = message.and_then(|message| message.thread);
        self.cancel(&reaction.chat, root.or(Some(reaction.ts))).await;
        if root.is_none() {
            // At the top of a chat it may be a conversation of its own, or part of the chat's.
            self.cancel(&reaction.chat, None).await;
        }
        Ok(())
    }

    /// Ends the run of a conversation.
    pub(super) async fn cancel(&self, channel: &ConversationId, thread: Option<Ts>) {
        let Some(chat) = self.workspace.chat(channel) else { return };
        let thread = thread.and_then(|thread| thread.to_string().parse().ok());
        info!(channel.name = "slack", chat.id = %chat, "somebody wants a run to stop");
        self.intake.cancel(&Conversation { chat, thread }).await;
    }
}
