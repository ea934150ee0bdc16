//! The channels that the settings ask for, as far as this build has them.

use std::sync::Arc;

#[cfg(not(feature = "slack"))]
use tracing::warn;

use super::Options;
use crate::channel::Channel;
#[cfg(feature = "slack")]
use crate::channel::slack::Slack;
use crate::clock::SharedClock;
use crate::config::Settings;

/// The Slack channel, where the settings have tokens for it.
#[cfg(feature = "slack")]
pub(super) fn slack(
    settings: &Settings,
    clock: &SharedClock,
    options: &Options,
) -> Option<Arc<dyn Channel>> {
    let assistant = &settings.assistant_name;
    let slack = Slack::new(&settings.slack, assistant, clock.clone(), options.slack)?;
    Some(Arc::new(slack))
}

/// Says that there is no such channel in this build.
#[cfg(not(feature = "slack"))]
pub(super) fn slack(
    settings: &Settings,
    _clock: &SharedClock,
    _options: &Options,
) -> Option<Arc<dyn Channel>> {
    if !settings.slack.workspaces.is_empty() {
        warn!("there are tokens of Slack, and this program was built without the Slack channel");
    }
    None
}
