//! Messages that a channel shows and that are no answers yet, so that a later process can take them away.

use rusqlite::params;

use super::Store;
use super::error::StoreError;
use super::values::{conversation, thread_key};
use super::writer::name;
use crate::model::{ChannelName, Conversation, MessageId};

impl Store {
    /// Keeps that a message is shown in a conversation, instead of what was kept of it before.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn drafted(
        &self,
        place: &Conversation,
        message: &MessageId,
    ) -> Result<(), StoreError> {
        let sql = &[
            "DELETE FROM drafts WHERE chat_id = ?1 AND thread = ?2 AND message <> ?3",
            "INSERT OR IGNORE INTO drafts (chat_id, thread, message) VALUES (?1, ?2, ?3)",
        ];
        self.draft(name!("drafted", "keep a draft"), sql, place, message).await
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn settled(
        &self,
        place: &Conversation,
        message: &MessageId,
    ) -> Result<(), StoreError> {
        let sql = &["DELETE FROM drafts WHERE chat_id = ?1 AND thread = ?2 AND message = ?3"];
        self.draft(name!("settled", "forget a draft"), sql, place, message).await
    }

    /// The drafts of a channel.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn drafts(
        &self,
        channel: &ChannelName,
    ) -> Result<Vec<(Conversation, MessageId)>, StoreError> {
        // The ids of a channel's chats lie between these two: `;` comes after `:`.
        let (first, end) = (format!("{channel}:"), format!("{channel};"));
        self.read("list the drafts", move |connection| {
            let sql = "SELECT * FROM drafts WHERE chat_id > ?1 AND chat_id < ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let drafts = statement
                .query_map([first, end], |row| Ok((conversation(row)?, row.get("message")?)))?;
            Ok(drafts.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn draft(
        &self,
        name: super::writer::Name,
        sql: &'static [&'static str],
        place: &Conversation,
        message: &MessageId,
    ) -> Result<(), StoreError> {
        let (Conversation { chat, thread }, message) = (place.clone(), message.clone());
        self.write(name, move |connection| {
            for sql in sql {
                let values = params![chat, thread_key(thread.as_ref()), message];
                connection.prepare_cached(sql)?.execute(values)?;
            }
            Ok(())
        })
        .await
    }
}
