//! The channels of this gateway, by name.

use std::sync::Arc;

use super::Channel;
use crate::model::{Activity, ChannelName, Conversation};

/// The channels of this gateway.
#[derive(Clone, Default)]
pub(crate) struct Channels {
    all: Arc<[Arc<dyn Channel>]>,
}

impl Channels {
    /// These channels; their names are distinct.
    pub(crate) fn new(all: Vec<Arc<dyn Channel>>) -> Self {
        Self { all: all.into() }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Channel>> {
        self.all.iter()
    }

    /// The channel of this name.
    pub(crate) fn by_name(&self, name: &ChannelName) -> Option<&Arc<dyn Channel>> {
        self.all.iter().find(|channel| channel.name() == name)
    }

    /// Shows people in a conversation what the assistant is doing.
    pub(crate) async fn show(&self, conversation: &Conversation, activity: &Activity) {
        if let Some(channel) = self.by_name(conversation.chat.channel()) {
            channel.show(conversation, activity).await;
        }
    }
}
