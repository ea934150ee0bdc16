//! The Anthropic API.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;

use super::provider::{Answer, AnswerBody, Failure, FailureKind, Provider, retry_after};
use super::reply::{BodyError, Reply};
use super::request::ModelRequest;
use super::{BrokerError, CONNECT_PATIENCE, MAX_BODY_BYTES, SILENCE, model_id};
use crate::clock::SharedClock;
use crate::config::{AnthropicCredential, AnthropicSettings};

/// What the Anthropic API is called.
pub(super) const NAME: &str = "anthropic";

/// The beta feature that lets a token of a subscription stand in for an API key.
const OAUTH_BETA: &str = "oauth-2025-04-20";
/// The longest error that is handed on.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// How it says that the account is empty, with the status of a wrong request.
const CREDIT: &str = "credit balance is too low";
/// The headers of an answer that a sandbox gets, besides those about rate limits.
const ANSWER_HEADERS: [&str; 3] = ["content-type", "request-id", "retry-after"];

/// The Anthropic API.
#[derive(Debug)]
pub(super) struct Anthropic {
    http: reqwest::Client,
    base_url: String,
    credential: (&'static str, HeaderValue),
    oauth: bool,
    clock: SharedClock,
}

impl Anthropic {
    /// Prepares calls; connects to nothing yet.
    pub(super) fn new(
        settings: &AnthropicSettings,
        clock: SharedClock,
    ) -> Result<Self, BrokerError> {
        let (name, value, oauth) = match &settings.credential {
            AnthropicCredential::ApiKey(key) => {
                ("x-api-key", key.expose_secret().to_owned(), false)
            }
            AnthropicCredential::OauthToken(token) => {
                (AUTHORIZATION.as_str(), format!("Bearer {}", token.expose_secret()), true)
            }
        };
        let mut value = HeaderValue::from_str(value.trim()).map_err(|source| {
            BrokerError::Setup { what: "the credential", source: source.into() }
        })?;
        value.set_sensitive(true);
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .read_timeout(SILENCE)
            .tcp_keepalive(Duration::from_secs(60))
            // A redirect would carry the credential to somewhere else.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy();
        if settings.base_url.starts_with("http://") {
            // A server on this machine needs no certificates, and the machine may have none.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|source| BrokerError::Setup {
            what: "TLS (are the system's CA certificates installed?)",
            source: source.into(),
        })?;
        let base_url = settings.base_url.trim_end_matches('/').to_owned();
        Ok(Self { http, base_url, credential: (name, value), oauth, clock })
    }

    fn headers(&self, request: &ModelRequest) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(version) = HeaderValue::from_str(&request.version) {
            headers.insert("anthropic-version", version);
        }
        let oauth = self.oauth.then_some(OAUTH_BETA);
        let betas: Vec<&str> =
            oauth.into_iter().chain(request.betas.iter().map(String::as_str)).collect();
        if let (false, Ok(betas)) = (betas.is_empty(), HeaderValue::from_str(&betas.join(","))) {
            headers.insert("anthropic-beta", betas);
        }
        let (name, value) = &self.credential;
        headers.insert(*name, value.clone());
        headers
    }

    async fn failure(&self, status: StatusCode, response: reqwest::Response) -> Failure {
        let patience = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let patience = patience.and_then(|text| retry_after(text, self.clock.now()));
        let headers = keep_headers(response.headers());
        let body = read_to(response, MAX_ERROR_BYTES).await.unwrap_or_default();
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
        let mut reply = Reply::error(status, "api_error", "the provider answered with an error");
        if is_json {
            reply = Reply { status, body, headers: headers.into() };
        }
        let kind = if status == StatusCode::BAD_REQUEST && says(&reply.body, CREDIT) {
            FailureKind::Unauthorized
        } else {
            FailureKind::of_status(status, patience)
        };
        Failure::new(kind, reply)
    }
}

/// Whether an error's text has these words in it.
fn says(body: &[u8], words: &str) -> bool {
    body.windows(words.len()).any(|window| window == words.as_bytes())
}

#[async_trait]
impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn ask(&self, request: &ModelRequest) -> Result<Answer, Failure> {
        let model = model_id::at_anthropic(&request.model)
            .ok_or_else(|| Failure::unfit("the Anthropic API does not know models by ARN"))?;
        let response = self
            .http
            .post(format!("{}{}", self.base_url, request.endpoint.path()))
            .headers(self.headers(request))
            .body(request.body(model))
            .send()
            .await
            .map_err(|error| Failure::unreachable(&error))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.failure(status, response).await);
        }
        let headers = keep_headers(response.headers());
        let events = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let body = if events {
            let chunks = response.bytes_stream();
            AnswerBody::Events(chunks.map(|chunk| chunk.map_err(broke_off)).boxed())
        } else {
            let body = read_to(response, MAX_BODY_BYTES).await;
            AnswerBody::Whole(
                body.ok_or_else(|| Failure::broken("the provider's answer broke off"))?,
            )
        };
        Ok(Answer { headers, body })
    }
}

fn broke_off(error: reqwest::Error) -> BodyError {
    tracing::warn!("an answer of the Anthropic API broke off: {}", error.without_url());
    BodyError
}

/// Reads a body of at most `max` bytes; `None` when it breaks off or is larger.
async fn read_to(mut response: reqwest::Response, max: usize) -> Option<Bytes> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > max {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body.into())
}

fn keep_headers(headers: &HeaderMap) -> HeaderMap {
    let kept =
        |name: &str| ANSWER_HEADERS.contains(&name) || name.starts_with("anthropic-ratelimit-");
    let headers = headers.iter().filter(|(name, _)| kept(name.as_str()));
    headers.map(|(name, value)| (name.clone(), value.clone())).collect()
}
