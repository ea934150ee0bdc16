//! Groups, and the chats that belong to them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

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

/// The chats that come to a group and those that leave it, which start with no session elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupChats {
    /// Those that are to belong to it.
    pub(crate) added: Vec<ChatId>,
    /// Those that are to belong to it no longer; their messages stay.
    pub(crate) removed: Vec<ChatId>,
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
        self.read("look up a group", move |connection| look_up(connection, &name)).await
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

    /// Adds a group, and registers its chat in the terminal and these.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of that name, and [`StoreError::Taken`] when a chat belongs to another.
    pub(crate) async fn add_group(
        &self,
        group: Group,
        chats: Vec<ChatId>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        self.write(name!("add_group", "add a group"), move |connection| {
            insert(connection, &group, now)?;
            chats.iter().try_for_each(|chat| register(connection, chat, &group.name, now))
        })
        .await
    }

    /// Changes a group as it is now, and which chats belong to it, all of it or nothing; two who change it at the same
    /// time do so one after the other. What waits for a run is looked at again by its new rules.
    ///
    /// # Errors
    /// [`StoreError::NotThere`] when there is no such group, or a chat that is to leave does not belong to it;
    /// [`StoreError::Taken`] when a chat that is to come belongs to another; [`StoreError::Conflict`] with the sentence
    /// by which the change itself refuses.
    pub(crate) async fn change_group(
        &self,
        name: &GroupName,
        chats: GroupChats,
        change: impl FnOnce(Group) -> Result<Group, String> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (name, now) = (name.clone(), self.now());
        self.write(name!("change_group", "change a group"), move |connection| {
            let before = look_up(connection, &name)?.ok_or_else(|| no_group(&name))?;
            for chat in &chats.removed {
                unregister(connection, chat, &name)?;
            }
            let after = change(before.clone()).map_err(StoreError::Conflict)?;
            if after != before {
                replace(connection, &name, &after)?;
            }
            chats.added.iter().try_for_each(|chat| register(connection, chat, &name, now))
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

    /// The chats that are known, registered or not: at most so many, those with the newest messages first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn newest_chats(&self, limit: usize) -> Result<Vec<ChatRow>, StoreError> {
        self.read("list the chats", move |connection| {
            chats(connection, "TRUE", params![Count::of(limit)])
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
            chats(connection, "c.group_name = ?2", params![Count::of(limit), group])
        })
        .await
    }
}

/// The chats of which something holds, as many as the first of the values says, those with the newest messages first.
fn chats(connection: &Connection, holds: &str, values: impl Params) -> Step<Vec<ChatRow>> {
    let sql = format!(
        "SELECT c.*, (
             SELECT m.timestamp FROM messages m WHERE m.seq = (
                 SELECT max(r.last_seq) FROM router_state r WHERE r.chat_id = c.chat_id
             )
         ) AS said_at
         FROM chats c WHERE {holds}
         ORDER BY max(ifnull(last_message_time, 0), ifnull(said_at, 0)) DESC, chat_id
         LIMIT ?1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let chats = statement.query_map(values, chat)?;
    Ok(chats.collect::<Result<_, _>>()?)
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

/// The group of a name.
pub(super) fn look_up(connection: &Connection, name: &GroupName) -> Step<Option<Group>> {
    let sql = "SELECT * FROM registered_groups WHERE name = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([name], group).optional()?)
}

/// Adds a group, and registers its chat in the terminal.
pub(super) fn insert(connection: &Connection, group: &Group, now: Timestamp) -> Step<()> {
    let sql = "INSERT INTO registered_groups
                   (name, trigger_pattern, requires_trigger, container_config, added_at)
               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let Group { name, trigger, requires_trigger, settings } = group;
    let values = params![name, trigger, requires_trigger, json(settings)?, Millis(now)];
    if connection.prepare_cached(sql)?.execute(values)? == 0 {
        return Err(StoreError::Conflict(format!("there is a group {name} already")).into());
    }
    register(connection, &ChatId::terminal(name), name, now)
}

/// Writes a group anew. What waits for a run by the old rules is looked at again by the new ones; what was refused stays
/// refused, for nobody expects to set off by a setting what was said long ago.
pub(super) fn replace(connection: &Connection, name: &GroupName, group: &Group) -> Step<()> {
    let sql = "UPDATE registered_groups
               SET trigger_pattern = ?2, requires_trigger = ?3, container_config = ?4
               WHERE name = ?1";
    let Group { trigger, requires_trigger, settings, .. } = group;
    let values = params![name, trigger, requires_trigger, json(settings)?];
    connection.prepare_cached(sql)?.execute(values)?;
    let sql = "UPDATE router_state SET seen_seq = cursor, triggered_seq = min(triggered_seq, cursor)
               WHERE triggered_seq > cursor AND chat_id IN (SELECT chat_id FROM chats WHERE group_name = ?1)";
    connection.prepare_cached(sql)?.execute([name])?;
    Ok(())
}

fn unregister(connection: &Connection, chat: &ChatId, group: &GroupName) -> Step<()> {
    let sql = "UPDATE chats SET group_name = NULL WHERE chat_id = ?1 AND group_name = ?2";
    if connection.prepare_cached(sql)?.execute(params![chat, group])? == 0 {
        let what = format!("chat {chat} in the group {group}");
        return Err(StoreError::NotThere(what).into());
    }
    forget_sessions(connection, chat)
}

/// Registers a chat with a group, where it starts anew.
pub(super) fn register(
    connection: &Connection,
    chat: &ChatId,
    group: &GroupName,
    now: Timestamp,
) -> Step<()> {
    intake::note_chat(connection, chat, None, None)?;
    let sql = "SELECT group_name FROM chats WHERE chat_id = ?1";
    match connection.prepare_cached(sql)?.query_row([chat], |row| row.get(0))? {
        Some::<GroupName>(owner) if owner == *group => return Ok(()),
        Some(owner) => {
            return Err(StoreError::Taken { chat: chat.clone(), owner }.into());
        }
        None => {}
    }
    let sql = "UPDATE chats SET group_name = ?2, registered_at = ?3, mark_seq = NULL
               WHERE chat_id = ?1";
    connection.prepare_cached(sql)?.execute(params![chat, group, Millis(now)])?;
    // The new group has rules and a home of its own; what the old one refused stays refused.
    let sql = "UPDATE router_state SET seen_seq = cursor
               WHERE triggered_seq > cursor AND chat_id = ?1";
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
