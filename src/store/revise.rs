//! Messages that were changed or deleted after they were kept.
//!
//! What a run was given before stays as it was given; every later one, another attempt too, reads what stands here.

use rusqlite::params;

use super::Store;
use super::error::StoreError;
use super::intake::{json, look_up};
use super::router::{Unseen, look_again};
use super::values::thread_key;
use super::writer::name;
use crate::model::{Attachment, ChatId, Found, KeptMessage, MessageId};

impl Store {
    /// Gives a message another text, and leaves it these of its files. What is also returned is to be looked at once more: the router may have seen it as it
    /// was, and no run has dealt with it.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn amend(
        &self,
        chat: &ChatId,
        id: &MessageId,
        text: String,
        files: Vec<Attachment>,
    ) -> Result<(Found, Option<Unseen>), StoreError> {
        let (chat, id) = (chat.clone(), id.clone());
        self.write(name!("amend", "change a message"), move |connection| {
            // Platforms tell of an edit also when only a preview of a link has been added.
            let sql = "UPDATE messages SET content = ?3, attachments = ?4, revision = 'edited'
                       WHERE chat_id = ?1 AND id = ?2 AND (content, attachments) IS NOT (?3, ?4)
                           AND revision IS NOT 'deleted'";
            connection.prepare_cached(sql)?.execute(params![chat, id, text, json(&files)?])?;
            let Some(kept) = look_up(connection, &chat, &id)? else {
                return Ok((Found::Unknown, None));
            };
            Ok((Found::Kept, look_again(connection, kept)?))
        })
        .await
    }

    /// Leaves of a message only that there was one. What waited because of it waits no longer, unless other messages
    /// wake the assistant as well: the router looks at them anew.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn retract(&self, chat: &ChatId, id: &MessageId) -> Result<Found, StoreError> {
        let (chat, id) = (chat.clone(), id.clone());
        self.write(name!("retract", "delete a message"), move |connection| {
            let sql = "UPDATE messages SET content = '', attachments = NULL, revision = 'deleted'
                       WHERE chat_id = ?1 AND id = ?2";
            connection.prepare_cached(sql)?.execute(params![chat, id])?;
            let Some(KeptMessage { seq, message, .. }) = look_up(connection, &chat, &id)? else {
                return Ok(Found::Unknown);
            };
            let sql = "UPDATE router_state SET seen_seq = cursor, triggered_seq = cursor
                       WHERE chat_id = ?1 AND thread = ?2 AND triggered_seq = ?3 AND cursor < ?3";
            let thread = thread_key(message.thread.as_ref());
            connection.prepare_cached(sql)?.execute(params![chat, thread, seq])?;
            Ok(Found::Kept)
        })
        .await
    }
}
