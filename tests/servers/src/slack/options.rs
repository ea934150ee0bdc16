//! How a server behaves, settled when it starts.

use std::collections::BTreeSet;
use std::time::Duration;

/// The workspace that a server stands for, and Slack's own limits and waits.
///
/// The waits are those that Slack documents; a test that would wait for them shortens them.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The workspace.
    pub team_id: String,
    /// The app.
    pub app_id: String,
    /// The bot as a user, whom people mention.
    pub bot_user: String,
    /// The bot as a bot, which its messages carry.
    pub bot_id: String,
    /// The only token that the Web API accepts, but for opening connections.
    pub bot_token: String,
    /// The only token that `apps.connections.open` accepts.
    pub app_token: String,
    /// What the bot's token may do; a method that needs more answers `missing_scope`.
    pub scopes: BTreeSet<String>,
    /// Whether the app is declared as an agent.
    pub is_agent: bool,
    /// The events that the app subscribed to (`app_mention`, `message.im`, …); empty, all.
    pub events: BTreeSet<String>,
    /// How long an envelope waits for its ack.
    pub ack_timeout: Duration,
    /// How long after the last attempt failed each further attempt of an event is made.
    pub retry_delays: Vec<Duration>,
    /// How often a socket is pinged.
    pub ping_interval: Duration,
    /// How many sockets one app may have.
    pub max_sockets: usize,
    /// How long the address of a socket is good for.
    pub ticket_ttl: Duration,
    /// How long a message can be streamed into; Slack closes it then, also when it is in use.
    pub stream_ttl: Duration,
    /// How many characters one streamed message takes. Slack has a limit and does not name it.
    pub stream_limit: usize,
    /// How long a status is shown that nobody renews.
    pub status_ttl: Duration,
    /// How long after `files.completeUploadExternal` the message with the file appears.
    pub share_delay: Duration,
    /// Which end `conversations.history` begins with when only `oldest` is given; Slack's own
    /// pages do not say it beyond doubt, so a client has to be right with both.
    pub history_from: HistoryFrom,
    /// Whether the documented rates of each method are enforced.
    pub limits: Limits,
    /// How long [`Slack::wait_for`](super::Slack::wait_for) waits before it fails the test.
    pub patience: Duration,
}

/// The end of a conversation that its history begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryFrom {
    /// The newest page first.
    Newest,
    /// The oldest page first, when only `oldest` is given.
    Oldest,
}

/// Whether rates are limited without being asked to by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// Only by [`Fault`](super::Fault)s.
    OnDemand,
    /// As documented: a tier for each method, and about one message a second for each channel.
    Documented,
}

/// What a bot of this kind asks for in its manifest.
const SCOPES: &[&str] = &[
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "mpim:read",
    "reactions:read",
    "reactions:write",
    "usergroups:read",
    "users:read",
];

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            team_id: "T0FAKE001".to_owned(),
            app_id: "A0FAKE001".to_owned(),
            bot_user: "U0BOT0001".to_owned(),
            bot_id: "B0BOT0001".to_owned(),
            bot_token: "xoxb-fake-1".to_owned(),
            app_token: "xapp-fake-1".to_owned(),
            scopes: SCOPES.iter().map(|&scope| scope.to_owned()).collect(),
            is_agent: true,
            events: BTreeSet::new(),
            ack_timeout: Duration::from_secs(3),
            retry_delays: [0, 60, 300].map(Duration::from_secs).to_vec(),
            ping_interval: Duration::from_secs(10),
            max_sockets: 10,
            ticket_ttl: Duration::from_secs(30),
            stream_ttl: Duration::from_secs(300),
            stream_limit: 40_000,
            status_ttl: Duration::from_secs(120),
            share_delay: Duration::from_millis(50),
            history_from: HistoryFrom::Newest,
            limits: Limits::OnDemand,
            patience: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// A workspace of another number, with ids and tokens of its own; the default is number 1.
    ///
    /// Users and channels have the same ids in each, so that a client that forgets the team is
    /// found out.
    #[must_use]
    pub fn workspace(number: u8) -> Self {
        Self {
            team_id: format!("T0FAKE{number:03}"),
            app_id: format!("A0FAKE{number:03}"),
            bot_token: format!("xoxb-fake-{number}"),
            app_token: format!("xapp-fake-{number}"),
            ..Self::default()
        }
    }

    /// An event without an ack comes again as soon as this time is over, up to so many times.
    #[must_use]
    pub fn impatient(mut self, ack_timeout: Duration, attempts: usize) -> Self {
        self.ack_timeout = ack_timeout;
        self.retry_delays = vec![Duration::ZERO; attempts];
        self
    }
}
