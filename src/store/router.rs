//! What the router asks: which conversations have news, and which wait for a run.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::Store;
use super::error::{Step, StoreError};
use super::groups::group;
use super::intake::{MOST_TEXT, gather, message};
use super::values::{Count, Millis, conversation, thread_key, time_if_any};
use super::writer::name;
use crate::model::{Conversation, Group, GroupName, KeptMessage, Seq};

/// How many messages of a conversation the router looks at in one go.
const LOOK: usize = 200;

/// A conversation with messages that the router has not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// The conversation.
    pub(crate) conversation: Conversation,
    /// The group that its chat belongs to.
    pub(crate) group: Group,
    /// Whether something that was said in it before has woken the assistant.
    pub(crate) woken: bool,
    /// The messages by others, oldest first: at most 200, or a few MiB, and each of them whole.
    pub(crate) messages: Vec<KeptMessage>,
}

/// What the router has not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// The conversations, those that it has not looked at for longest first.
    pub(crate) unseen: Vec<Unseen>,
    /// Whether there may be more, in these or in other conversations.
    pub(crate) more: bool,
}

/// A conversation that waits for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// The conversation.
    pub(crate) conversation: Conversation,
    /// The group that its chat belongs to.
    pub(crate) group: GroupName,
    /// The end of the pause after a failed run.
    pub(crate) not_before: Option<Timestamp>,
}

impl Store {
    /// Conversations of registered chats with messages that the router has not looked at; those that it has not
    /// looked at for longest first, and no more than a few MiB of text at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn news(&self, limit: usize) -> Result<News, StoreError> {
        self.read("look for new messages", move |connection| news(connection, limit, NEWS)).await
    }

    /// The same of those conversations only that wait for no run as far as the router knows, and have none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn news_of_the_idle(&self, limit: usize) -> Result<News, StoreError> {
        let sql = NEWS_OF_THE_IDLE;
        self.read("look for new messages", move |connection| news(connection, limit, sql)).await
    }

    /// The same of one conversation; `None` when there is nothing new in it, or its chat is not registered.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn unseen_of(
        &self,
        conversation: &Conversation,
    ) -> Result<Option<Unseen>, StoreError> {
        let conversation = conversation.clone();
        self.read("look for new messages of a conversation", move |connection| {
            let sql = "SELECT r.chat_id, r.thread, r.seen_seq, r.triggered_seq, g.*
                       FROM router_state r
                       JOIN chats c ON c.chat_id = r.chat_id
                       JOIN registered_groups g ON g.name = c.group_name
                       WHERE r.chat_id = ?1 AND r.thread = ?2 AND r.last_seq > r.seen_seq";
            let key = params![conversation.chat, thread_key(conversation.thread.as_ref())];
            let found = connection.prepare_cached(sql)?.query_row(key, New::of);
            let found = found.optional()?;
            found.map(|new| new.unseen(connection, &mut { MOST_TEXT })).transpose()
        })
        .await
    }

    /// Whether something that was said in a conversation has woken the assistant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn woken(&self, conversation: &Conversation) -> Result<bool, StoreError> {
        let conversation = conversation.clone();
        self.read("look whether the assistant was woken", move |connection| {
            let sql =
                "SELECT triggered_seq > 0 FROM router_state WHERE chat_id = ?1 AND thread = ?2";
            let key = params![conversation.chat, thread_key(conversation.thread.as_ref())];
            let woken = connection.prepare_cached(sql)?.query_row(key, |row| row.get(0));
            Ok(woken.optional()?.unwrap_or(false))
        })
        .await
    }

    /// Notes how far the router has looked, and the newest message that wakes the assistant, if one does.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn mark_seen(
        &self,
        conversation: &Conversation,
        through: Seq,
        triggered: Option<Seq>,
    ) -> Result<(), StoreError> {
        let conversation = conversation.clone();
        self.write(
            name!("mark_seen", "note what the router has seen").while_powered(),
            move |connection| mark_seen(connection, &conversation, through, triggered),
        )
        .await
    }

    /// Conversations that wait for a run and have none, in the order in which they began to wait; those that pause
    /// after a failure come last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn due(&self, limit: usize) -> Result<Vec<Due>, StoreError> {
        let now = self.now();
        self.read("look for conversations that wait", move |connection| {
            let sql = "SELECT r.chat_id, r.thread, r.not_before, c.group_name
                       FROM router_state r JOIN chats c ON c.chat_id = r.chat_id
                       WHERE r.triggered_seq > r.cursor AND c.group_name IS NOT NULL AND NOT EXISTS (
                           SELECT 1 FROM runs WHERE runs.chat_id = r.chat_id AND runs.thread = r.thread
                               AND runs.state IN ('claimed', 'running')
                       )
                       ORDER BY coalesce(r.not_before > ?2, FALSE), r.waiting_seq LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let due = statement.query_map(params![Count::of(limit), Millis(now)], |row| {
                Ok(Due {
                    conversation: conversation(row)?,
                    group: row.get("group_name")?,
                    not_before: time_if_any(row, "not_before")?,
                })
            })?;
            Ok(due.collect::<Result<_, _>>()?)
        })
        .await
    }
}

const NEWS: &str = "SELECT r.chat_id, r.thread, r.seen_seq, r.triggered_seq, g.*
    FROM router_state r
    JOIN chats c ON c.chat_id = r.chat_id
    JOIN registered_groups g ON g.name = c.group_name
    WHERE r.last_seq > r.seen_seq
    ORDER BY r.seen_seq LIMIT ?1";
const NEWS_OF_THE_IDLE: &str = "SELECT r.chat_id, r.thread, r.seen_seq, r.triggered_seq, g.*
    FROM router_state r
    JOIN chats c ON c.chat_id = r.chat_id
    JOIN registered_groups g ON g.name = c.group_name
    WHERE r.last_seq > r.seen_seq AND r.triggered_seq <= r.cursor AND NOT EXISTS (
        SELECT 1 FROM runs WHERE runs.chat_id = r.chat_id AND runs.thread = r.thread
            AND runs.state IN ('claimed', 'running')
    )
    ORDER BY r.seen_seq LIMIT ?1";

/// The news that a statement finds, one of the two above.
fn news(connection: &Connection, limit: usize, sql: &'static str) -> Step<News> {
    let mut statement = connection.prepare_cached(sql)?;
    let waiting = statement.query_map([Count::of(limit)], New::of)?;
    let mut unseen: Vec<Unseen> = Vec::new();
    let mut left = MOST_TEXT;
    for row in waiting {
        if left == 0 {
            break;
        }
        unseen.push(row?.unseen(connection, &mut left)?);
    }
    let cut = |unseen: &Unseen| unseen.messages.len() >= LOOK;
    let more = left == 0 || unseen.len() >= limit || unseen.iter().any(cut);
    Ok(News { unseen, more })
}

/// A conversation with something new, of which the messages are still to be read.
struct New {
    conversation: Conversation,
    group: Group,
    seen: Seq,
    woken: bool,
}

impl New {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (conversation, group) = (conversation(row)?, group(row)?);
        let woken = row.get::<_, Seq>("triggered_seq")? > Seq(0);
        Ok(Self { conversation, group, seen: row.get("seen_seq")?, woken })
    }

    /// Reads the messages, as far as the bytes that are `left` allow.
    fn unseen(self, connection: &Connection, left: &mut usize) -> Step<Unseen> {
        let Self { conversation, group, seen, woken } = self;
        let sql = "SELECT * FROM messages
                   WHERE chat_id = ?1 AND thread = ?2 AND seq > ?3 AND NOT is_from_me
                   ORDER BY seq LIMIT ?4";
        let mut statement = connection.prepare_cached(sql)?;
        let thread = thread_key(conversation.thread.as_ref());
        let values = params![conversation.chat, thread, seen, Count::of(LOOK)];
        let messages = statement.query_map(values, message)?;
        let messages = gather(messages, left)?;
        Ok(Unseen { conversation, group, woken, messages })
    }
}

/// A message of which the router has seen an earlier text, or is looking at it just now, if no run has dealt with it.
pub(super) fn look_again(connection: &Connection, kept: KeptMessage) -> Step<Option<Unseen>> {
    let sql = "SELECT r.chat_id, r.thread, r.seen_seq, r.triggered_seq, g.*
               FROM router_state r
               JOIN chats c ON c.chat_id = r.chat_id
               JOIN registered_groups g ON g.name = c.group_name
               WHERE r.chat_id = ?1 AND r.thread = ?2 AND ?3 > r.cursor";
    let Conversation { chat, thread } = kept.message.conversation();
    let key = params![chat, thread_key(thread.as_ref()), kept.seq];
    let found = connection.prepare_cached(sql)?.query_row(key, New::of).optional()?;
    Ok(found.map(|New { conversation, group, woken, .. }| Unseen {
        conversation,
        group,
        woken,
        messages: vec![kept],
    }))
}

/// Moves the marks of a conversation forward, never back and never past its last message; not at all when what woke the
/// assistant was deleted since the router looked, which then looks again.
pub(super) fn mark_seen(
    connection: &Connection,
    conversation: &Conversation,
    through: Seq,
    triggered: Option<Seq>,
) -> Step<()> {
    let sql = "UPDATE router_state SET
                   seen_seq = max(seen_seq, min(:through, last_seq)),
                   triggered_seq = max(triggered_seq, min(:triggered, last_seq)),
                   waiting_seq = iif(triggered_seq <= cursor AND :triggered > cursor, :triggered, waiting_seq)
               WHERE chat_id = :chat AND thread = :thread AND NOT EXISTS (
                   SELECT 1 FROM messages m WHERE m.seq = :triggered AND m.revision = 'deleted'
               )";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":through": through, ":triggered": triggered.unwrap_or(Seq(0)),
        ":chat": conversation.chat, ":thread": thread_key(conversation.thread.as_ref()),
    })?;
    Ok(())
}

/// Moves the cursor of a conversation to the end of a run, forgets its failed attempts, and lets it wait anew if it
/// was triggered again meanwhile.
pub(super) fn move_cursor(
    connection: &Connection,
    conversation: &Conversation,
    through: Seq,
) -> Step<()> {
    let sql = "UPDATE router_state SET
                   cursor = max(cursor, min(:through, last_seq)),
                   seen_seq = max(seen_seq, min(:through, last_seq)),
                   waiting_seq = triggered_seq, attempt = 0, not_before = NULL
               WHERE chat_id = :chat AND thread = :thread";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":through": through,
        ":chat": conversation.chat, ":thread": thread_key(conversation.thread.as_ref()),
    })?;
    Ok(())
}
