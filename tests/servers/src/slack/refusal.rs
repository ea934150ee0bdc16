//! How the Web API says no.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::json::Fields as _;

/// A call that is answered with `"ok": false`.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The code.
    pub(super) code: Cow<'static, str>,
    /// What else the answer says.
    details: Value,
}

/// What a method answers; `ok` is added to it.
pub(super) type Answer = Result<Value, Refusal>;

impl From<&'static str> for Refusal {
    fn from(code: &'static str) -> Self {
        Self { code: code.into(), details: Value::Null }
    }
}

impl From<String> for Refusal {
    fn from(code: String) -> Self {
        Self { code: code.into(), details: Value::Null }
    }
}

impl Refusal {
    /// A required argument is missing.
    pub(super) fn missing(field: &str) -> Self {
        let message = format!("[ERROR] missing required field: {field}");
        Self::with("invalid_arguments", json!({ "response_metadata": { "messages": [message] } }))
    }

    /// Something is wrong with a block.
    pub(super) fn block(at: usize, why: &str) -> Self {
        let message = format!("{why} [json-pointer:/blocks/{at}]");
        let messages = json!({ "messages": [format!("[ERROR] {message}")] });
        Self::with("invalid_blocks", json!({ "errors": [message], "response_metadata": messages }))
    }

    /// The token may not do this.
    pub(super) fn scope(needed: &str, provided: &str) -> Self {
        Self::with("missing_scope", json!({ "needed": needed, "provided": provided }))
    }

    fn with(code: &'static str, details: Value) -> Self {
        Self { code: code.into(), details }
    }

    /// The body of the answer.
    pub(super) fn json(&self) -> Value {
        let mut json = json!({ "ok": false, "error": self.code });
        for (key, value) in self.details.as_object().into_iter().flatten() {
            json.put(key, value.clone());
        }
        json
    }
}
