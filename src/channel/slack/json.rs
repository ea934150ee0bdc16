//! Reading Slack's JSON, which is open: what is odd or missing is passed over, never an error.

use std::str::FromStr;

use serde_json::Value;

/// A field that is text and not empty.
pub(super) fn word<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// A field that is text of a certain form.
pub(super) fn parsed<T: FromStr>(value: &Value, key: &str) -> Option<T> {
    word(value, key)?.parse().ok()
}

/// The members of a field that is a list; none when it is not.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A field that says yes.
pub(super) fn is_true(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool) == Some(true)
}

/// A text, a number or a truth value as text; `None` for anything else and for empty text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
