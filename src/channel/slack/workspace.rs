//! One workspace: who we are in it, how the connection stands, and what is remembered of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::warn;

use super::api::Api;
use super::download::Downloads;
use super::event::Me;
use super::fault::ApiError;
use super::id::{ConversationId, TeamId};
use super::json::parsed;
use super::limit::Haste;
use super::lock::lock;
use super::names::Directory;
use super::pace::Pace;
use super::people::Home;
use super::progress::Progress;
use super::stream::Streams;
use crate::channel::ChannelState;
use crate::clock::SharedClock;
use crate::config::SlackTokens;
use crate::model::{ChannelName, ChatId};

/// How often something is asked that nobody answers, or that Slack wants to be asked later.
const ATTEMPTS: u32 = 5;

/// A workspace that we take part in.
pub(super) struct Workspace {
    label: String,
    /// What the assistant is called here.
    pub(super) assistant: String,
    /// The channel that its chats are on.
    pub(super) channel: ChannelName,
    /// Its Web API.
    pub(super) api: Api,
    /// Its files.
    pub(super) downloads: Downloads,
    /// The time.
    pub(super) clock: SharedClock,
    /// How long everything takes.
    pub(super) pace: Pace,
    /// What people see of the work.
    pub(super) progress: Progress,
    /// The answers that grow.
    pub(super) streams: Streams,
    /// Who people are.
    pub(super) directory: Directory,
    taken: Taken,
    ours: OnceLock<Ours>,
    standing: Mutex<Standing>,
    /// Told when Slack turns the bot's token away.
    pub(super) turned_away: Notify,
}

/// How a workspace stands.
struct Standing {
    /// The connection.
    link: ChannelState,
    /// Slack's word by which it turns the bot's token away, whatever the connection does.
    refused: Option<String>,
    /// Why Slack does not say who anybody is, while it does not let the app ask: then all count as from outside.
    blind: Option<String>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { link: ChannelState::Connecting, refused: None, blind: None }
    }
}

/// What all workspaces have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) channel: ChannelName,
    pub(super) assistant: String,
    pub(super) clock: SharedClock,
    pub(super) pace: Pace,
    pub(super) taken: Taken,
}

/// The workspaces that somebody takes part in, each with the name of the tokens. Who holds it asks Slack alone, so that of
/// two pairs for one workspace it is the first that is let in.
pub(super) type Taken = Arc<tokio::sync::Mutex<HashMap<TeamId, String>>>;

/// Who we are, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ours {
    /// The workspace.
    pub(super) home: Home,
    /// The bot.
    pub(super) me: Me,
}

impl Workspace {
    /// A workspace that is not connected yet.
    pub(super) fn new(
        tokens: &SlackTokens,
        api: Api,
        downloads: Downloads,
        common: Common,
    ) -> Self {
        let Common { channel, assistant, clock, pace, taken } = common;
        Self {
            label: tokens.name.clone().unwrap_or_else(|| "the first workspace".to_owned()),
            assistant,
            channel,
            api,
            downloads,
            clock,
            pace,
            progress: Progress::default(),
            streams: Streams::default(),
            directory: Directory::default(),
            ours: OnceLock::new(),
            taken,
            standing: Mutex::new(Standing::default()),
            turned_away: Notify::new(),
        }
    }

    /// What its pair of tokens is called, for people.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Who we are, once Slack has said it.
    pub(super) fn ours(&self) -> Option<&Ours> {
        self.ours.get()
    }

    /// Asks Slack who we are; with that it also says whether the bot's token is good.
    ///
    /// # Errors
    /// When Slack does not say it.
    pub(super) async fn identify(&self) -> Result<Ours, ApiError> {
        let answer = self.ask_once("auth.test", &[]).await?;
        lock(&self.standing).refused = None;
        Ours::parse(&answer).ok_or_else(|| ApiError::failed("Slack does not say who the bot is"))
    }

    /// Takes part in the workspace that the tokens are for, unless another pair does: the two would fight for the same
    /// chats.
    ///
    /// # Errors
    /// When Slack does not say which it is; the inner one says who takes part in it.
    pub(super) async fn take_part(&self) -> Result<Result<(), String>, ApiError> {
        let mut taken = self.taken.lock().await;
        let ours = self.identify().await?;
        let owner = taken.entry(ours.home.team.clone()).or_insert_with(|| self.label.clone());
        if *owner != self.label {
            return Ok(Err(format!("its tokens are for the same workspace as those of {owner}")));
        }
        self.ours.get_or_init(|| ours);
        Ok(Ok(()))
    }

    /// Asks Slack something, and again when there is no answer or Slack wants to be asked later.
    ///
    /// # Errors
    /// When it is refused, or there is no answer after several attempts.
    pub(super) async fn ask(
        &self,
        method: &'static str,
        args: &[(&str, &str)],
    ) -> Result<Value, ApiError> {
        self.ask_with(method, args, Haste::Now).await
    }

    /// The same for who says how soon the answer is wanted.
    ///
    /// # Errors
    /// When it is refused, or there is no answer after several attempts.
    pub(super) async fn ask_with(
        &self,
        method: &'static str,
        args: &[(&str, &str)],
        haste: Haste,
    ) -> Result<Value, ApiError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let asked = self.api.read(method, args, haste).await;
            let error = match asked.inspect_err(|error| self.note(error)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            sleep(match &error {
                ApiError::Refused { .. } => return Err(error),
                ApiError::Limited { after } => *after,
                ApiError::Failed { .. } => self.pace.wait(attempt),
            })
            .await;
        }
    }

    /// Asks Slack something, once.
    ///
    /// # Errors
    /// When it is refused, or there is no answer.
    pub(super) async fn ask_once(
        &self,
        method: &'static str,
        args: &[(&str, &str)],
    ) -> Result<Value, ApiError> {
        self.api.read(method, args, Haste::Now).await.inspect_err(|error| self.note(error))
    }

    /// How it stands: a connection without a token that is good is of no use.
    pub(super) fn state(&self) -> ChannelState {
        let standing = lock(&self.standing);
        match (&standing.refused, &standing.blind, &standing.link) {
            (Some(reason), ..) => ChannelState::Refused { reason: reason.clone() },
            (None, Some(reason), ChannelState::Up { since }) => {
                ChannelState::Partly { since: *since, reason: reason.clone() }
            }
            (None, _, link) => link.clone(),
        }
    }

    /// Says how its connection stands now.
    pub(super) fn set_link(&self, link: ChannelState) {
        lock(&self.standing).link = link;
    }

    /// Says that Slack does not let the app ask who people are, or that it does.
    pub(super) fn set_blind(&self, error: Option<&ApiError>) {
        let blind = match error {
            Some(ApiError::Refused { code }) => {
                Some(format!("{code}, so everybody counts as a stranger"))
            }
            _ => None,
        };
        lock(&self.standing).blind = blind;
    }

    /// Takes note of an answer by which Slack turns the bot's token away.
    pub(super) fn note(&self, error: &ApiError) {
        if let Some(code) = error.revoked() {
            let before = lock(&self.standing).refused.replace(code.to_owned());
            if before.is_none() {
                let workspace = self.label();
                warn!(
                    channel.name = "slack",
                    workspace,
                    reason = code,
                    "Slack turns the bot's token away"
                );
            }
            self.turned_away.notify_one();
        }
    }

    /// Whether Slack turns the bot's token away.
    pub(super) fn is_turned_away(&self) -> bool {
        lock(&self.standing).refused.is_some()
    }

    /// The chat that a Slack channel of this workspace is; `None` as long as it is not known which workspace it is.
    pub(super) fn chat(&self, channel: &ConversationId) -> Option<ChatId> {
        let team = &self.ours()?.home.team;
        ChatId::new(self.channel.clone(), &format!("{team}/{channel}")).ok()
    }

    /// The Slack channel that a chat of this workspace is.
    pub(super) fn channel_of(&self, chat: &ChatId) -> Option<ConversationId> {
        let (team, channel) = parts(chat)?;
        let ours = self.ours()?.home.team.as_str() == team && *chat.channel() == self.channel;
        ours.then(|| channel.parse().ok()).flatten()
    }
}

impl Ours {
    /// Reads the answer of `auth.test`.
    fn parse(answer: &Value) -> Option<Self> {
        Some(Self {
            home: Home {
                team: parsed(answer, "team_id")?,
                enterprise: parsed(answer, "enterprise_id"),
            },
            me: Me { user: parsed(answer, "user_id")?, bot: parsed(answer, "bot_id") },
        })
    }
}

/// The workspace and the Slack channel that a chat's name consists of.
pub(super) fn parts(chat: &ChatId) -> Option<(&str, &str)> {
    chat.local().split_once('/')
}
