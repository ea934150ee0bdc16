//! Envelopes and pages of history, read.
use serde_json::Value;

/// A text field; empty when there is none.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
