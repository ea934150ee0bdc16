//! The manifest of the app, which Slack's "create an app from a manifest" takes as JSON.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::scopes::BOT_SCOPES;

/// Where apps are made and changed.
pub(crate) const APPS: &str = "https://api.slack.com/apps";
/// The longest name of an app, in characters: Slack's page of the app manifest.
const MOST_NAME: usize = 35;

/// What the app wants to hear of. Nothing is done at `app_home_opened` and `app_context_changed`, which Slack's page of
/// the agent view asks for.
const BOT_EVENTS: &[&str] = &[
    "agent_session_stopped",
    "app_context_changed",
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    "channel_rename",
    "group_rename",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "reaction_added",
    "tokens_revoked",
];

/// Where an app is made from a manifest that the address brings along.
pub(crate) fn link(manifest: &Value) -> String {
    let manifest = utf8_percent_encode(&manifest.to_string(), NON_ALPHANUMERIC).to_string();
    format!("{APPS}?new_app=1&manifest_json={manifest}")
}

/// The manifest of an app of this name, over Socket Mode: it needs no address of ours.
pub(crate) fn manifest(name: &str) -> Value {
    let name: String = name.chars().take(MOST_NAME).collect();
    let scopes: Vec<&str> = BOT_SCOPES.iter().map(|(scope, _)| *scope).collect();
    let prompts = [
        ("What can you do?", "What can you help me with?"),
        ("What is new here?", "Summarise what was said here today."),
    ];
    let prompts = prompts.map(|(title, message)| json!({ "title": title, "message": message }));
    json!({
        "display_information": {
            "name": name,
            "description": "An assistant of your own, by Hermitcrab",
        },
        "features": {
            "agent_view": {
                "agent_description": "Answers, and does real work in a sandbox of its own.",
                "suggested_prompts": prompts,
            },
            "app_home": {
                "home_tab_enabled": false,
                "messages_tab_enabled": true,
                "messages_tab_read_only_enabled": false,
            },
            "bot_user": { "display_name": name, "always_online": true },
        },
        "oauth_config": { "scopes": { "bot": scopes } },
        "settings": {
            "event_subscriptions": { "bot_events": BOT_EVENTS },
            "interactivity": { "is_enabled": true },
            "org_deploy_enabled": false,
            "socket_mode_enabled": true,
            "token_rotation_enabled": false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_slack_takes() {
        let manifest = manifest(&"é".repeat(64));
        assert_eq!(manifest["display_information"]["name"], "é".repeat(35));
        assert_eq!(manifest["features"]["bot_user"]["display_name"], "é".repeat(35));
        let description = manifest["display_information"]["description"].as_str().unwrap();
        assert!(description.chars().count() <= 140);
        assert_eq!(manifest["settings"]["socket_mode_enabled"], true);
        assert!(BOT_EVENTS.is_sorted());
    }

    #[test]
    fn the_link_brings_all_of_it_along() {
        let manifest = manifest("Andy & Söhne");
        let link = link(&manifest);
        let brought = link.strip_prefix("https://api.slack.com/apps?new_app=1&manifest_json=");
        let brought = percent_encoding::percent_decode_str(brought.unwrap()).decode_utf8().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&brought).unwrap(), manifest);
        assert!(link.is_ascii() && link.len() < 8_000, "{}", link.len());
    }

    /// Slack refuses a subscription without the scope that its page names.
    #[test]
    fn every_event_may_be_heard() {
        for event in BOT_EVENTS {
            let scope = match *event {
                "app_mention" => "app_mentions:read",
                "message.channels" => "channels:history",
                "message.groups" => "groups:history",
                "message.im" => "im:history",
                "message.mpim" => "mpim:history",
                "reaction_added" => "reactions:read",
                "channel_rename" => "channels:read",
                "group_rename" => "groups:read",
                "agent_session_stopped" | "app_context_changed" => "assistant:write",
                _ => continue,
            };
            assert!(BOT_SCOPES.iter().any(|(granted, _)| *granted == scope), "{event}");
        }
    }
}
