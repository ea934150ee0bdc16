//! Stop signs: somebody wants a run to end, by a reaction to a message of its conversation or by Slack's own button.

use tracing::info;

use super::event::{Change, ChatKind, Reaction, Speaker};
use super::id::{ConversationId, Ts, UserId};
use super::intake::{Inlet, thread, unread};
use super::people;
use crate::channel::NotKept;
use crate::model::Conversation;

/// The reactions that end a run.
const STOP: [&str; 3] = ["octagonal_sign", "stop_sign", "stop_button"];

impl Inlet<'_> {
    /// Ends the run of the conversation that a stop sign was put up in.
    ///
    /// # Errors
    /// When Slack does not say now who it was, or where.
    pub(super) async fn reaction(&self, reaction: &Reaction) -> Result<(), NotKept> {
        let is_stop = STOP.contains(&reaction.name.as_str()) && reaction.change == Change::Came;
        if !is_stop || !self.may_stop(Some(&reaction.user)).await? {
            return Ok(());
        }
        let (Some(ours), chat) = (self.workspace.ours(), &reaction.chat) else { return Ok(()) };
        let message = self.message(chat, reaction.ts).await.map_err(unread)?;
        let thread = match &message {
            Some(message) => match message.speaker(&ours.me) {
                Speaker::Me => message.thread,
                Speaker::Person(_) => {
                    let direct = message.chat_kind == Some(ChatKind::Direct);
                    let words = self.words(message).await.map_err(unread)?;
                    thread(message, words.mentioned, direct)
                }
                Speaker::Bot | Speaker::Platform => Some(reaction.ts),
            },
            // Of what it is a part is not known: all that may hang on it is a thread.
            None => Some(reaction.ts),
        };
        self.cancel(chat, thread).await;
        // What was said at the top of a chat may have got a thread since.
        if thread.is_none() {
            self.cancel(chat, Some(reaction.ts)).await;
        }
        Ok(())
    }

    /// Ends the run of an agent's session whose stop button somebody pressed.
    ///
    /// # Errors
    /// When Slack does not say now who it was.
    pub(super) async fn stopped(
        &self,
        user: Option<&UserId>,
        chat: &ConversationId,
        thread: Option<Ts>,
    ) -> Result<(), NotKept> {
        if self.may_stop(user).await? {
            self.cancel(chat, thread).await;
        }
        Ok(())
    }

    /// Whether somebody may end runs: a member of the workspace may, and nobody of whom Slack does not say that.
    async fn may_stop(&self, user: Option<&UserId>) -> Result<bool, NotKept> {
        let (Some(ours), Some(user)) = (self.workspace.ours(), user) else { return Ok(false) };
        if *user == ours.me.user {
            return Ok(false);
        }
        let person = self.workspace.person(user).await.map_err(unread)?;
        Ok(!people::is_outside(person.as_ref()))
    }

    /// Ends the run of a conversation.
    async fn cancel(&self, channel: &ConversationId, thread: Option<Ts>) {
        let Some(chat) = self.workspace.chat(channel) else { return };
        let thread = thread.and_then(|thread| thread.to_string().parse().ok());
        info!(channel.name = "slack", chat.id = %chat, "somebody wants a run to stop");
        self.intake.cancel(&Conversation { chat, thread }).await;
    }
}
