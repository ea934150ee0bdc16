//! How the words of [`crate::model`] stand in columns.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::model::{
    ChannelName, ChatId, Conversation, GroupName, MessageId, OutboxId, RequestId, Revision, RunId,
    SandboxId, Seq, SessionId, ThreadId, Usage,
};

/// A time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Millis(pub(super) Timestamp);

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millisecond().into())
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::from_millisecond(value.as_i64()?).map(Self).map_err(FromSqlError::other)
    }
}

/// A count; one that SQLite's signed integers cannot hold is cut to the greatest that they can.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) u64);

impl Count {
    /// A limit or a length.
    pub(super) fn of(number: usize) -> Self {
        Self(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).or(Err(FromSqlError::OutOfRange(number)))
    }
}

/// Numbers that the store assigns stand as integers.
macro_rules! number_column {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Count::column_result(value).map(|Count(number)| Self(number))
            }
        }
    )*};
}

number_column!(Seq, RunId, OutboxId);

/// Names stand as text.
macro_rules! text_column {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                parsed(value)
            }
        }
    )*};
}

text_column!(ChannelName, GroupName, MessageId, RequestId, SandboxId, SessionId, ThreadId);

/// States stand as the text that their `as_str` tells and their `parse` understands.
macro_rules! state_column {
    ($name:ident) => {
        impl rusqlite::types::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(
                value: rusqlite::types::ValueRef<'_>,
            ) -> rusqlite::types::FromSqlResult<Self> {
                Self::parse(value.as_str()?).ok_or(rusqlite::types::FromSqlError::InvalidType)
            }
        }
    };
}

pub(super) use state_column;

impl ToSql for ChatId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for ChatId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        parsed(value)
    }
}

fn parsed<T>(value: ValueRef<'_>) -> FromSqlResult<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    value.as_str()?.parse().map_err(FromSqlError::other)
}

/// A conversation's thread as it stands in keys: `''` for none, since NULLs are never equal.
pub(super) fn thread_key(thread: Option<&ThreadId>) -> &str {
    thread.map_or("", ThreadId::as_str)
}

/// The conversation in the columns `chat_id` and `thread`.
pub(super) fn conversation(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation { chat: row.get("chat_id")?, thread: thread(row)? })
}

/// The thread in the column `thread`.
pub(super) fn thread(row: &Row<'_>) -> rusqlite::Result<Option<ThreadId>> {
    let none = row.get_ref("thread")? == ValueRef::Text(b"");
    if none { Ok(None) } else { row.get("thread").map(Some) }
}

/// The time in a column.
pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(|Millis(time)| time)
}

/// The time in a column that may be empty.
pub(super) fn time_if_any(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let time: Option<Millis> = row.get(column)?;
    Ok(time.map(|Millis(time)| time))
}

/// What became of a message, as the column says it: NULL for nothing.
pub(super) fn revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    let revision: Option<Revision> = row.get("revision")?;
    Ok(revision.unwrap_or_default())
}

impl FromSql for Revision {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "edited" => Ok(Self::Edited),
            "deleted" => Ok(Self::Deleted),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// The count in a column.
pub(super) fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get(column).map(|Count(count)| count)
}

/// What the columns of usage say.
pub(super) fn usage(row: &Row<'_>) -> rusqlite::Result<Usage> {
    Ok(Usage {
        requests: count(row, "requests")?,
        input_tokens: count(row, "input_tokens")?,
        output_tokens: count(row, "output_tokens")?,
        cache_read_tokens: count(row, "cache_read_tokens")?,
        cache_write_tokens: count(row, "cache_write_tokens")?,
        cost_micros: count(row, "cost_micros")?,
    })
}
