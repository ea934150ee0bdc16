//! Slack, over Socket Mode: no public address, one workspace or several.
//!
//! What people say is kept before Slack is told that we have it. What we say carries the id of its row in the
//! outbox, so that a doubtful message can be looked for before it is said again. A workspace whose tokens are no
//! good, or that is away, is nobody else's trouble.

mod api;
mod beginning;
mod cache;
mod catch_up;
pub(crate) mod check;
mod download;
pub(crate) mod event;
mod fault;
pub(crate) mod id;
mod intake;
mod json;
mod limit;
mod lock;
pub(crate) mod manifest;
mod names;
mod pace;
mod people;
mod progress;
mod react;
pub(crate) mod scopes;
mod send;
mod socket;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod upload;
mod workspace;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use rustls::ClientConfig;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::download::Downloads;
use self::id::ConversationId;
use self::intake::Inlet;
pub use self::pace::Pace;
use self::send::Address;
use self::workspace::{Common, Workspace};
use super::{Channel, ChannelState, Intake, NotKept, Parcel, SendError};
use crate::clock::SharedClock;
use crate::config::SlackSettings;
use crate::model::{Activity, ChannelName, ChatId, Conversation, MessageId, Receipt};

/// The channel `slack`.
pub(crate) struct Slack {
    name: ChannelName,
    workspaces: Vec<Workspace>,
    pace: Pace,
    tls: Arc<ClientConfig>,
}

impl Slack {
    /// The workspaces of the settings, not connected yet; `None` without any.
    pub(crate) fn new(
        settings: &SlackSettings,
        assistant: &str,
        clock: SharedClock,
        pace: Pace,
    ) -> Option<Self> {
        if settings.workspaces.is_empty() {
            return None;
        }
        let (name, tls) = (ChannelName::slack(), api::tls());
        let common = Common {
            channel: name.clone(),
            assistant: assistant.to_owned(),
            clock,
            pace,
            taken: Arc::default(),
        };
        let workspace = |tokens| {
            let api = api::Api::new(&settings.api_url, tokens, &tls, pace);
            let downloads = Downloads::new(&settings.api_url, tokens, &tls, pace.step);
            Workspace::new(tokens, api, downloads, common.clone())
        };
        let workspaces = settings.workspaces.iter().map(workspace).collect();
        Some(Self { name, workspaces, pace, tls })
    }

    /// The workspace of a chat and the chat's name there.
    fn workspace_of(&self, chat: &ChatId) -> Option<(&Workspace, ConversationId)> {
        self.workspaces.iter().find_map(|w| Some((w, w.channel_of(chat)?)))
    }

    /// The same, where they can be written to.
    fn place(&self, chat: &ChatId) -> Result<(&Workspace, ConversationId), SendError> {
        match self.workspace_of(chat) {
            Some((workspace, channel)) => match workspace.state() {
                ChannelState::Up { .. } | ChannelState::Partly { .. } => Ok((workspace, channel)),
                _ => Err(SendError::Absent),
            },
            // One that has not said yet which it is may be the one.
            None if self.workspaces.iter().any(|w| w.ours().is_none()) => Err(SendError::Absent),
            None => {
                let reason = "there is no token for its workspace".to_owned();
                Err(SendError::Refused { reason, for_chat: None })
            }
        }
    }

    /// What was left half written, as soon as the store tells.
    async fn drafts(&self, intake: &dyn Intake) -> Vec<(Conversation, MessageId)> {
        let mut failures = 0;
        loop {
            match intake.drafts(&self.name).await {
                Ok(drafts) => return drafts,
                Err(NotKept { reason }) => {
                    warn!(channel.name = "slack", reason, "not connected yet");
                    failures += 1;
                    sleep(self.pace.wait(failures)).await;
                }
            }
        }
    }

    fn address<'a>(&'a self, parcel: &'a Parcel) -> Result<Address<'a>, SendError> {
        let (workspace, channel) = self.place(&parcel.conversation.chat)?;
        Ok(Address { workspace, channel, parcel })
    }
}

#[async_trait]
impl Channel for Slack {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Of several workspaces, that of the one that is worst off, with its name; partly up when another is up.
    fn state(&self) -> ChannelState {
        let states: Vec<_> = self.workspaces.iter().map(|w| (w.state(), w.label())).collect();
        let up = states.iter().find_map(|(state, _)| match state {
            ChannelState::Up { since } | ChannelState::Partly { since, .. } => Some(*since),
            _ => None,
        });
        let worst = states.iter().max_by_key(|(state, _)| badness(state));
        match (up, worst) {
            (_, Some((ChannelState::Up { since }, _))) => ChannelState::Up { since: *since },
            (Some(since), Some((worst, label)))
                if !matches!(worst, ChannelState::Partly { .. }) =>
            {
                ChannelState::Partly { since, reason: format!("{label} is {worst}") }
            }
            (_, Some((worst, label))) if states.len() > 1 => with_label(worst.clone(), label),
            (_, Some((worst, _))) => worst.clone(),
            (_, None) => ChannelState::Connecting,
        }
    }

    async fn run(&self, intake: &dyn Intake, stop: CancellationToken) {
        // Known before anything can be sent.
        let drafts = tokio::select! {
            drafts = self.drafts(intake) => drafts,
            () = stop.cancelled() => return,
        };
        self.workspaces.iter().for_each(|workspace| workspace.streams.recall(&drafts));
        let runs = self.workspaces.iter().map(|workspace| async {
            let inlet = Inlet::new(workspace, intake);
            tokio::join!(
                inlet.run(&stop),
                socket::run(workspace, &self.tls, &inlet, &stop),
                socket::watch(workspace, &inlet, &stop),
                workspace.progress.run(workspace, &stop),
                workspace.streams.run(workspace, intake, &stop),
            );
        });
        join_all(runs).await;
    }

    async fn send(&self, parcel: &Parcel) -> Result<Receipt, SendError> {
        self.address(parcel)?.send().await
    }

    async fn find(&self, parcel: &Parcel) -> Result<Option<Receipt>, SendError> {
        self.address(parcel)?.find().await
    }

    async fn show(&self, conversation: &Conversation, activity: &Activity) {
        // Also while it is away: what is not said of the end of a run now is said nevermore.
        if let Some((workspace, channel)) = self.workspace_of(&conversation.chat) {
            let seen = workspace.streams.hear(conversation, activity);
            let thread = conversation.thread.as_ref();
            workspace.progress.wish(&channel, thread, (activity, seen));
        }
    }
}

/// How far a state is from good.
fn badness(state: &ChannelState) -> u8 {
    match state {
        ChannelState::Up { .. } => 0,
        ChannelState::Partly { .. } => 1,
        ChannelState::Connecting => 2,
        ChannelState::BackingOff { .. } => 3,
        ChannelState::NeedsPairing | ChannelState::Refused { .. } => 4,
    }
}

/// The state with the name of the workspace in its reason.
fn with_label(state: ChannelState, label: &str) -> ChannelState {
    match state {
        ChannelState::BackingOff { until, reason } => {
            ChannelState::BackingOff { until, reason: format!("{reason} ({label})") }
        }
        ChannelState::Partly { since, reason } => {
            ChannelState::Partly { since, reason: format!("{reason} ({label})") }
        }
        ChannelState::Refused { reason } => {
            ChannelState::Refused { reason: format!("{reason} ({label})") }
        }
        other => other,
    }
}
