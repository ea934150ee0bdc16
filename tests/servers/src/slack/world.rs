//! What a workspace holds: people, conversations, files, sockets, and all that the server saw.
//!
//! It is changed under one lock, without waiting. What has to happen later (an ack that may not
//! come, a file that appears) is left in a list, which the caller takes and runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::delivery::Deliveries;
use super::fault::Faults;
use super::files::File;
use super::grant::Grants;
use super::json::Fields as _;
use super::later::Later;
use super::limit::Windows;
use super::log::Log;
use super::message::Message;
use super::options::Options;
use super::people::{Conversation, User, seed};
use super::sockets::Sockets;
use super::stream::Stream;

/// The state of a workspace, for tests to look at.
#[derive(Debug)]
pub struct World {
    pub(super) options: Arc<Options>,
    /// The server's own address, without a slash at the end.
    pub(super) base: String,
    last_ts: u64,
    last_id: u64,
    pub(super) users: BTreeMap<String, User>,
    pub(super) usergroups: Vec<Value>,
    pub(super) conversations: BTreeMap<String, Conversation>,
    pub(super) files: BTreeMap<String, File>,
    pub(super) streams: HashMap<(String, String), Stream>,
    pub(super) views: BTreeMap<String, Value>,
    /// What agents say of their work, by conversation and thread.
    pub(super) sessions: HashMap<(String, String), String>,
    pub(super) grants: Grants,
    pub(super) sockets: Sockets,
    pub(super) deliveries: Deliveries,
    pub(super) faults: Faults,
    pub(super) windows: Windows,
    /// What both tokens are answered with since they were revoked.
    pub(super) revoked: Option<String>,
    pub(super) calls: Log<Call>,
    /// How often each method was called.
    pub(super) counts: BTreeMap<String, usize>,
    pub(super) statuses: Log<Status>,
    pub(super) ephemerals: Log<Ephemeral>,
    /// How many calls and sockets came to hang.
    pub(super) hung: usize,
    pub(super) later: Vec<Later>,
}

/// One call of the Web API, an upload or a download.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method, or [`UPLOAD`](super::UPLOAD), [`DOWNLOAD`](super::DOWNLOAD),
    /// [`RESPONSE_URL`](super::RESPONSE_URL).
    pub method: String,
    /// The arguments, wherever they stood.
    pub args: Value,
    /// The `content-type` of the request.
    pub content_type: String,
    /// The `user-agent` of the request.
    pub user_agent: String,
    /// The HTTP status of the answer; 0 when the connection was closed instead.
    pub status: u16,
    /// The error code of the answer.
    pub error: Option<String>,
    /// Whether it was carried out, answered or not.
    pub carried_out: bool,
    /// When it was answered.
    pub at: Instant,
}

/// A status under a thread, set or cleared.
#[derive(Debug, Clone)]
pub struct Status {
    /// The conversation.
    pub channel: String,
    /// The thread.
    pub thread_ts: String,
    /// What is shown; empty: nothing any more.
    pub text: String,
    /// What is shown by turns in its place.
    pub loading_messages: Vec<String>,
    /// Whether a message of the bot cleared it, and no call.
    pub by_reply: bool,
    /// When.
    pub at: Instant,
}

/// A message that only one person sees, and that no history has.
#[derive(Debug, Clone)]
pub struct Ephemeral {
    /// The conversation.
    pub channel: String,
    /// Who sees it.
    pub user: String,
    /// What.
    pub message: Message,
}

impl Call {
    fn line(&self) -> String {
        format!("{} {} {:?} {}", self.method, self.status, self.error, self.args)
    }
}

impl World {
    /// A workspace as it is when the server starts.
    pub(super) fn new(options: Arc<Options>, base: String) -> Self {
        let (users, conversations) = seed(&options);
        Self {
            base,
            last_ts: 0,
            last_id: 0,
            users: users.into_iter().map(|user| (user.id().to_owned(), user)).collect(),
            usergroups: Vec::new(),
            conversations: conversations.into_iter().map(|c| (c.id().to_owned(), c)).collect(),
            files: BTreeMap::new(),
            streams: HashMap::new(),
            views: BTreeMap::new(),
            sessions: HashMap::new(),
            grants: Grants::default(),
            sockets: Sockets::default(),
            deliveries: Deliveries::default(),
            faults: Faults::default(),
            windows: Windows::default(),
            revoked: None,
            calls: Log::default(),
            counts: BTreeMap::new(),
            statuses: Log::default(),
            ephemerals: Log::default(),
            hung: 0,
            later: Vec::new(),
            options,
        }
    }

    /// A conversation.
    #[must_use]
    pub fn conversation(&self, channel: &str) -> Option<&Conversation> {
        self.conversations.get(channel)
    }

    /// All messages of a conversation, oldest first, answers in threads among them.
    #[must_use]
    pub fn messages(&self, channel: &str) -> &[Message] {
        self.conversation(channel).map(Conversation::messages).unwrap_or_default()
    }

    /// A message.
    #[must_use]
    pub fn message(&self, channel: &str, ts: &str) -> Option<&Message> {
        self.conversation(channel)?.message(ts)
    }

    /// A thread, its root first.
    #[must_use]
    pub fn thread(&self, channel: &str, root: &str) -> Vec<&Message> {
        let belongs =
            |message: &&Message| message.ts() == root || message.thread_ts() == Some(root);
        self.messages(channel).iter().filter(belongs).collect()
    }

    /// What the bot said in a conversation, in threads or not.
    #[must_use]
    pub fn said(&self, channel: &str) -> Vec<&Message> {
        self.messages(channel).iter().filter(|message| self.is_ours(message)).collect()
    }

    /// What the bot answered in a thread.
    #[must_use]
    pub fn answers(&self, channel: &str, root: &str) -> Vec<&Message> {
        let thread = self.thread(channel, root).into_iter();
        thread.filter(|message| message.ts() != root && self.is_ours(message)).collect()
    }

    /// The calls of a method, oldest first.
    #[must_use]
    pub fn calls(&self, method: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.method == method).collect()
    }

    /// The calls of all methods, oldest first.
    #[must_use]
    pub fn all_calls(&self) -> &Log<Call> {
        &self.calls
    }

    /// How often a method was called, refused calls included.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        self.counts.get(method).copied().unwrap_or(0)
    }

    /// What is shown under a thread now; empty: nothing.
    #[must_use]
    pub fn status(&self, channel: &str, thread_ts: &str) -> &str {
        let mut newest = self.statuses.iter().rev();
        let shown = newest.find(|s| s.channel == channel && s.thread_ts == thread_ts);
        let shown = shown.filter(|status| status.at.elapsed() < self.options.status_ttl);
        shown.map(|status| status.text.as_str()).unwrap_or_default()
    }

    /// How the agent's session in a thread stands: `processing`, `active`, …; empty: there is none.
    #[must_use]
    pub fn session(&self, channel: &str, thread_ts: &str) -> &str {
        let place = (channel.to_owned(), thread_ts.to_owned());
        self.sessions.get(&place).map(String::as_str).unwrap_or_default()
    }

    /// Every status that was set or cleared, oldest first.
    #[must_use]
    pub fn statuses(&self) -> &Log<Status> {
        &self.statuses
    }

    /// The messages that only one person saw, oldest first.
    #[must_use]
    pub fn ephemerals(&self) -> &Log<Ephemeral> {
        &self.ephemerals
    }

    /// The files, whoever uploaded them, by id.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    /// The views that are open or published, by id.
    pub fn views(&self) -> impl Iterator<Item = &Value> {
        self.views.values()
    }

    /// How many calls and sockets have come to hang so far, released or not.
    #[must_use]
    pub fn hung(&self) -> usize {
        self.hung
    }

    /// What a test says that waited in vain.
    pub(super) fn summary(&self) -> String {
        let newest: Vec<String> = self.calls.iter().rev().take(10).map(Call::line).collect();
        format!(
            "{} of {} sockets open, {} of {} deliveries acked, {} hung, calls {:?}, newest:\n{}",
            self.sockets(),
            self.sockets_opened(),
            self.acked(),
            self.deliveries().total(),
            self.hung,
            self.counts,
            newest.join("\n")
        )
    }

    /// Whether the bot wrote this.
    pub(super) fn is_ours(&self, message: &Message) -> bool {
        message.json().at("bot_id") == self.options.bot_id.as_str()
    }

    /// Whether the bot is in this conversation.
    pub(super) fn bot_is_in(&self, channel: &str) -> bool {
        let conversation = self.conversation(channel);
        conversation.is_some_and(|c| c.members.contains(&self.options.bot_user))
    }

    /// A number that nothing else here has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A ts that is later than every other, and the time of day unless that many were given out.
    pub(super) fn next_ts(&mut self) -> String {
        let now = u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX);
        self.last_ts = now.max(self.last_ts + 1);
        format!("{}.{:06}", self.last_ts / 1_000_000, self.last_ts % 1_000_000)
    }

    /// Keeps a call.
    pub(super) fn record(&mut self, call: Call) {
        *self.counts.entry(call.method.clone()).or_default() += 1;
        self.calls.push(call);
    }
}

/// The time of day: Slack's timestamps are wall-clock times.
pub(super) fn since_1970() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}
