//! One workspace: who we are in it, how the connection stands, and what is remembered of it.

use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;
use tokio::time::sleep;

use super::api::Api;
use super::event::Me;
use super::fault::ApiError;
use super::id::ConversationId;
use super::json::parsed;
use super::limit::Haste;
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
    ours: OnceLock<Ours>,
    state: Mutex<ChannelState>,
}

/// What all workspaces have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) channel: ChannelName,
    pub(super) assistant: String,
    pub(super) clock: SharedClock,
    pub(super) pace: Pace,
}

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
    pub(super) fn new(tokens: &SlackTokens, api: Api, common: Common) -> Self {
        let Common { channel, assistant, clock, pace } = common;
        Self {
            label: tokens.name.clone().unwrap_or_default(),
            assistant,
            channel,
            api,
            clock,
            pace,
            progress: Progress::default(),
            streams: Streams::default(),
            directory: Directory::default(),
            ours: OnceLock::new(),
            state: Mutex::new(ChannelState::Connecting),
        }
    }

    /// What its pair of tokens is called, for people; empty for the nameless one.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Who we are, once Slack has said it.
    pub(super) fn ours(&self) -> Option<&Ours> {
        self.ours.get()
    }

    /// Asks Slack who we are, unless that is known.
    ///
    /// # Errors
    /// When Slack does not say it.
    pub(super) async fn identify(&self) -> Result<&Ours, ApiError> {
        if let Some(ours) = self.ours.get() {
            return Ok(ours);
        }
        let ours = Ours::parse(&self.api.read("auth.test", &[], Haste::Now).await?);
        let ours = ours.ok_or_else(|| ApiError::failed("Slack does not say who the bot is"))?;
        Ok(self.ours.get_or_init(|| ours))
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
            let error = match self.api.read(method, args, haste).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.note(&error);
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

    /// How its connection stands.
    pub(super) fn state(&self) -> ChannelState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how its connection stands now.
    pub(super) fn set_state(&self, state: ChannelState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Takes note of an answer by which Slack turns the tokens away.
    pub(super) fn note(&self, error: &ApiError) {
        if let Some(code) = error.revoked() {
            self.set_state(ChannelState::Refused { reason: code.to_owned() });
        }
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
