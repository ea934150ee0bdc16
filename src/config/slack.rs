//! The tokens of Slack: one pair for each workspace.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use super::environment::Environment;
use super::read::url;

const BOT: &str = "SLACK_BOT_TOKEN";
const APP: &str = "SLACK_APP_TOKEN";
const DEFAULT_API_URL: &str = "https://slack.com/api";

/// The Slack workspaces to take part in; without any there is no such channel.
#[derive(Debug, Clone)]
pub struct SlackSettings {
    /// `SLACK_API_URL`, without a slash at the end.
    pub api_url: String,
    /// The workspaces, the nameless one first.
    pub workspaces: Vec<SlackTokens>,
}

/// What the gateway takes part in one workspace with.
#[derive(Debug, Clone)]
pub struct SlackTokens {
    /// The name that tells the pair from others: `sales` of `SLACK_BOT_TOKEN_SALES`.
    pub name: Option<String>,
    /// `SLACK_BOT_TOKEN`, for the Web API.
    pub bot: SecretString,
    /// `SLACK_APP_TOKEN`, for connections only.
    pub app: SecretString,
}

impl SlackTokens {
    /// The names of the two variables that the pair stands in: the bot's and the app's.
    #[must_use]
    pub fn variables(&self) -> (String, String) {
        let end = self.name.as_ref().map(|name| format!("_{}", name.to_uppercase()));
        let end = end.unwrap_or_default();
        (format!("{BOT}{end}"), format!("{APP}{end}"))
    }
}

/// The end of a variable's name that says which workspace it is for.
pub(super) fn workspace_of(name: &str) -> Option<&str> {
    let end = [BOT, APP].into_iter().find_map(|token| name.strip_prefix(token)?.strip_prefix('_'));
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    end.filter(|end| (1..=32).contains(&end.len()) && end.bytes().all(plain))
}

/// Reads the pairs; half a pair is a fault, and so is an app's token that is there twice: two connections of one app
/// would each get half of what is said.
pub(super) fn settings(env: &mut Environment<'_>) -> SlackSettings {
    let api_url = env.discreet("SLACK_API_URL", "a URL such as https://slack.com/api", url);
    let names: BTreeSet<Option<String>> =
        env.names().map(|name| workspace_of(name).map(str::to_owned)).chain([None]).collect();
    let mut workspaces: Vec<SlackTokens> = Vec::new();
    for name in names {
        let variable = |token: &str| match &name {
            Some(name) => format!("{token}_{name}"),
            None => token.to_owned(),
        };
        let (bot_variable, app_variable) = (variable(BOT), variable(APP));
        let bot = token(env, &bot_variable, "a bot's token, xoxb-…", "xoxb-");
        let app = token(env, &app_variable, "an app-level token, xapp-…", "xapp-");
        let (bot, app) = match (bot, app) {
            (Some(bot), Some(app)) => (bot, app),
            (None, None) => continue,
            (None, Some(_)) => {
                env.missing(&bot_variable, &format!("to be set, because {app_variable} is"));
                continue;
            }
            (Some(_), None) => {
                env.missing(&app_variable, &format!("to be set, because {bot_variable} is"));
                continue;
            }
        };
        let same = |other: &SlackTokens| other.app.expose_secret() == app.expose_secret();
        if workspaces.iter().any(same) {
            env.missing(&app_variable, "the token of an app that no other workspace here uses");
            continue;
        }
        workspaces.push(SlackTokens { name: name.map(|name| name.to_lowercase()), bot, app });
    }
    SlackSettings { api_url: api_url.unwrap_or_else(|| DEFAULT_API_URL.to_owned()), workspaces }
}

/// A token of one kind; it becomes part of a header.
fn token(
    env: &mut Environment<'_>,
    name: &str,
    expected: &str,
    prefix: &str,
) -> Option<SecretString> {
    env.discreet(name, expected, |text| {
        let is_token = text.starts_with(prefix) && text.bytes().all(|b| b.is_ascii_graphic());
        is_token.then(|| SecretString::from(text))
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::config::{ConfigError, Settings};

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".env"), file).unwrap();
        let process = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let names = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
        Settings::read(home.path(), &process, names).whole()
    }

    fn faults(file: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let error = read(file, variables).unwrap_err();
        error.faults().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn slack_takes_pairs_of_tokens_one_for_each_workspace() {
        let file = "SLACK_BOT_TOKEN_SALES=xoxb-2\nSLACK_APP_TOKEN_SALES=xapp-2\n";
        let own = [("SLACK_BOT_TOKEN", "xoxb-1"), ("SLACK_APP_TOKEN", "xapp-1")];
        let third = [("SLACK_BOT_TOKEN_HQ", "xoxb-3"), ("SLACK_APP_TOKEN_HQ", "xapp-3")];
        let slack = read(file, &[own, third].concat()).unwrap().slack;
        assert_eq!(slack.api_url, "https://slack.com/api");
        let told: Vec<_> =
            slack.workspaces.iter().map(|w| (w.name.as_deref(), w.bot.expose_secret())).collect();
        assert_eq!(told, [(None, "xoxb-1"), (Some("hq"), "xoxb-3"), (Some("sales"), "xoxb-2")]);
    }

    #[test]
    fn slack_takes_no_half_pairs_and_no_app_twice() {
        for (variables, expected) in [
            (
                vec![("SLACK_BOT_TOKEN", "xoxb-1")],
                vec!["SLACK_APP_TOKEN: expected to be set, because SLACK_BOT_TOKEN is"],
            ),
            (
                vec![("SLACK_APP_TOKEN_HQ", "xapp-1")],
                vec!["SLACK_BOT_TOKEN_HQ: expected to be set, because SLACK_APP_TOKEN_HQ is"],
            ),
            (
                vec![("SLACK_BOT_TOKEN", "xapp-1"), ("SLACK_APP_TOKEN", "xapp-1")],
                vec!["SLACK_BOT_TOKEN: expected a bot's token, xoxb-…"],
            ),
            (
                vec![
                    ("SLACK_BOT_TOKEN", "xoxb-1"),
                    ("SLACK_APP_TOKEN", "xapp-1"),
                    ("SLACK_BOT_TOKEN_HQ", "xoxb-2"),
                    ("SLACK_APP_TOKEN_HQ", "xapp-1"),
                ],
                vec![
                    "SLACK_APP_TOKEN_HQ: expected the token of an app that no other workspace here uses",
                ],
            ),
        ] {
            assert_eq!(faults("", &variables), expected);
        }
    }
}
