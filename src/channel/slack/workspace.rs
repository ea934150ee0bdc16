//! One workspace: who we are in it, how the connection stands, and what is under way there.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::channel::ChannelState;
use crate::clock::SharedClock;
use crate::config::SlackTokens;
use crate::model::{ChannelName, ChatId};

use super::api::{Api, Identity};
use super::fault::ApiError;
use super::pace::Pace;
use super::progress::Progress;

/// A workspace that we take part in.
pub(super) struct Workspace {
    label: Option<String>,
    /// What the assistant is called here.
    pub(super) assistant: String,
    pub(super) channel: ChannelName,
    pub(super) api: Api,
    pub(super) clock: SharedClock,
    pub(super) pace: Pace,
    pub(super) progress: Progress,
    identity: OnceLock<Identity>,
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

impl Workspace {
    /// A workspace that is not connected yet.
    pub(super) fn new(tokens: &SlackTokens, api: Api, common: Common) -> Self {
        let Common { channel, assistant, clock, pace } = common;
        Self {
            label: tokens.name.clone(),
            assistant,
            channel,
            api,
            clock,
            pace,
            progress: Progress::default(),
            identity: OnceLock::new(),
            state: Mutex::new(ChannelState::Connecting),
        }
    }

    /// What its pair of tokens is called, for people; empty where there is only one.
    pub(super) fn label(&self) -> &str {
        self.label.as_deref().unwrap_or_default()
    }

    /// Who we are, once Slack has said it.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// Asks Slack who we are, unless that is known.
    ///
    /// # Errors
    /// When Slack does not say it.
    pub(super) async fn identify(&self) -> Result<&Identity, ApiError> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity);
        }
        let identity = self.api.identity().await?;
        Ok(self.identity.get_or_init(|| identity))
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
        if let Some(code) = error.fatal() {
            self.set_state(ChannelState::Refused { reason: code.to_owned() });
        }
    }

    /// The chat that a Slack channel of this workspace is; `None` when its name is none, or ours is not known.
    pub(super) fn chat(&self, channel: &str) -> Option<ChatId> {
        let team = &self.identity()?.team;
        ChatId::new(self.channel.clone(), &format!("{team}/{channel}")).ok()
    }
}

/// The workspace and the Slack channel that a chat's name consists of.
pub(super) fn parts(chat: &ChatId) -> Option<(&str, &str)> {
    chat.local().split_once('/')
}
