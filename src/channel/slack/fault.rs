//! What goes wrong with Slack, in the few kinds that call for different things to be done.

use std::time::Duration;

use slack_morphism::errors::SlackClientError;

/// A call of the Web API that failed. What Slack's answer says besides a code stays out of it: it may hold content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    /// Slack refused: nothing was done.
    #[error("{}", in_words(code))]
    Refused {
        /// Slack's word for it; where a scope is missing, with its name.
        code: String,
    },
    /// Too many calls of this kind: nothing was done.
    #[error("Slack wants fewer calls for {} s", after.as_secs())]
    Limited {
        /// When it may be tried again.
        after: Duration,
    },
    /// No answer, or none that can be read: it may have been done.
    #[error("{what}")]
    Failed {
        /// What happened.
        what: String,
    },
}

/// How long to wait when Slack does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// The longest that is waited, whatever it says.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Codes after which no call with this token will work until a person has done something.
const FATAL: [&str; 13] = [
    "access_denied",
    "account_inactive",
    "app_not_found",
    "invalid_auth",
    "link_disabled",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "org_login_required",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
    "user_removed_from_team",
];

/// Those of them that say so of the token, whatever it was used for; the others may be about one method alone.
const REVOKED: [&str; 6] = [
    "account_inactive",
    "invalid_auth",
    "not_authed",
    "token_expired",
    "token_revoked",
    "user_removed_from_team",
];

/// Codes by which Slack says that an app, as it was made, may not use a method.
const NOT_FOR_THIS_APP: [&str; 8] = [
    "access_denied",
    "feature_not_enabled",
    "method_deprecated",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authorized",
    "unknown_method",
];

/// Codes by which Slack says that it does not take a message in blocks.
const NO_BLOCKS: [&str; 3] = ["invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"];

/// Codes by which Slack says that it does not take a text, in whatever form.
const NOT_THIS_TEXT: [&str; 4] =
    ["markdown_text_too_long", "metadata_too_large", "msg_too_long", "no_text"];

/// Codes by which Slack says that nothing of ours can be put into a chat, be it a message, a file or a reaction; to them
/// belong all that begin with [`RESTRICTED`].
const NOTHING_THERE: [&str; 5] =
    ["channel_is_archived", "channel_not_found", "is_archived", "is_inactive", "not_in_channel"];
const RESTRICTED: &str = "restricted_action";

/// Codes that tell of a fault at Slack's, after which nobody knows what was done.
const PASSING: [&str; 4] =
    ["fatal_error", "internal_error", "request_timeout", "service_unavailable"];

impl ApiError {
    /// A failure that leaves open what was done.
    pub(super) fn failed(what: impl Into<String>) -> Self {
        Self::Failed { what: what.into() }
    }

    /// Slack's word, where it said one.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code } => code.split(' ').next(),
            Self::Limited { .. } | Self::Failed { .. } => None,
        }
    }

    /// Whether it says that this app may not do such a thing, wherever it is.
    pub(super) fn is_about_the_app(&self) -> bool {
        self.code().is_some_and(|code| NOT_FOR_THIS_APP.contains(&code))
    }

    /// Whether it says that a message in blocks is not taken, and one without may be.
    pub(super) fn is_about_blocks(&self) -> bool {
        self.code().is_some_and(|code| NO_BLOCKS.contains(&code))
    }

    /// Whether it says that a text is not taken, and another may be.
    pub(super) fn is_about_the_text(&self) -> bool {
        self.is_about_blocks() || self.code().is_some_and(|code| NOT_THIS_TEXT.contains(&code))
    }

    /// Whether it says that nothing of ours is taken in a chat.
    pub(super) fn is_about_the_chat(&self) -> bool {
        self.code()
            .is_some_and(|code| NOTHING_THERE.contains(&code) || code.starts_with(RESTRICTED))
    }

    /// Why something was not taken, for the people of the chat: without Slack's word for it.
    pub(super) fn for_chat(&self) -> &'static str {
        self.code().and_then(hint).unwrap_or("Slack does not take it")
    }

    /// The word by which Slack says that a token is no good, whatever it is used for.
    pub(super) fn revoked(&self) -> Option<&str> {
        self.code().filter(|code| REVOKED.contains(code))
    }

    /// The word by which Slack does not let us connect, until a person has done something.
    pub(super) fn fatal(&self) -> Option<&str> {
        self.code().filter(|code| FATAL.contains(code))
    }
}

impl From<SlackClientError> for ApiError {
    fn from(error: SlackClientError) -> Self {
        match error {
            SlackClientError::ApiError(error) if PASSING.contains(&error.code.as_str()) => {
                Self::failed(error.code)
            }
            SlackClientError::ApiError(error) if error.code == "ratelimited" => {
                Self::Limited { after: DEFAULT_WAIT }
            }
            SlackClientError::ApiError(error) => {
                let needed = error.http_response_body.as_deref().and_then(needed_scope);
                let needed = needed.map(|scope| format!(" (needed: {scope})")).unwrap_or_default();
                Self::Refused { code: format!("{}{needed}", error.code) }
            }
            SlackClientError::RateLimitError(error) => {
                Self::Limited { after: error.retry_after.unwrap_or(DEFAULT_WAIT).min(LONGEST_WAIT) }
            }
            SlackClientError::HttpError(error) => {
                Self::failed(format!("HTTP {}", error.status_code.as_u16()))
            }
            SlackClientError::HttpProtocolError(_) => Self::failed("the connection broke"),
            _ => Self::failed("an answer that cannot be read"),
        }
    }
}

/// The scope that a refusal names.
fn needed_scope(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    body.get("needed")?.as_str().map(|scope| scope.chars().take(100).collect())
}

/// Slack's word with what a person can do about it, where that is known.
fn in_words(code: &str) -> String {
    match hint(code.split(' ').next().unwrap_or(code)) {
        Some(hint) => format!("{code}: {hint}"),
        None => code.to_owned(),
    }
}

/// What a word of Slack's means, and what a person can do about it.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "channel_not_found" => "there is no such channel, or the bot may not see it",
        "file_uploads_disabled" => "the workspace takes no files",
        "invalid_auth" => "Slack does not know the token",
        "invalid_name" => "the workspace has no such emoji",
        "is_archived" => "the channel is archived",
        "message_not_found" => "the message is gone",
        "missing_scope" => "the app lacks a scope; add it and install the app again",
        "msg_too_long" => "the message is too long for Slack",
        "not_allowed_token_type" => "it is a token of another kind",
        "not_in_channel" => "the bot is not in the channel; invite it there",
        "restricted_action" => "the workspace does not let the bot post there",
        "storage_limit_reached" => "the workspace has no room for files",
        "token_revoked" | "account_inactive" => "the app was removed; install it again",
        "too_many_emoji" | "too_many_reactions" => "the message takes no more reactions",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whom_it_is_about() {
        for (code, fatal, revoked) in [
            ("token_revoked", true, true),
            ("no_permission", true, false),
            ("missing_scope (needed: chat:write)", false, false),
            ("not_in_channel", false, false),
        ] {
            let error = ApiError::Refused { code: code.to_owned() };
            assert_eq!((error.fatal().is_some(), error.revoked().is_some()), (fatal, revoked));
            assert!(error.to_string().starts_with(code));
        }
        assert_eq!(ApiError::failed("invalid_auth").fatal(), None);
    }

    #[test]
    fn what_is_refused_for_itself_is_told_from_a_chat_that_takes_nothing() {
        for (code, text, chat, words) in [
            ("msg_too_long", true, false, "the message is too long for Slack"),
            ("invalid_blocks", true, false, "Slack does not take it"),
            ("missing_scope (needed: files:write)", false, false, "the app lacks a scope; "),
            ("invalid_name", false, false, "the workspace has no such emoji"),
            ("is_archived", false, true, "the channel is archived"),
            ("not_in_channel", false, true, "the bot is not in the channel"),
            ("channel_not_found", false, true, "there is no such channel"),
            ("restricted_action_read_only_channel", false, true, "Slack does not take it"),
            ("a_new_code", false, false, "Slack does not take it"),
        ] {
            let error = ApiError::Refused { code: code.to_owned() };
            let about = (error.is_about_the_text(), error.is_about_the_chat());
            assert_eq!(about, (text, chat), "{code}");
            assert!(error.for_chat().starts_with(words), "{code}: {}", error.for_chat());
        }
    }

    #[test]
    fn the_scope_that_is_missing_is_named_and_nothing_else() {
        let body = r#"{"ok":false,"error":"missing_scope","needed":"users:read","provided":"x"}"#;
        assert_eq!(needed_scope(body).as_deref(), Some("users:read"));
        for body in ["", "[]", r#"{"needed":7}"#] {
            assert_eq!(needed_scope(body), None);
        }
    }
}
