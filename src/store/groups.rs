//! Groups, and the chats that belong to them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use super::error::{Step, Stop, StoreError};
use super::intake;
use super::values::{Count, Millis, time_if_any};
use super::writer::name;
use crate::model::{ChatId, Group, GroupName, GroupSettings};

/// A chat that a channel has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChatRow {
    /// The chat.
    pub(crate) id: ChatId,
    /// Its name for people.
    pub(crate) name: Option<String>,
    /// The group that it belongs to; `None` is a chat that is not registered.
    pub(crate) group: Option<GroupName>,
    /// When somebody last said something there, by the platform's clock; to the minute for one not registered.
    pub(crate) last_message_at: Option<Timestamp>,
}

impl Store {
    /// All groups, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        self.read("list the groups", |connection| {
            let sql = "SELECT * FROM registered_groups ORDER BY name";
            let mut statement = connection.prepare_cached(sql)?;
            let groups = statement.query_map([], group)?;
            Ok(groups.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The group of a name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn group(&self, name: &GroupName) -> Result<Option<Group>, StoreError> {
        let name = name.clone();
        self.read("look up a group", move |connection| {
            let sql = "SELECT * FROM registered_groups WHERE name = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([name], group).optional()?)
        })
        .await
    }

    /// The group that a chat belongs to.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn group_of(&self, chat: &ChatId) -> Result<Option<Group>, StoreError> {
        let chat = chat.clone();
        self.read("look up the group of a chat", move |connection| {
            let sql = "SELECT g.* FROM chats c JOIN registered_groups g ON g.name = c.group_name
                       WHERE c.chat_id = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([chat], group).optional()?)
        })
        .await
    }

    /// Adds a group, and registers its chat in the terminal.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of that name.
    pub(crate) async fn add_group(&self, group: Group) -> Result<(), StoreError> {
        let now = self.now();
        self.write(name!("add_group", "add a group"), move |connection| {
            let sql = "INSERT INTO registered_groups
                           (name, trigger_pattern, requires_trigger, container_config, added_at)
                       VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            let Group { name, trigger, requires_trigger, settings } = &group;
            let values = params![name, trigger, requires_trigger, json(settings)?, Millis(now)];
            if connection.prepare_cached(sql)?.execute(values)? == 0 {
                return Err(StoreError::Conflict(format!("there is a group {name} already")).into());
            }
            register(connection, &ChatId::terminal(name), name)
        })
        .await
    }

    /// Changes a group; messages that no run has dealt with are looked at again by its new rules.
    ///
    /// # Errors
    /// [`StoreError::NotThere`].
    pub(crate) async fn set_group(&self, group: Group) -> Result<(), StoreError> {
        self.write(name!("set_group", "change a group"), move |connection| {
            let sql = "UPDATE registered_groups
                       SET trigger_pattern = ?2, requires_trigger = ?3, container_config = ?4
                       WHERE name = ?1";
            let Group { name, trigger, requires_trigger, settings } = &group;
            let values = params![name, trigger, requires_trigger, json(settings)?];
            if connection.prepare_cached(sql)?.execute(values)? == 0 {
                return Err(no_group(name));
            }
            let sql =
                "UPDATE router_state SET seen_seq = cursor WHERE seen_seq > cursor AND chat_id IN
                           (SELECT chat_id FROM chats WHERE group_name = ?1)";
            connection.prepare_cached(sql)?.execute([name])?;
            Ok(())
        })
        .await
    }

    /// Removes a group; its chats are no longer registered, their messages stay.
    ///
    /// # Errors
    /// [`StoreError::NotThere`], and [`StoreError::Conflict`] for the main group.
    pub(crate) async fn remove_group(&self, name: &GroupName) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(name!("remove_group", "remove a group"), move |connection| {
            if name.is_main() {
                let reason = format!("the group {name} cannot be removed");
                return Err(StoreError::Conflict(reason).into());
            }
            let sql = "DELETE FROM sessions WHERE chat_id IN
                           (SELECT chat_id FROM chats WHERE group_name = ?1)";
            connection.prepare_cached(sql)?.execute([&name])?;
            let sql = "DELETE FROM registered_groups WHERE name = ?1";
            match connection.prepare_cached(sql)?.execute([&name])? {
                0 => Err(no_group(&name)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Makes a chat belong to a group; it then starts with no session.
    ///
    /// # Errors
    /// [`StoreError::NotThere`] when there is no such group, and [`StoreError::Conflict`] when the chat belongs to
    /// another one.
    pub(crate) async fn register_chat(
        &self,
        chat: &ChatId,
        group: &GroupName,
    ) -> Result<(), StoreError> {
        let (chat, group) = (chat.clone(), group.clone());
        self.write(name!("register_chat", "register a chat"), move |connection| {
            register(connection, &chat, &group)
        })
        .await
    }

    /// Makes a chat belong to its group no longer; its messages stay.
    ///
    /// # Errors
    /// [`StoreError::NotThere`] when it does not belong to that group.
    pub(crate) async fn unregister_chat(
        &self,
        chat: &ChatId,
        group: &GroupName,
    ) -> Result<(), StoreError> {
        let (chat, group) = (chat.clone(), group.clone());
        self.write(name!("unregister_chat", "unregister a chat"), move |connection| {
            let sql = "UPDATE chats SET group_name = NULL WHERE chat_id = ?1 AND group_name = ?2";
            if connection.prepare_cached(sql)?.execute(params![chat, group])? == 0 {
                let what = format!("chat {chat} in the group {group}");
                return Err(StoreError::NotThere(what).into());
            }
            forget_sessions(connection, &chat)
        })
        .await
    }

    /// The chats that are known, registered or not: at most so many, those with the newest messages first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn newest_chats(&self, limit: usize) -> Result<Vec<ChatRow>, StoreError> {
        self.read("list the chats", move |connection| {
            let sql = "SELECT c.*, (
                           SELECT m.timestamp FROM messages m WHERE m.seq = (
                               SELECT max(r.last_seq) FROM router_state r WHERE r.chat_id = c.chat_id
                           )
                       ) AS said_at
                       FROM chats c
                       ORDER BY max(ifnull(last_message_time, 0), ifnull(said_at, 0)) DESC, chat_id
                       LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let chats = statement.query_map([Count::of(limit)], chat)?;
            Ok(chats.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The chats of a group: at most so many, those with the newest messages first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn chats_of(
        &self,
        group: &GroupName,
        limit: usize,
    ) -> Result<Vec<ChatRow>, StoreError> {
        let group = group.clone();
        self.read("list the chats of a group", move |connection| {
            let sql = "SELECT c.*, (
                           SELECT m.timestamp FROM messages m WHERE m.seq = (
                               SELECT max(r.last_seq) FROM router_state r WHERE r.chat_id = c.chat_id
                           )
                       ) AS said_at
                       FROM chats c WHERE c.group_name = ?1
                       ORDER BY max(ifnull(last_message_time, 0), ifnull(said_at, 0)) DESC, chat_id
                       LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let chats = statement.query_map(params![group, Count::of(limit)], chat)?;
            Ok(chats.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Notes that a chat exists, and its name where that is known.
    ///
    /// # Errors
    /// When it is not on disk.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "channels whose chats come and go call it; the terminal's do not"
        )
    )]
    pub(crate) async fn note_chat(
        &self,
        id: &ChatId,
        name: Option<&str>,
    ) -> Result<(), StoreError> {
        let (id, name) = (id.clone(), name.map(str::to_owned));
        self.write(name!("note_chat", "note a chat"), move |connection| {
            intake::note_chat(connection, &id, name.as_deref(), None).map(|_registered| ())
        })
        .await
    }
}

/// The group in the columns of `registered_groups`.
pub(super) fn group(row: &Row<'_>) -> rusqlite::Result<Group> {
    let column = row.as_ref().column_index("container_config")?;
    let settings = serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })?;
    Ok(Group {
        name: row.get("name")?,
        trigger: row.get("trigger_pattern")?,
        requires_trigger: row.get("requires_trigger")?,
        settings,
    })
}

/// The chat in the columns of `chats`, and `said_at`: when its newest message was said.
fn chat(row: &Row<'_>) -> rusqlite::Result<ChatRow> {
    let (noted, said) = (time_if_any(row, "last_message_time")?, time_if_any(row, "said_at")?);
    Ok(ChatRow {
        id: row.get("chat_id")?,
        name: row.get("name")?,
        group: row.get("group_name")?,
        last_message_at: noted.max(said),
    })
}

fn json(settings: &GroupSettings) -> Step<String> {
    serde_json::to_string(settings)
        .map_err(|error| StoreError::failed("write a group's settings as JSON", error).into())
}

fn register(connection: &Connection, chat: &ChatId, group: &GroupName) -> Step<()> {
    let sql = "SELECT 1 FROM registered_groups WHERE name = ?1";
    if !connection.prepare_cached(sql)?.exists([group])? {
        return Err(no_group(group));
    }
    intake::note_chat(connection, chat, None, None)?;
    let sql = "SELECT group_name FROM chats WHERE chat_id = ?1";
    match connection.prepare_cached(sql)?.query_row([chat], |row| row.get(0))? {
        Some::<GroupName>(owner) if owner == *group => return Ok(()),
        Some(owner) => {
            let reason = format!("the chat {chat} belongs to the group {owner}");
            return Err(StoreError::Conflict(reason).into());
        }
        None => {}
    }
    let sql = "UPDATE chats SET group_name = ?2 WHERE chat_id = ?1";
    connection.prepare_cached(sql)?.execute(params![chat, group])?;
    // The new group has rules and a home of its own.
    let sql = "UPDATE router_state SET seen_seq = cursor WHERE seen_seq > cursor AND chat_id = ?1";
    connection.prepare_cached(sql)?.execute([chat])?;
    forget_sessions(connection, chat)
}

fn forget_sessions(connection: &Connection, chat: &ChatId) -> Step<()> {
    connection.prepare_cached("DELETE FROM sessions WHERE chat_id = ?1")?.execute([chat])?;
    Ok(())
}

fn no_group(name: &GroupName) -> Stop {
    StoreError::NotThere(format!("group {name}")).into()
}
