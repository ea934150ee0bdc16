//! Sorts what goes wrong with a model call by what can be done about it.

use std::time::Duration;

use hyper::{HeaderMap, StatusCode};
use protocol::{Failure, FailureKind};
use serde::Deserialize;

use super::http::HttpError;
use crate::files;

/// The broker's own type of error for what a limit of the owner's forbids.
const REFUSED: &str = "hermitcrab_refused";
/// The most bytes of a service's sentence that go into a failure.
const MAX_MESSAGE_BYTES: usize = 500;

/// Why a model call gave no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CallFault {
    /// The stream ended before the answer did: the call may be repeated at once.
    Cut(String),
    /// The service is busy: the call may be repeated after a while.
    Busy {
        /// When, as far as the service says so.
        retry_after: Option<Duration>,
        /// What it said.
        message: String,
    },
    /// The conversation does not fit the model's context.
    TooLong(String),
    /// Repeating is of no use; the run fails.
    Final(Failure),
}

impl CallFault {
    /// How the run fails when nothing more can be done.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Cut(message) | Self::TooLong(message) => failure(FailureKind::Other, message),
            Self::Busy { message, .. } => failure(FailureKind::Overloaded, message),
            Self::Final(failure) => failure,
        }
    }
}

impl From<HttpError> for CallFault {
    fn from(error: HttpError) -> Self {
        let message = error.to_string();
        match std::error::Error::source(&error) {
            Some(source) => Self::Cut(format!("{message}: {source}")),
            None => Self::Cut(message),
        }
    }
}

/// A failure with a bounded message.
pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into() }
}

/// What an answer with an error status means.
pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CallFault {
    let retry_after =
        headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let error = serde_json::from_slice::<Body>(body).map(|body| body.error).unwrap_or_default();
    sort(status.as_u16(), retry_after.map(Duration::from_secs), &error.name, &error.message)
}

/// What an error in the middle of a stream means: the status that the same error has before a stream.
pub(crate) fn of_event(name: &str, message: &str) -> CallFault {
    let status = match name {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "permission_error" => 403,
        "rate_limit_error" => 429,
        "overloaded_error" => 529,
        _ => 500,
    };
    sort(status, None, name, message)
}

fn sort(status: u16, retry_after: Option<Duration>, name: &str, message: &str) -> CallFault {
    let message = files::cut(message, MAX_MESSAGE_BYTES);
    if name == REFUSED {
        return CallFault::Final(failure(FailureKind::Refused, message));
    }
    let words = match (name, message) {
        ("", "") => format!("the model's service answered {status}"),
        _ => format!("the model's service answered {status} ({name}): {message}"),
    };
    match status {
        401 | 403 => CallFault::Final(failure(FailureKind::Credentials, words)),
        408 | 429 | 500..=599 => CallFault::Busy { retry_after, message: words },
        413 => CallFault::TooLong(words),
        400 if is_too_long(message) => CallFault::TooLong(words),
        _ => CallFault::Final(failure(FailureKind::Other, words)),
    }
}

/// The services say it in words only: Anthropic the first two, Bedrock the third.
fn is_too_long(message: &str) -> bool {
    ["prompt is too long", "exceed context limit", "Input is too long"]
        .iter()
        .any(|words| message.contains(words))
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    error: BodyError,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BodyError {
    #[serde(rename = "type")]
    name: String,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<&str>, body: &str) -> CallFault {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert("retry-after", value.parse().unwrap());
        }
        of_answer(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    fn error(name: &str, message: &str) -> String {
        serde_json::json!({"type": "error", "error": {"type": name, "message": message}})
            .to_string()
    }

    #[test]
    fn refusals_of_the_broker_are_passed_on_word_for_word() {
        for status in [400, 403, 429] {
            let fault = answered(status, None, &error(REFUSED, "The budget of today is spent."));
            let expected = failure(FailureKind::Refused, "The budget of today is spent.");
            assert_eq!(fault, CallFault::Final(expected), "{status}");
        }
    }

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        let kind = |fault| match fault {
            CallFault::Cut(_) => "cut",
            CallFault::Busy { .. } => "busy",
            CallFault::TooLong(_) => "too long",
            CallFault::Final(failure) => match failure.kind {
                FailureKind::Credentials => "credentials",
                FailureKind::Refused => "refused",
                FailureKind::Overloaded => "overloaded",
                FailureKind::Other => "other",
            },
        };
        for (status, message, expected) in [
            (400, "prompt is too long: 210000 tokens > 200000 maximum", "too long"),
            (400, "input length and `max_tokens` exceed context limit", "too long"),
            (400, "messages: at least one message is required", "other"),
            (401, "invalid x-api-key", "credentials"),
            (403, "no", "credentials"),
            (404, "model: x", "other"),
            (413, "", "too long"),
            (429, "", "busy"),
            (500, "", "busy"),
            (529, "Overloaded", "busy"),
        ] {
            assert_eq!(
                kind(answered(status, None, &error("some_error", message))),
                expected,
                "{status}"
            );
        }
        assert_eq!(kind(of_event("overloaded_error", "Overloaded")), "busy");
        assert_eq!(kind(of_event("brand_new_error", "")), "busy");
        assert_eq!(kind(of_event("authentication_error", "")), "credentials");
        assert_eq!(kind(of_event(REFUSED, "")), "refused");
    }

    #[test]
    fn the_time_to_wait_is_read_and_nonsense_is_not() {
        for (header, expected) in
            [(Some("7"), Some(Duration::from_secs(7))), (Some("soon"), None), (None, None)]
        {
            let CallFault::Busy { retry_after, message } = answered(429, header, "<html>") else {
                panic!("not busy");
            };
            assert_eq!(retry_after, expected);
            assert_eq!(message, "the model's service answered 429");
        }
    }
}
