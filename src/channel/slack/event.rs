//! What Slack tells us over a socket, parsed at the door.
//!
//! Parsing never fails: a frame that means nothing to us is a value too, so that it can be acknowledged and logged, and
//! a message keeps its text whatever is odd about the rest of it.

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod message;
#[cfg(test)]
mod tests;
mod words;

use serde_json::Value;

pub(crate) use self::message::{ChatKind, File, FileSource, METADATA_TYPE, Me, Message, Speaker};
use super::id::{ConversationId, Ts, UserId};
use super::json::{parsed, word};
use crate::text::one_line;

/// The longest name of an unknown kind that is kept, in characters.
const MOST_KIND: usize = 64;

/// One frame of a socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// The socket is up.
    Hello,
    /// The socket is about to close.
    Goodbye(Goodbye),
    /// Something happened; Slack wants to hear that we have it.
    Envelope(Envelope),
    /// Something without an id: there is nothing to acknowledge.
    Unknown {
        /// What Slack calls it.
        kind: String,
    },
}

/// Why a socket is about to close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// It will close in a moment, and still carries envelopes.
    Warning,
    /// Slack wants a new one in its place.
    Refresh,
    /// The app has too many.
    TooManySockets,
    /// Socket Mode was turned off for the app.
    LinkDisabled,
    /// A reason that we do not know.
    Other(String),
}

/// Something that Slack wants to be acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Envelope {
    /// What the acknowledgement names; a redelivery may bear the same or another.
    pub(crate) id: String,
    /// What is in it.
    pub(crate) payload: Payload,
}

/// What is in an envelope.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Payload {
    /// Something that we subscribed to.
    Event(Event),
    /// It means nothing to us: a button, a command, what Slack will think of.
    Unknown {
        /// What Slack calls it.
        kind: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// Somebody said something.
    Said(Box<Message>),
    /// Somebody mentioned the bot; Slack tells of the same message as [`Event::Said`] too, with another event id.
    Mentioned(Box<Message>),
    /// A message was changed.
    Edited {
        /// As it is now.
        message: Box<Message>,
        /// Whether its words or its files differ: that a preview of a link was added comes like this as well.
        changed: bool,
    },
    /// A message was deleted.
    Deleted {
        /// Where.
        chat: ConversationId,
        /// Which.
        ts: Ts,
    },
    /// A reaction came or went.
    Reaction(Reaction),
    /// A conversation has another name.
    Renamed {
        /// Which.
        chat: ConversationId,
    },
    /// The stop button of an agent's session was pressed.
    Stopped {
        /// Who pressed it.
        user: Option<UserId>,
        /// Where.
        chat: ConversationId,
        /// The thread of the session.
        thread: Option<Ts>,
    },
    /// Tokens of ours are no longer good.
    TokensRevoked,
    /// The app was removed from the workspace.
    AppUninstalled,
    /// It means nothing to us.
    Unknown {
        /// What Slack calls it.
        kind: String,
    },
    /// It would mean something to us, but a part of it is missing.
    Unreadable {
        /// What Slack calls it.
        kind: String,
        /// Which part.
        lacks: &'static str,
    },
}

/// Whether a reaction came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Added.
    Came,
    /// Taken back.
    Went,
}

/// A reaction to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reaction {
    /// Whether it came or went.
    pub(crate) change: Change,
    /// Who reacted.
    pub(crate) user: UserId,
    /// The emoji's name, without colons.
    pub(crate) name: String,
    /// The conversation of the message.
    pub(crate) chat: ConversationId,
    /// The message.
    pub(crate) ts: Ts,
}

impl Frame {
    /// Reads a frame.
    pub(crate) fn parse(frame: &Value) -> Self {
        let kind = word(frame, "type").unwrap_or_default();
        if let Some(id) = word(frame, "envelope_id") {
            return Self::Envelope(Envelope {
                id: id.to_owned(),
                payload: Payload::parse(kind, frame.get("payload").unwrap_or(&Value::Null)),
            });
        }
        match kind {
            "hello" => Self::Hello,
            "disconnect" => Self::Goodbye(match word(frame, "reason").unwrap_or_default() {
                "warning" => Goodbye::Warning,
                "refresh_requested" => Goodbye::Refresh,
                "too_many_websockets" => Goodbye::TooManySockets,
                "link_disabled" => Goodbye::LinkDisabled,
                other => Goodbye::Other(one_line(other, MOST_KIND)),
            }),
            other => Self::Unknown { kind: one_line(other, MOST_KIND) },
        }
    }
}

impl Payload {
    fn parse(kind: &str, payload: &Value) -> Self {
        if kind == "events_api" {
            return Self::Event(Event::parse(payload.get("event").unwrap_or(&Value::Null)));
        }
        let inner = word(payload, "type").map(|inner| format!(".{inner}")).unwrap_or_default();
        Self::Unknown { kind: one_line(&format!("{kind}{inner}"), MOST_KIND) }
    }
}

impl Event {
    fn parse(event: &Value) -> Self {
        let (kind, subtype) = (word(event, "type").unwrap_or_default(), word(event, "subtype"));
        let kind = match (kind, subtype) {
            ("message", Some("message_changed" | "message_deleted" | "message_replied")) => {
                format!("message.{}", subtype.unwrap_or_default())
            }
            _ => one_line(kind, MOST_KIND),
        };
        Self::read(&kind, event).unwrap_or_else(|lacks| Self::Unreadable { kind, lacks })
    }

    /// Reads an event of this kind, or says what is missing.
    fn read(kind: &str, event: &Value) -> Result<Self, &'static str> {
        let message = |of: &Value| Message::parse(of, chat_of(event)).map(Box::new);
        Ok(match kind {
            "message" => Self::Said(message(event)?),
            "app_mention" => Self::Mentioned(message(event)?),
            "message.message_changed" => Self::edited(event)?,
            "message.message_deleted" => Self::Deleted {
                chat: chat_of(event).ok_or("channel")?,
                ts: parsed(event, "deleted_ts").ok_or("deleted_ts")?,
            },
            "reaction_added" => Self::Reaction(Reaction::parse(event, Change::Came)?),
            "reaction_removed" => Self::Reaction(Reaction::parse(event, Change::Went)?),
            "channel_rename" | "group_rename" => {
                Self::Renamed { chat: chat_of(event).ok_or("channel")? }
            }
            "agent_session_stopped" => Self::stopped(event)?,
            "tokens_revoked" => Self::TokensRevoked,
            "app_uninstalled" => Self::AppUninstalled,
            other => Self::Unknown { kind: other.to_owned() },
        })
    }

    /// A change; that the root of a thread was deleted comes as one too, because its answers stay.
    fn edited(event: &Value) -> Result<Self, &'static str> {
        let now = event.get("message").ok_or("message")?;
        let message = Message::parse(now, chat_of(event))?;
        if message.is_gone() {
            return Ok(Self::Deleted { chat: message.chat, ts: message.ts });
        }
        let before = event.get("previous_message");
        let same = |before: &Value| {
            words::own(before) == message.text && message::files(before) == message.files
        };
        let changed = before.is_none_or(|before| !same(before));
        Ok(Self::Edited { message: Box::new(message), changed })
    }

    /// Which names the fields bear is nowhere fixed: they are looked for where other events have them.
    fn stopped(event: &Value) -> Result<Self, &'static str> {
        let inner = ["session", "agent_session", "assistant_thread", "thread"];
        let places = || inner.iter().filter_map(|key| event.get(key)).chain([event]);
        let chat =
            places().find_map(|place| chat_of(place).or_else(|| parsed(place, "channel_id")));
        Ok(Self::Stopped {
            user: parsed(event, "user").or_else(|| parsed(event, "user_id")),
            chat: chat.ok_or("channel")?,
            thread: places().find_map(|place| parsed(place, "thread_ts")),
        })
    }
}

impl Reaction {
    fn parse(event: &Value, change: Change) -> Result<Self, &'static str> {
        let item = event.get("item").ok_or("item")?;
        Ok(Self {
            change,
            user: parsed(event, "user").ok_or("user")?,
            name: word(event, "reaction").ok_or("reaction")?.to_owned(),
            chat: chat_of(item).ok_or("channel")?,
            ts: parsed(item, "ts").ok_or("ts")?,
        })
    }
}

/// The conversation that something names, by its id or as an object with one.
fn chat_of(value: &Value) -> Option<ConversationId> {
    parsed(value, "channel").or_else(|| parsed(value.get("channel")?, "id"))
}
