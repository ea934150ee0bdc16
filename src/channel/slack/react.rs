//! Reactions: there once, however often they are put.

use serde_json::json;

use super::send::Address;
use crate::channel::SendError;
use crate::model::{MessageId, Receipt};

impl Address<'_> {
    /// Puts an emoji on a message.
    ///
    /// # Errors
    /// When Slack does not take it, or does not answer.
    pub(super) async fn react(
        &self,
        emoji: &str,
        message: &MessageId,
    ) -> Result<Receipt, SendError> {
        let body = json!({
            "channel": self.channel.as_str(), "timestamp": message.as_str(), "name": emoji,
        });
        match self.workspace.api.write("reactions.add", &body).await {
            Err(error) if error.code() != Some("already_reacted") => Err(self.not_sent(&error)),
            _ => Ok(Receipt { external_id: None }),
        }
    }
}
