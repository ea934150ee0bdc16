//! What the gateway tells of itself to whoever asks for its state.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::channel::{Channel, Channels};
use crate::queue::Queue;

/// The most conversations in the queue that are named.
const MOST_QUEUED: usize = 100;

/// The first conversations in the queue.
pub(super) fn queue(queue: &Queue) -> Vec<String> {
    let first = queue.waiting(MOST_QUEUED).into_iter();
    first.map(|waiting| waiting.conversation.to_string()).collect()
}

/// The channels and the state of their connections.
pub(super) fn channels(channels: &Channels) -> Vec<Value> {
    let state = |channel: &Arc<dyn Channel>| json!({ "name": channel.name().as_str(), "state": channel.state().to_string() });
    channels.iter().map(state).collect()
}
