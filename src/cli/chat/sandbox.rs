//! What the gateway says about sandboxes.

use serde_json::Value;

use crate::channel::terminal::wire::GatewayFrame;

/// What the gateway's state says about sandboxes.
#[derive(Debug, Default)]
pub(super) struct SandboxState {
    /// Whether there is one.
    pub(super) ready: bool,
    /// Which, in a line.
    pub(super) line: String,
    /// Why there is none, and what mends it.
    pub(super) problem: Option<String>,
}

impl SandboxState {
    /// Reads it from the state, as far as it is there.
    pub(super) fn read(state: &Value) -> Self {
        let part = |name: &str| state.get("sandbox").and_then(|sandbox| sandbox.get(name));
        let text = |name: &str| part(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            ready: part("ready").and_then(Value::as_bool).unwrap_or(false),
            line: text("line").unwrap_or_default(),
            problem: text("problem"),
        }
    }
}

/// Whether this shows that the agent has begun; a place in the queue does not.
pub(super) fn is_at_work(activity: &GatewayFrame) -> bool {
    matches!(
        activity,
        GatewayFrame::Working | GatewayFrame::Tool { .. } | GatewayFrame::Text { .. }
    )
}
