//! Amazon Bedrock: the same Messages API inside `InvokeModel`, its event stream turned back into server-sent events.

use async_trait::async_trait;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::config::{
    BehaviorVersion, Config, Credentials, Region, StalledStreamProtectionConfig,
};
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::invoke_model_with_response_stream::InvokeModelWithResponseStreamOutput;
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::ResponseStream;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::provider::{Answer, AnswerBody, Failure, FailureKind, Provider, retry_after};
use super::reply::{BodyError, OVERLOADED, Reply};
use super::request::{Endpoint, ModelRequest};
use super::{CONNECT_PATIENCE, SILENCE, model_id};
use crate::clock::SharedClock;
use crate::config::BedrockSettings;

mod event;

#[cfg(any(fuzzing, test))]
pub(super) use event::of_chunk as fuzz_chunk;

/// What Amazon Bedrock is called.
pub(super) const NAME: &str = "bedrock";

/// Amazon Bedrock in one region.
#[derive(Debug)]
pub(super) struct Bedrock {
    client: Client,
    region: String,
    clock: SharedClock,
}

impl Bedrock {
    /// Prepares calls; connects to nothing yet.
    pub(super) fn new(settings: &BedrockSettings, clock: SharedClock) -> Self {
        let credentials = Credentials::new(
            settings.access_key_id.clone(),
            settings.secret_access_key.expose_secret(),
            settings.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
            None,
            "hermitcrab",
        );
        #[expect(deprecated, reason = "later ones read proxies from the environment by themselves")]
        let behavior = BehaviorVersion::v2025_01_17();
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_PATIENCE).read_timeout(SILENCE);
        let mut config = Config::builder()
            .behavior_version(behavior)
            .region(Region::new(settings.region.clone()))
            .credentials_provider(credentials)
            .timeout_config(timeouts.build())
            // Whether to ask again is decided in one place, for all providers.
            .retry_config(RetryConfig::disabled())
            // A model may think in silence; how long is decided below.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        let client = Client::from_conf(config.build());
        Self { client, region: settings.region.clone(), clock }
    }

    async fn invoke(&self, model: &str, body: Blob) -> Result<AnswerBody, Failure> {
        let call = self.client.invoke_model().model_id(model).body(body);
        let call = call.content_type("application/json").accept("application/json");
        let output = call.send().await.map_err(|error| failure(&error, self.clock.now()))?;
        Ok(AnswerBody::Whole(output.body.into_inner().into()))
    }

    async fn invoke_streamed(&self, model: &str, body: Blob) -> Result<AnswerBody, Failure> {
        let call = self.client.invoke_model_with_response_stream().model_id(model).body(body);
        let call = call.content_type("application/json").accept("application/json");
        let output = call.send().await.map_err(|error| failure(&error, self.clock.now()))?;
        let events = stream::unfold(Some(output), async |output| {
            let mut output = output?;
            match next_event(&mut output).await {
                Ok(Some(event)) => Some((Ok(event), Some(output))),
                Ok(None) => None,
                Err(Ended::With(event)) => Some((Ok(event), None)),
                Err(Ended::BrokenOff) => Some((Err(BodyError), None)),
            }
        });
        Ok(AnswerBody::Events(events.boxed()))
    }
}

#[async_trait]
impl Provider for Bedrock {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn ask(&self, request: &ModelRequest) -> Result<Answer, Failure> {
        if request.endpoint == Endpoint::CountTokens {
            return Err(Failure::unfit("tokens cannot be counted by way of Bedrock"));
        }
        let model = model_id::at_bedrock(&request.model, &self.region)
            .map_err(|error| Failure::unfit(&error.to_string()))?;
        let body = Blob::new(Vec::from(request.bedrock_body()));
        let (kind, body) = if request.stream {
            ("text/event-stream; charset=utf-8", self.invoke_streamed(&model, body).await?)
        } else {
            ("application/json", self.invoke(&model, body).await?)
        };
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Ok(Answer { headers, body })
    }
}

/// How a stream ends before its time.
enum Ended {
    /// With an error that it tells.
    With(Bytes),
    /// Without a word.
    BrokenOff,
}

async fn next_event(
    output: &mut InvokeModelWithResponseStreamOutput,
) -> Result<Option<Bytes>, Ended> {
    loop {
        let received = tokio::time::timeout(SILENCE, output.body.recv());
        let Ok(received) = received.await else { return Err(Ended::BrokenOff) };
        match received {
            Ok(Some(ResponseStream::Chunk(part))) => {
                let json = part.bytes.map(Blob::into_inner).unwrap_or_default();
                return event::of_chunk(&json).map(Some).ok_or(Ended::BrokenOff);
            }
            // Kinds of events that the service may yet invent.
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(SdkError::ServiceError(error)) => {
                return Err(Ended::With(event::of_exception(error.err())));
            }
            Err(error) => {
                tracing::warn!("an answer of Bedrock broke off: {error}");
                return Err(Ended::BrokenOff);
            }
        }
    }
}

/// What an error of the SDK means.
fn failure<E>(error: &SdkError<E>, now: Timestamp) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(raw) = error.raw_response() else {
        return Failure::unreachable(error);
    };
    let status = raw.status().as_u16();
    let (code, message) = match error {
        SdkError::ServiceError(service) => (service.err().code(), service.err().message()),
        _ => (None, None),
    };
    let (status, kind) = match (code, message) {
        (Some("ValidationException"), Some(message)) if is_about_model(message) => {
            (404, "not_found_error")
        }
        _ => meaning(code.unwrap_or_default(), status),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let reply = Reply::error(status, kind, message.unwrap_or("Bedrock answered with an error"));
    let patience = raw.headers().get("retry-after").and_then(|text| retry_after(text, now));
    Failure::new(FailureKind::of_status(status, patience), reply)
}

/// Whether a request is called wrong for its model only: Bedrock does not have it in the region, or only by a profile.
fn is_about_model(message: &str) -> bool {
    ["model identifier is invalid", "on-demand throughput", "end of its life"]
        .iter()
        .any(|words| message.contains(words))
}

/// Status and type with which the Messages API would report an error of Bedrock
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html#API_runtime_InvokeModel_Errors>).
fn meaning(code: &str, status: u16) -> (u16, &'static str) {
    match code {
        "ThrottlingException" | "ServiceQuotaExceededException" => (429, "rate_limit_error"),
        "ServiceUnavailableException" | "ModelNotReadyException" => {
            (OVERLOADED, "overloaded_error")
        }
        "ValidationException" => (400, "invalid_request_error"),
        "AccessDeniedException" => (403, "permission_error"),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => (401, "authentication_error"),
        "ResourceNotFoundException" => (404, "not_found_error"),
        _ => match status {
            400 => (400, "invalid_request_error"),
            401 => (401, "authentication_error"),
            403 => (403, "permission_error"),
            404 => (404, "not_found_error"),
            413 => (413, "request_too_large"),
            429 => (429, "rate_limit_error"),
            503 => (OVERLOADED, "overloaded_error"),
            // ModelTimeoutException (408) and ModelErrorException (424) among them.
            _ => (500, "api_error"),
        },
    }
}
