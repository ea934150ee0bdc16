//! What a call of a group with a budget may ask for: only what the list of prices covers.
//!
//! Fast mode, a chosen region, long contexts under a beta, code that the provider runs, other models that it asks on
//! the way: all are priced differently, and new ones are invented. So what is not known to cost nothing extra is
//! refused, for these groups only (<https://platform.claude.com/docs/en/about-claude/pricing>, as of November 2026).

use super::policy::{Rule, Tools};
use super::reply::Reply;
use super::request::ModelRequest;
use crate::model::GroupName;
use crate::text::one_line;

/// The most characters of what the sandbox wrote that are told.
const TOLD: usize = 80;

/// Members of a request that change nothing about the price of a token.
const PLAIN_MEMBERS: [&str; 18] = [
    "model",
    "messages",
    "max_tokens",
    "system",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "tools",
    "tool_choice",
    "thinking",
    "metadata",
    "mcp_servers",
    "cache_control",
    "output_config",
    "output_format",
    "anthropic_version",
];

/// Members that may be there with one of these values, which is what holds without them.
const DEFAULTS: [(&str, &[&str]); 3] = [
    ("speed", &["standard"]),
    ("inference_geo", &["global"]),
    ("service_tier", &["auto", "standard_only"]),
];

/// Beta features without a price of their own, by their names without the date.
const PLAIN_BETAS: [&str; 18] = [
    "adaptive-thinking-",
    "advanced-tool-use-",
    "claude-code-",
    "computer-use-",
    "context-management-",
    "effort-",
    "extended-cache-ttl-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "max-tokens-",
    "output-128k-",
    "pdfs-",
    "prompt-caching-",
    "search-results-",
    "structured-outputs-",
    "token-counting-",
    "token-efficient-tools-",
    "tool-search-tool-",
];

/// Refuses a call whose price would not be the list's.
pub(super) fn check(call: &ModelRequest, group: &GroupName) -> Result<(), Reply> {
    let Some(option) = dear_option(call) else { return Ok(()) };
    Err(Reply::refused(&format!(
        "the group has a daily budget, and what {} costs is not known here, so the budget could not stop it; leave it \
         out, or lift the budget: hermitcrab group set {group} --budget -",
        one_line(&option, TOLD)
    )))
}

/// The first option that may cost something else.
fn dear_option(call: &ModelRequest) -> Option<String> {
    if call.member::<Tools<Inside>>("tools").is_some_and(|tools| tools.is_err()) {
        return Some("a tool that the provider runs".to_owned());
    }
    let plain_beta = |beta: &str| PLAIN_BETAS.iter().any(|plain| beta.starts_with(plain));
    if let Some(beta) = call.betas.iter().find(|beta| !plain_beta(beta)) {
        return Some(format!("the beta feature {beta}"));
    }
    let dear = call.members().find(|name| !is_plain(call, name))?;
    Some(format!("the option \"{dear}\""))
}

fn is_plain(call: &ModelRequest, name: &str) -> bool {
    if PLAIN_MEMBERS.contains(&name) {
        return true;
    }
    if name == "context_management" {
        return matches!(call.member::<ContextManagement>(name), Some(Ok(_)));
    }
    let value = call.member::<Option<String>>(name);
    DEFAULTS.iter().filter(|(known, _)| *known == name).any(|(_, values)| match &value {
        Some(Ok(Some(value))) => values.contains(&value.as_str()),
        Some(Ok(None)) => true,
        Some(Err(_)) | None => false,
    })
}

/// Edits that leave something out; summing up is done by a call of its own that is billed apart.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextManagement {
    #[serde(rename = "edits")]
    _edits: Option<Tools<Clearing>>,
}

/// Tools that the provider does not run itself, or runs for nothing.
enum Inside {}

impl Rule for Inside {
    fn allows(kind: Option<&str>) -> bool {
        kind.is_none_or(|kind| !kind.starts_with("code_execution"))
    }
}

enum Clearing {}

impl Rule for Clearing {
    fn allows(kind: Option<&str>) -> bool {
        kind.is_some_and(|kind| kind.starts_with("clear_"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;
    use serde_json::{Value, json};

    use super::super::request::Endpoint;
    use super::*;

    fn dear(body: Value, betas: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-beta", betas.parse().unwrap());
        let bytes = Bytes::from(body.to_string());
        dear_option(&ModelRequest::parse(Endpoint::Messages, &headers, bytes, "m").unwrap())
    }

    #[test]
    fn what_the_list_covers_is_allowed() {
        for (body, betas) in [
            (json!({"max_tokens": 1, "messages": [], "tools": [], "thinking": {}}), ""),
            (json!({"speed": "standard", "inference_geo": null, "service_tier": "auto"}), ""),
            (json!({"inference_geo": "global", "service_tier": "standard_only"}), ""),
            (json!({"tools": [{"name": "a"}, {"type": "bash_20250124"}, {"type": null}]}), ""),
            (json!({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}), ""),
            (json!({}), "interleaved-thinking-2025-05-14,context-management-2025-06-27"),
        ] {
            assert_eq!(dear(body.clone(), betas), None, "{body} {betas}");
        }
    }

    #[test]
    fn what_is_priced_differently_is_named() {
        for (body, betas, named) in [
            (json!({"speed": "fast"}), "", "speed"),
            (json!({"speed": 1}), "", "speed"),
            (json!({"inference_geo": "us"}), "", "inference_geo"),
            (json!({"service_tier": "priority"}), "", "service_tier"),
            (json!({"container": "x"}), "", "container"),
            (json!({"fallbacks": []}), "", "fallbacks"),
            (json!({"anthropic_beta": ["context-1m-2025-08-07"]}), "", "anthropic_beta"),
            (json!({"tools": [{"type": "code_execution_20250825"}]}), "", "provider runs"),
            (
                json!({"context_management": {"edits": [{"type": "compact_20260112"}]}}),
                "",
                "context",
            ),
            (json!({"context_management": {"edits": [], "more": 1}}), "", "context"),
            (json!({}), "context-1m-2025-08-07", "context-1m"),
            (json!({}), "effort-2025-11-24,fast-mode-2026-02-01", "fast-mode"),
        ] {
            let dear = dear(body.clone(), betas).unwrap_or_default();
            assert!(dear.contains(named), "{body} {betas}: {dear}");
        }
    }
}
