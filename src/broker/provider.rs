//! What answers model calls, behind one trait: the Anthropic API, Amazon Bedrock, or the demo.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::reply::{BodyError, OVERLOADED, Reply};
use super::request::ModelRequest;

/// Who answers model calls.
#[async_trait]
pub(super) trait Provider: Send + Sync {
    /// Its name, as `status` shows it.
    fn name(&self) -> &'static str;

    /// Asks once; no retries in here.
    async fn ask(&self, request: &ModelRequest) -> Result<Answer, Failure>;
}

/// A good answer.
pub(super) struct Answer {
    /// The headers that the sandbox gets.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
}

/// The body of a good answer.
pub(super) enum AnswerBody {
    /// JSON, whole.
    Whole(Bytes),
    /// Server-sent events, as they come.
    Events(BoxStream<'static, Result<Bytes, BodyError>>),
}

/// A provider did not answer well.
#[derive(Debug)]
pub(super) struct Failure {
    /// What can be done about it.
    pub kind: FailureKind,
    /// What the sandbox is told when nothing is done about it.
    pub reply: Reply,
    /// What underlies it, for the owner; not for the sandbox.
    pub cause: Option<String>,
}

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The provider asks for patience: wait as long as it says, or ask another.
    Busy {
        /// How long it says.
        retry_after: Option<Duration>,
    },
    /// The provider is out of order: ask another.
    Broken,
    /// The provider does not serve this kind of request: ask another.
    Unfit,
    /// The provider does not take our credentials, or our money: ask another, and the owner must act.
    Unauthorized,
    /// The provider does not have the model, or not for us: ask another.
    Denied,
    /// The request is wrong: nothing, every provider would say so.
    Rejected,
}

impl FailureKind {
    /// What an HTTP status means.
    pub(super) fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Self {
        match status.as_u16() {
            429 | 503 | OVERLOADED => Self::Busy { retry_after },
            401 | 402 => Self::Unauthorized,
            403 | 404 => Self::Denied,
            400..500 => Self::Rejected,
            _ => Self::Broken,
        }
    }

    /// How much it says to whoever asked when nobody could answer: what passes by itself before what the owner must
    /// mend, and that before what another provider would have made up for.
    pub(super) fn weight(self) -> u8 {
        match self {
            Self::Rejected => 5,
            Self::Busy { .. } => 4,
            Self::Broken => 3,
            Self::Unauthorized => 2,
            Self::Denied => 1,
            Self::Unfit => 0,
        }
    }
}

impl Failure {
    /// What a reply of the provider's, or in its place, means.
    pub(super) fn new(kind: FailureKind, reply: Reply) -> Self {
        Self { kind, reply, cause: None }
    }

    /// The provider is out of order.
    pub(super) fn broken(message: &str) -> Self {
        let reply = Reply::error(StatusCode::BAD_GATEWAY, "api_error", message);
        Self::new(FailureKind::Broken, reply)
    }

    /// The provider cannot be reached; the deepest cause says why, and does not name the address.
    pub(super) fn unreachable(error: &(dyn Error + 'static)) -> Self {
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let failure = Self::broken("the model's provider cannot be reached");
        Self { cause: Some(cause.to_string()), ..failure }
    }

    /// The provider does not serve this kind of request.
    pub(super) fn unfit(message: &str) -> Self {
        let reply = Reply::error(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        Self::new(FailureKind::Unfit, reply)
    }

    /// What an `error` event at the very start of a stream means; its status is the one the same error has as a
    /// response (<https://docs.anthropic.com/en/api/errors>).
    pub(super) fn of_event(data: &[u8]) -> Self {
        let kind = serde_json::from_slice::<ErrorEvent>(data).map(|event| event.error.kind);
        let status = match kind.as_deref() {
            Ok("invalid_request_error") => 400,
            Ok("authentication_error") => 401,
            Ok("billing_error") => 402,
            Ok("permission_error") => 403,
            Ok("not_found_error") => 404,
            Ok("request_too_large") => 413,
            Ok("rate_limit_error") => 429,
            Ok("overloaded_error") => OVERLOADED,
            _ => 500,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut reply = Reply::error(status, "api_error", "");
        reply.body = Bytes::copy_from_slice(data);
        Self::new(FailureKind::of_status(status, None), reply)
    }

    /// What the matter is, in a sentence for the owner.
    pub(super) fn sentence(&self) -> String {
        let event = serde_json::from_slice::<ErrorEvent>(&self.reply.body);
        let said = event.map(|event| event.error.message).unwrap_or_default();
        match &self.cause {
            Some(cause) => format!("{said}: {cause}"),
            None => format!("{said} (HTTP {})", self.reply.status.as_u16()),
        }
    }
}

#[derive(serde::Deserialize)]
struct ErrorEvent {
    error: ErrorBody,
}

#[derive(serde::Deserialize)]
struct ErrorBody {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

/// How long the header `retry-after` asks us to wait, given in seconds or as a date of HTTP.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Duration::try_from(date.timestamp().duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (text, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Fri, 02 Jan 2026 03:04:15 GMT", Some(10)),
            ("Fri, 02 Jan 2026 03:04:00 GMT", None),
            ("-1", None),
            ("soon", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn statuses_say_what_can_be_done() {
        let busy = FailureKind::Busy { retry_after: None };
        for (status, expected) in [
            (400, FailureKind::Rejected),
            (401, FailureKind::Unauthorized),
            (402, FailureKind::Unauthorized),
            (403, FailureKind::Denied),
            (404, FailureKind::Denied),
            (413, FailureKind::Rejected),
            (429, busy),
            (500, FailureKind::Broken),
            (502, FailureKind::Broken),
            (503, busy),
            (529, busy),
            (302, FailureKind::Broken),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(FailureKind::of_status(status, None), expected, "{status}");
        }
    }

    #[test]
    fn an_error_event_means_what_the_response_would() {
        let event = br#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#;
        let failure = Failure::of_event(event);
        assert_eq!(failure.kind, FailureKind::Busy { retry_after: None });
        assert_eq!(failure.reply.status.as_u16(), OVERLOADED);
        assert_eq!(failure.reply.body, event.as_slice());
        assert_eq!(Failure::of_event(b"?").kind, FailureKind::Broken);
    }
}
