//! What the two services write differently.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::failure::Failure;
use super::message::Message;

/// The body of a response; its error is a connection cut on purpose.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How one service writes answers and failures.
pub(super) trait Wire: Sync {
    /// What the ids of this service have after their prefix.
    fn infix(&self) -> &'static str;

    /// The headers of an answer, streamed or not.
    fn headers(&self, message: &Message, stream: bool) -> Vec<(&'static str, String)>;

    /// The events of a message, each framed.
    fn events(&self, message: &Message) -> Vec<Bytes>;

    /// The event that breaks off a stream.
    fn breaking(&self, failure: &Failure) -> Bytes;

    /// An event that is framed well and is not JSON.
    fn malformed(&self) -> Bytes;

    /// An event that is damaged on the wire.
    fn garbled(&self) -> Bytes;

    /// The status, the headers and the body of a refusal.
    fn refusal(&self, failure: &Failure) -> (u16, Vec<(&'static str, String)>, Value);
}

/// A refusal as a response.
pub(super) fn refuse(
    wire: &dyn Wire,
    failure: &Failure,
    retry_after_s: Option<u64>,
) -> Response<Body> {
    let (status, headers, body) = wire.refusal(failure);
    let mut response = json(&body);
    *response.status_mut() =
        StatusCode::from_u16(status).expect("the wordings hold valid statuses");
    for (name, value) in headers {
        response.headers_mut().insert(name, header(&value));
    }
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// A response that is this JSON.
pub(super) fn json(body: &Value) -> Response<Body> {
    let full = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(Body::new(full));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A header's value.
pub(super) fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("both wires write names and numbers only")
}
