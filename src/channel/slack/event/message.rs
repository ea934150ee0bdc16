//! A message, as events, histories and threads carry it.

use serde_json::Value;

use super::words;
use crate::channel::slack::id::{BotId, ConversationId, Ts, UserId};
use crate::channel::slack::json::{is_true, list, parsed, scalar, word};
use crate::model::OutboxId;

/// The type of the metadata that our own messages carry; its payload is `{"outbox": "<id>"}`.
pub(crate) const METADATA_TYPE: &str = "hermitcrab";

/// Slack's own bot, which its record calls a person.
const SLACKBOT: &str = "USLACKBOT";
/// The most files of one message that are looked at.
const MOST_FILES: usize = 100;

/// What Slack itself says in a conversation in somebody's name: `<@U1> has joined the channel`.
const PLATFORM: &[&str] = &[
    "assistant_app_thread",
    "bot_add",
    "bot_disable",
    "bot_enable",
    "bot_remove",
    "channel_archive",
    "channel_canvas_updated",
    "channel_convert_to_private",
    "channel_convert_to_public",
    "channel_join",
    "channel_leave",
    "channel_name",
    "channel_posting_permissions",
    "channel_purpose",
    "channel_topic",
    "channel_unarchive",
    "ekm_access_denied",
    "group_archive",
    "group_join",
    "group_leave",
    "group_name",
    "group_purpose",
    "group_topic",
    "group_unarchive",
    "huddle_thread",
    "pinned_item",
    "reminder_add",
    "tombstone",
    "unpinned_item",
];

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// Where it was said.
    pub(crate) chat: ConversationId,
    /// What kind of conversation that is, where it can be told.
    pub(crate) chat_kind: Option<ChatKind>,
    /// Its name there.
    pub(crate) ts: Ts,
    /// The thread that it belongs to; its own name when it is the root of one.
    pub(crate) thread: Option<Ts>,
    /// Who wrote it.
    pub(crate) author: Author,
    /// What kind it is, in Slack's words, when it is not a plain one: `file_share`, `thread_broadcast`, ….
    pub(crate) subtype: Option<String>,
    /// What was said, in Slack's markup; [`Reader`](crate::channel::slack::text::Reader) makes it readable.
    pub(crate) text: String,
    /// What stands in its blocks where the text says something else: there the bot may be mentioned, too.
    pub(crate) in_blocks: String,
    /// What others said, passed on with it, in Slack's markup.
    pub(crate) forwarded: Vec<String>,
    /// The files that came with it.
    pub(crate) files: Vec<File>,
    /// When it was last edited.
    pub(crate) edited: Option<Ts>,
    /// When somebody last answered in the thread below it, if it is the root of one.
    pub(crate) latest_reply: Option<Ts>,
    /// The row of the outbox that it came from. Another app could have written that: it counts on our own only.
    pub(crate) outbox: Option<OutboxId>,
}

/// The kind of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChatKind {
    /// A channel that all can see.
    Public,
    /// A channel that only its members see.
    Private,
    /// Direct messages of two.
    Direct,
    /// Direct messages of several.
    GroupDirect,
}

/// Who wrote a message, as far as it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Author {
    /// The user.
    pub(crate) user: Option<UserId>,
    /// The bot.
    pub(crate) bot: Option<BotId>,
}

/// Who we are in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Me {
    /// As a user, whom people mention.
    pub(crate) user: UserId,
    /// As a bot, where Slack says it.
    pub(crate) bot: Option<BotId>,
}

/// What kind of author a message has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// We.
    Me,
    /// A person.
    Person(UserId),
    /// Another program, or somebody of whom nothing is said.
    Bot,
    /// Slack itself.
    Platform,
}

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its id, where it has one.
    pub(crate) id: Option<String>,
    /// Its name as its owner gave it: data, not to be used as a path.
    pub(crate) name: String,
    /// Its media type.
    pub(crate) kind: Option<String>,
    /// Its size.
    pub(crate) bytes: Option<u64>,
    /// Where it can be had.
    pub(crate) source: FileSource,
    /// What is said in it, where Slack has written down a recording.
    pub(crate) transcript: Option<String>,
}

/// Where a file can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileSource {
    /// From Slack, with the bot's token.
    Url(String),
    /// Slack does not say it here (shared conversations): `files.info` does.
    AskFor,
    /// It lies with somebody else, and our token is none of their business.
    External(String),
    /// Nowhere: it was deleted, or is hidden by a plan's limit.
    Gone,
}

impl Message {
    /// Reads a message; histories and threads do not say the conversation, so it comes from outside.
    ///
    /// # Errors
    /// Names the part without which nothing can be done with it.
    pub(crate) fn parse(
        message: &Value,
        chat: Option<ConversationId>,
    ) -> Result<Self, &'static str> {
        let chat = chat.or_else(|| super::chat_of(message)).ok_or("channel")?;
        let subtype = word(message, "subtype").map(str::to_owned);
        Ok(Self {
            chat_kind: ChatKind::of(message, &chat),
            chat,
            ts: parsed(message, "ts").ok_or("ts")?,
            thread: parsed(message, "thread_ts"),
            author: Author::parse(message),
            subtype,
            text: words::own(message),
            in_blocks: words::in_blocks(message),
            forwarded: words::forwarded(message),
            files: files(message),
            edited: message.get("edited").and_then(|edited| parsed(edited, "ts")),
            latest_reply: parsed(message, "latest_reply"),
            outbox: outbox(message),
        })
    }

    /// Whether it is an answer in a thread, and not the root of one.
    pub(crate) fn is_reply(&self) -> bool {
        self.thread.is_some_and(|root| root != self.ts)
    }

    /// Whether it was deleted, and stands there for the answers below it only.
    pub(crate) fn is_gone(&self) -> bool {
        self.subtype.as_deref() == Some("tombstone")
    }

    /// Who speaks. Where nothing is said of the author it is no person: nobody is answered by mistake.
    pub(crate) fn speaker(&self, me: &Me) -> Speaker {
        let Author { user, bot, .. } = &self.author;
        let subtype = self.subtype.as_deref().unwrap_or_default();
        if user.as_ref() == Some(&me.user) || bot.is_some() && *bot == me.bot {
            return Speaker::Me;
        }
        if PLATFORM.contains(&subtype) {
            return Speaker::Platform;
        }
        match user {
            Some(user)
                if bot.is_none() && subtype != "bot_message" && user.as_str() != SLACKBOT =>
            {
                Speaker::Person(user.clone())
            }
            _ => Speaker::Bot,
        }
    }
}

impl ChatKind {
    /// Mentions do not say it; the id does for direct messages.
    fn of(message: &Value, chat: &ConversationId) -> Option<Self> {
        match word(message, "channel_type") {
            Some("channel" | "C") => Some(Self::Public),
            Some("group" | "G") => Some(Self::Private),
            Some("im" | "D") => Some(Self::Direct),
            Some("mpim") => Some(Self::GroupDirect),
            _ if chat.as_str().starts_with('D') => Some(Self::Direct),
            _ => None,
        }
    }
}

impl Author {
    fn parse(message: &Value) -> Self {
        Self { user: parsed(message, "user"), bot: parsed(message, "bot_id") }
    }
}

impl File {
    fn parse(file: &Value) -> Option<Self> {
        if !file.is_object() {
            return None;
        }
        let name = word(file, "name").or_else(|| word(file, "title"));
        let transcript = || word(file.get("transcription")?.get("preview")?, "content");
        Some(Self {
            id: word(file, "id").map(str::to_owned),
            name: name.unwrap_or("file").to_owned(),
            kind: word(file, "mimetype").map(str::to_owned),
            bytes: file.get("size").and_then(Value::as_u64),
            source: FileSource::parse(file),
            transcript: transcript().map(str::to_owned),
        })
    }
}

impl FileSource {
    /// An address for downloads stays with Slack; the other may lead to another host.
    fn parse(file: &Value) -> Self {
        let url = word(file, "url_private_download").or_else(|| word(file, "url_private"));
        let mode = word(file, "mode").unwrap_or_default();
        let access = word(file, "file_access").unwrap_or_default();
        match url {
            _ if matches!(mode, "tombstone" | "hidden_by_limit") => Self::Gone,
            _ if matches!(access, "file_not_found" | "access_denied") => Self::Gone,
            Some(url) if mode == "external" || is_true(file, "is_external") => {
                Self::External(url.to_owned())
            }
            Some(url) if access != "check_file_info" => Self::Url(url.to_owned()),
            _ if word(file, "id").is_some() => Self::AskFor,
            _ => Self::Gone,
        }
    }
}

/// The files of a message; in very old ones it is one.
pub(super) fn files(message: &Value) -> Vec<File> {
    let single = message.get("file");
    list(message, "files").chain(single).filter_map(File::parse).take(MOST_FILES).collect()
}

/// The row of the outbox that the metadata names.
fn outbox(message: &Value) -> Option<OutboxId> {
    let metadata = message.get("metadata")?;
    if word(metadata, "event_type") != Some(METADATA_TYPE) {
        return None;
    }
    let id = scalar(metadata.get("event_payload")?.get("outbox")?)?;
    id.parse().ok().map(OutboxId)
}
