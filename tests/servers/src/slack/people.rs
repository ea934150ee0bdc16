//! Who is in the workspace, and where they talk.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::json::Fields as _;
use super::message::Message;
use super::options::Options;

/// The person who speaks unless a test says otherwise.
pub const ALICE: &str = "U0ALICE01";
/// Another member of the workspace.
pub const BOB: &str = "U0BOB0001";
/// A public channel with everybody in it.
pub const GENERAL: &str = "C0GENERAL";
/// A private channel with everybody in it.
pub const PRIVATE: &str = "C0PRIVATE";
/// The direct messages between [`ALICE`] and the bot.
pub const DM: &str = "D0ALICE01";
/// A direct message of three: [`ALICE`], [`BOB`] and the bot.
pub const GROUP_DM: &str = "G0MPIM001";
/// A public channel that the bot is not in.
pub const ELSEWHERE: &str = "C0NOTIN01";

/// A user, as `users.info` writes one.
#[derive(Debug, Clone)]
pub struct User {
    id: String,
    name: String,
    /// `None`: of this workspace.
    team_id: Option<String>,
    flags: BTreeSet<&'static str>,
}

impl User {
    /// A full member of this workspace.
    #[must_use]
    pub fn new(id: &str, name: &str) -> Self {
        Self { id: id.to_owned(), name: name.to_owned(), team_id: None, flags: BTreeSet::new() }
    }

    /// A bot.
    #[must_use]
    pub fn bot(self) -> Self {
        self.flag("is_bot")
    }

    /// A guest in several channels.
    #[must_use]
    pub fn guest(self) -> Self {
        self.flag("is_restricted")
    }

    /// A guest in one channel, which Slack marks as both kinds.
    #[must_use]
    pub fn single_channel_guest(self) -> Self {
        self.flag("is_restricted").flag("is_ultra_restricted")
    }

    /// Somebody of another workspace whom the bot shares a channel with.
    #[must_use]
    pub fn stranger(mut self, team_id: &str) -> Self {
        self.team_id = Some(team_id.to_owned());
        self.flag("is_stranger")
    }

    /// Somebody whose account was closed.
    #[must_use]
    pub fn deleted(self) -> Self {
        self.flag("deleted")
    }

    fn flag(mut self, flag: &'static str) -> Self {
        self.flags.insert(flag);
        self
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name without which no mention is readable.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The workspace that the user belongs to.
    pub(super) fn team<'a>(&'a self, options: &'a Options) -> &'a str {
        self.team_id.as_deref().unwrap_or(&options.team_id)
    }

    /// The user as `users.info` answers.
    pub(super) fn json(&self, options: &Options) -> Value {
        let (name, team) = (&self.name, self.team(options));
        let mut json = json!({
            "id": self.id, "team_id": team, "name": name, "real_name": name,
            "tz": "Europe/Berlin", "tz_label": "Central European Time", "tz_offset": 3600,
            "profile": {
                "real_name": name, "display_name": name, "team": team,
                "real_name_normalized": name, "display_name_normalized": name,
                "image_72": "https://example.com/a.png", "email": format!("{name}@example.com"),
            },
            "updated": 1_700_000_000,
        });
        for flag in [
            "deleted",
            "is_admin",
            "is_owner",
            "is_bot",
            "is_app_user",
            "is_restricted",
            "is_ultra_restricted",
        ] {
            json.put(flag, self.flags.contains(flag));
        }
        // Slack leaves this one out for members.
        if self.flags.contains("is_stranger") {
            json.put("is_stranger", true);
        }
        json
    }
}

/// What kind of conversation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A channel that all can see.
    Public,
    /// A channel that only its members see.
    Private,
    /// Direct messages of two.
    Im,
    /// Direct messages of several.
    Mpim,
}

impl Kind {
    /// The word in `channel_type` of an event.
    pub(super) fn event_word(self) -> &'static str {
        match self {
            Self::Public => "channel",
            Self::Private => "group",
            Self::Im => "im",
            Self::Mpim => "mpim",
        }
    }

    /// The word in `types` of `conversations.list`.
    pub(super) fn list_word(self) -> &'static str {
        match self {
            Self::Public => "public_channel",
            Self::Private => "private_channel",
            Self::Im => "im",
            Self::Mpim => "mpim",
        }
    }

    /// The word before the colon of a scope, and after the full stop of a subscription.
    pub(super) fn scope_word(self) -> &'static str {
        match self {
            Self::Public => "channels",
            Self::Private => "groups",
            Self::Im => "im",
            Self::Mpim => "mpim",
        }
    }

    /// All, as they stand in `types`.
    pub(super) fn from_list_word(word: &str) -> Option<Self> {
        [Self::Public, Self::Private, Self::Im, Self::Mpim]
            .into_iter()
            .find(|kind| kind.list_word() == word)
    }
}

/// A conversation with its members and all that was said, oldest first.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) members: BTreeSet<String>,
    pub(super) fields: Map<String, Value>,
    /// Ascending by ts, answers in threads among them. Without a bound, as Slack is: a workspace
    /// lives as long as its test.
    pub(super) messages: Vec<Message>,
}

impl Conversation {
    /// A conversation with these members.
    #[must_use]
    pub fn new(id: &str, kind: Kind, name: &str, members: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            kind,
            name: name.to_owned(),
            members: members.iter().map(|&member| member.to_owned()).collect(),
            fields: Map::new(),
            messages: Vec::new(),
        }
    }

    /// Adds to what `conversations.info` says, or replaces it: `is_ext_shared`, `is_archived`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// All that was said, oldest first.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Whether it was archived.
    pub(super) fn is_archived(&self) -> bool {
        self.fields.get("is_archived") == Some(&Value::Bool(true))
    }

    /// The message of this ts.
    #[must_use]
    pub fn message(&self, ts: &str) -> Option<&Message> {
        self.messages.get(self.position(ts)?)
    }

    /// The message of this ts, to change it.
    pub(super) fn message_mut(&mut self, ts: &str) -> Option<&mut Message> {
        let at = self.position(ts)?;
        self.messages.get_mut(at)
    }

    /// Where the message of this ts stands. A ts has a fixed width, so text orders as time does.
    pub(super) fn position(&self, ts: &str) -> Option<usize> {
        self.messages.binary_search_by(|message| message.ts().cmp(ts)).ok()
    }

    /// Who the direct messages with the bot are with.
    pub(super) fn other(&self, bot_user: &str) -> Option<&str> {
        let is_im = self.kind == Kind::Im;
        self.members.iter().map(String::as_str).find(|member| is_im && *member != bot_user)
    }

    /// The conversation as `conversations.info` answers.
    pub(super) fn json(&self, options: &Options) -> Value {
        let kind = self.kind;
        let mut json = json!({
            "id": self.id, "created": 1_700_000_000, "creator": ALICE, "is_archived": false,
            "is_channel": kind == Kind::Public || kind == Kind::Private, "is_group": false,
            "is_im": kind == Kind::Im, "is_mpim": kind == Kind::Mpim,
            "is_private": kind != Kind::Public, "is_general": self.id == GENERAL,
            "is_shared": false, "is_ext_shared": false, "is_org_shared": false,
            "is_member": self.members.contains(&options.bot_user),
            "context_team_id": options.team_id, "num_members": self.members.len(),
        });
        match self.other(&options.bot_user) {
            Some(user) => json.put("user", user),
            None => {
                json.put("name", self.name.as_str());
                json.put("name_normalized", self.name.as_str());
                json.put("topic", json!({ "value": "", "creator": "", "last_set": 0 }));
                json.put("purpose", json!({ "value": "", "creator": "", "last_set": 0 }));
            }
        }
        for (key, value) in &self.fields {
            json.put(key, value.clone());
        }
        json
    }
}

/// The people and conversations that every server begins with.
pub(super) fn seed(options: &Options) -> (Vec<User>, Vec<Conversation>) {
    let bot = options.bot_user.as_str();
    let users =
        vec![User::new(ALICE, "alice"), User::new(BOB, "bob"), User::new(bot, "gatewaybot").bot()];
    let mpim = "mpdm-alice--bob--gatewaybot-1";
    let conversations = vec![
        Conversation::new(GENERAL, Kind::Public, "general", &[ALICE, BOB, bot]),
        Conversation::new(PRIVATE, Kind::Private, "secret", &[ALICE, BOB, bot]),
        Conversation::new(DM, Kind::Im, "", &[ALICE, bot]),
        Conversation::new(GROUP_DM, Kind::Mpim, mpim, &[ALICE, BOB, bot]),
        Conversation::new(ELSEWHERE, Kind::Public, "elsewhere", &[ALICE, BOB]),
    ];
    (users, conversations)
}
