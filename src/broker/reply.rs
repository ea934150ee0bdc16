//! Answers that the broker writes itself, in the form in which the Messages API reports errors.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::json;

/// The body of a response to a sandbox.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// The provider's answer broke off; the response breaks off with it.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BodyError;

/// The error type that says that the gateway refuses, and the message is meant for people.
pub(super) const REFUSED: &str = "hermitcrab_refused";

/// The status that the Messages API uses for "overloaded".
pub(super) const OVERLOADED: u16 = 529;

/// An error that can be sent to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The JSON.
    pub body: Bytes,
    /// Headers that go with it.
    pub headers: Box<HeaderMap>,
}

impl Reply {
    /// An error of this type with this sentence.
    pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Self {
        let body = json!({"type": "error", "error": {"type": kind, "message": message}});
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status, body: body.to_string().into(), headers: headers.into() }
    }

    /// A refusal of the gateway itself.
    pub(super) fn refused(message: &str) -> Self {
        Self::error(StatusCode::FORBIDDEN, REFUSED, message)
    }

    /// The same, with word when to come back; whole seconds, rounded up.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        self
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        respond(reply.status, *reply.headers, full(reply.body))
    }
}

/// A response of these parts.
pub(super) fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A body that is there at once.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body without bytes.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
