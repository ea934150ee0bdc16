//! Why a request is refused or a stream breaks, in the words of both services.

use serde::Deserialize;

/// A failure that a script can ask for, or that the checks find.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Too many requests: 429 on both services.
    RateLimited,
    /// The service is overloaded: 529 at Anthropic, 503 at Bedrock.
    Overloaded,
    /// The service broke: 500.
    Internal,
    /// The model broke while it wrote: 500 at Anthropic, 424 at Bedrock.
    ModelStream,
    /// The credentials are not accepted, and why: 401 at Anthropic, 403 at Bedrock.
    Unauthorized(Denial),
    /// More tokens than the model takes: 400, told from others by its text only.
    PromptTooLong,
    /// The request is wrong, and what about it: 400.
    Invalid(String),
    /// The body is larger than 32 MB: 413.
    TooLarge,
    /// No such path: 404.
    NotFound(String),
}

/// What is wrong with the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// There are none.
    Missing,
    /// They are not the ones that the server was given.
    Unknown,
    /// An `Authorization: Bearer` token is not the one that the server was given.
    Bearer,
    /// The signature lacks a part, or leaves out what must be signed.
    Incomplete,
    /// The signature is for another service, region or day.
    Scope,
}

/// A failure as one service writes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wording {
    /// The HTTP status.
    pub(super) status: u16,
    /// Anthropic: `error.type`; Bedrock: the exception's shape.
    pub(super) name: &'static str,
    /// The sentence.
    pub(super) message: String,
}

fn wording(status: u16, name: &'static str, message: impl Into<String>) -> Wording {
    Wording { status, name, message: message.into() }
}

impl Failure {
    /// As the Anthropic API puts it (docs: "Errors", and the API's own answers).
    pub(super) fn anthropic(&self) -> Wording {
        match self {
            Self::RateLimited => wording(
                429,
                "rate_limit_error",
                "This request would exceed your account's rate limit. Please try again later.",
            ),
            Self::Overloaded => wording(529, "overloaded_error", "Overloaded"),
            Self::Internal | Self::ModelStream => {
                wording(500, "api_error", "Internal server error")
            }
            Self::Unauthorized(Denial::Missing) => {
                wording(401, "authentication_error", "x-api-key header is required")
            }
            Self::Unauthorized(Denial::Bearer) => {
                wording(401, "authentication_error", "Invalid bearer token")
            }
            Self::Unauthorized(_) => wording(401, "authentication_error", "invalid x-api-key"),
            Self::PromptTooLong => wording(
                400,
                "invalid_request_error",
                "prompt is too long: 210000 tokens > 200000 maximum",
            ),
            Self::Invalid(reason) => wording(400, "invalid_request_error", reason),
            Self::TooLarge => wording(
                413,
                "request_too_large",
                "Request exceeds the maximum allowed number of bytes.",
            ),
            Self::NotFound(path) => wording(404, "not_found_error", format!("Not found: {path}")),
        }
    }

    /// As Bedrock runtime puts it: the errors of `InvokeModelWithResponseStream` in its API
    /// reference, and the ones common to all AWS services for credentials.
    pub(super) fn bedrock(&self) -> Wording {
        match self {
            Self::RateLimited => wording(
                429,
                "ThrottlingException",
                "Too many requests, please wait before trying again.",
            ),
            Self::Overloaded => wording(
                503,
                "ServiceUnavailableException",
                "Bedrock is unable to process your request.",
            ),
            Self::Internal => wording(
                500,
                "InternalServerException",
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            Self::ModelStream => wording(
                424,
                "ModelStreamErrorException",
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            Self::Unauthorized(denial) => denial.bedrock(),
            Self::PromptTooLong => {
                wording(400, "ValidationException", "Input is too long for requested model.")
            }
            Self::Invalid(reason) => wording(400, "ValidationException", reason),
            Self::TooLarge => {
                wording(413, "RequestEntityTooLargeException", "Request body is too large.")
            }
            Self::NotFound(_) => wording(404, "UnknownOperationException", ""),
        }
    }
}

impl Denial {
    fn bedrock(self) -> Wording {
        match self {
            Self::Missing => {
                wording(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
            }
            Self::Unknown => wording(
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            Self::Bearer => wording(403, "AccessDeniedException", "The bearer token is invalid."),
            Self::Incomplete => wording(
                403,
                "IncompleteSignatureException",
                "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' \
                 parameters, and 'host' and 'x-amz-date' among the signed headers.",
            ),
            Self::Scope => wording(
                403,
                "InvalidSignatureException",
                "Credential should be scoped to a valid date, region and the service 'bedrock'.",
            ),
        }
    }
}
