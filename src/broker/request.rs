//! A model call as a sandbox sends it: what the broker must know of it, and the body otherwise untouched.

use bytes::Bytes;
use hyper::HeaderMap;

use super::members::Members;

/// The name by which a sandbox asks for the configured model.
pub(super) const DEFAULT_MODEL: &str = "default";

/// The version of the Messages API that is asked for when the sandbox names none.
const API_VERSION: &str = "2023-06-01";
/// The most beta features that one request may name.
const MAX_BETAS: usize = 16;

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
}

impl Endpoint {
    /// The path of the Messages API.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
        }
    }
}

/// A model call, parsed as far as the broker needs it.
#[derive(Debug)]
pub(super) struct ModelRequest {
    /// Which call.
    pub endpoint: Endpoint,
    /// The model, the configured one put in where none was named.
    pub model: String,
    /// Whether that is the configured one.
    pub is_configured: bool,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// `anthropic-version`.
    pub version: String,
    /// `anthropic-beta`, one by one.
    pub betas: Vec<String>,
    body: Members,
}

/// A body that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRequest {
    /// Not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A member of the wrong type.
    #[error("the body's \"{0}\" is of the wrong type")]
    WrongType(&'static str),
}

impl ModelRequest {
    /// Reads a call; `configured` is the model for those who name none.
    pub(super) fn parse(
        endpoint: Endpoint,
        headers: &HeaderMap,
        body: Bytes,
        configured: &str,
    ) -> Result<Self, InvalidRequest> {
        let body = Members::parse(body).ok_or(InvalidRequest::NotAnObject)?;
        let model = match body.read::<String>("model") {
            Some(Ok(name)) if name != DEFAULT_MODEL => name,
            Some(Err(_)) => return Err(InvalidRequest::WrongType("model")),
            _ => configured.to_owned(),
        };
        let stream = match body.read::<bool>("stream") {
            Some(Ok(stream)) => stream,
            Some(Err(_)) => return Err(InvalidRequest::WrongType("stream")),
            None => false,
        };
        let version = header(headers, "anthropic-version")
            .filter(|version| is_date(version))
            .unwrap_or(API_VERSION)
            .to_owned();
        let is_configured = model == configured;
        Ok(Self { endpoint, model, is_configured, stream, version, betas: betas(headers), body })
    }

    /// The body for the Messages API, asking for this model.
    pub(super) fn body(&self, model: &str) -> Bytes {
        let model = serde_json::to_vec(model).unwrap_or_default();
        self.body.rewritten(&["model"], &[("model", &model)])
    }

    /// The body for Bedrock, which has model and streaming in the path and the version in the body.
    pub(super) fn bedrock_body(&self) -> Bytes {
        let cut = ["model", "stream", "anthropic_version"];
        self.body.rewritten(&cut, &[("anthropic_version", b"\"bedrock-2023-05-31\"")])
    }

    /// The names of the body's members, as the sandbox wrote them.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.body.names()
    }

    /// The size of the body in bytes.
    pub(super) fn size(&self) -> usize {
        self.body.size()
    }

    /// A member of the body, read as this type; `None` when it is not there.
    pub(super) fn member<'a, T: serde::Deserialize<'a>>(
        &'a self,
        name: &str,
    ) -> Option<serde_json::Result<T>> {
        self.body.read(name)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// The beta features that the sandbox asks for, without those that are about credentials, which are ours.
fn betas(headers: &HeaderMap) -> Vec<String> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    headers
        .get_all("anthropic-beta")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|beta| (1..=64).contains(&beta.len()) && beta.bytes().all(plain))
        .filter(|beta| !beta.starts_with("oauth"))
        .take(MAX_BETAS)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ModelRequest, InvalidRequest> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        ModelRequest::parse(Endpoint::Messages, &HeaderMap::new(), body, "configured")
    }

    #[test]
    fn the_model_is_kept_or_put_in() {
        for (body, model, expected) in [
            ("{}", "configured", r#"{"model":"configured"}"#),
            (r#"{"model":"default","a":1}"#, "configured", r#"{"model":"configured","a":1}"#),
            (r#"{ "a" : [1, 2] , "model" : "x" }"#, "x", r#"{"model":"x","a":[1, 2]}"#),
            (r#"{"model":"x","model":"y"}"#, "y", r#"{"model":"y"}"#),
            (r#"{"mod\u0065l":"x"}"#, "x", r#"{"model":"x"}"#),
            (
                r#"{"n":1e999,"z":12345678901234567890123}"#,
                "configured",
                r#"{"model":"configured","n":1e999,"z":12345678901234567890123}"#,
            ),
        ] {
            let request = parse(body).unwrap();
            assert_eq!(request.model, model, "{body}");
            assert_eq!(request.body(model), expected, "{body}");
        }
    }

    #[test]
    fn bedrock_gets_version_and_neither_model_nor_stream() {
        let request =
            parse(r#"{"model":"m","stream":true,"anthropic_version":"evil","max_tokens":1}"#);
        let request = request.unwrap();
        assert!(request.stream);
        let expected = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1}"#;
        assert_eq!(request.bedrock_body(), expected);
    }

    #[test]
    fn other_bodies_are_refused() {
        for body in [
            "",
            "[]",
            "1",
            "{",
            "{}x",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            "{\u{0}}",
        ] {
            assert_eq!(parse(body).unwrap_err(), InvalidRequest::NotAnObject, "{body:?}");
        }
        assert_eq!(parse(r#"{"model":1}"#).unwrap_err(), InvalidRequest::WrongType("model"));
        assert_eq!(parse(r#"{"stream":"x"}"#).unwrap_err(), InvalidRequest::WrongType("stream"));
    }

    #[test]
    fn headers_are_taken_only_where_they_make_sense() {
        let mut headers = HeaderMap::new();
        headers.append("anthropic-version", "2023-06-01; x".parse().unwrap());
        headers.append("anthropic-beta", "a-2025, oauth-2025-04-20,B AD".parse().unwrap());
        headers.append("anthropic-beta", "c-1".parse().unwrap());
        let request =
            ModelRequest::parse(Endpoint::Messages, &headers, Bytes::from_static(b"{}"), "m");
        let request = request.unwrap();
        assert_eq!(request.version, API_VERSION);
        assert_eq!(request.betas, ["a-2025", "c-1"]);
    }
}
