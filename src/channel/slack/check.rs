//! Trying the tokens: whether they are taken, what they are allowed, and whether the bot is where it is wanted.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::time::timeout;

use super::api::{self, Api};
use super::fault::ApiError;
use super::json::{is_true, word};
use super::limit::Haste;
use super::pace::Pace;
use super::scopes::Scopes;
use super::workspace::parts;
use crate::config::{SlackSettings, SlackTokens};
use crate::model::{ChannelName, ChatId};

/// How long Slack may take for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer that is read, in bytes.
const MOST_ANSWER: usize = 64 * 1024;

/// What became of trying a pair of tokens.
#[derive(Debug)]
pub(crate) struct Tried {
    /// The bot that the one token is of, or why Slack does not take it.
    pub(crate) bot: Result<Bot, Trouble>,
    /// Whether the other opens connections, or why not.
    pub(crate) connects: Result<(), Trouble>,
    /// The registered chats of the workspace that the bot is not in, each with why.
    pub(crate) absent_from: Vec<(ChatId, String)>,
}

/// Why a token could not be tried, or is no good.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// What happened, for people.
    pub(crate) why: String,
    /// Whether it is Slack that says so; else nobody knows whether the token is good.
    pub(crate) is_refusal: bool,
}

/// A bot in its workspace.
#[derive(Debug)]
pub(crate) struct Bot {
    /// The workspace's name.
    pub(crate) team: String,
    /// The workspace's id.
    pub(crate) team_id: String,
    /// What the bot is called there.
    pub(crate) name: String,
    /// What it needs and may not do, each with what it is needed for.
    pub(crate) lacks: Vec<(&'static str, &'static str)>,
}

/// Tries every pair of tokens, in the order of the settings; `chats` are those that are registered.
pub(crate) async fn check(settings: &SlackSettings, chats: &[ChatId]) -> Vec<Tried> {
    let tls = api::tls();
    let mut tried = Vec::new();
    for tokens in &settings.workspaces {
        let api = Api::new(&settings.api_url, tokens, &tls, Pace::default());
        let bot = who(&settings.api_url, tokens, &tls).await.map_err(Trouble::from);
        let connects = api.socket_url().await.map(drop).map_err(Trouble::from);
        let mut absent_from = Vec::new();
        if let Ok(bot) = &bot {
            for chat in chats.iter().filter(|chat| is_of(chat, &bot.team_id)) {
                let absent = is_absent(&api, chat).await;
                absent_from.extend(absent.map(|why| (chat.clone(), why)));
            }
        }
        tried.push(Tried { bot, connects, absent_from });
    }
    tried
}

/// Who the bot is and what it may do: `auth.test`, of whose answer the header `x-oauth-scopes` is the half.
async fn who(url: &str, tokens: &SlackTokens, tls: &ClientConfig) -> Result<Bot, ApiError> {
    let client = Client::builder(TokioExecutor::new()).build(api::connector(tls));
    let bearer = format!("Bearer {}", tokens.bot.expose_secret());
    let mut bearer =
        HeaderValue::try_from(bearer).map_err(|_odd| ApiError::failed("the token is odd"))?;
    bearer.set_sensitive(true);
    let request = hyper::Request::get(format!("{url}/auth.test")).header(AUTHORIZATION, bearer);
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|_odd| ApiError::failed("SLACK_API_URL is odd"))?;
    let answer = async {
        let answer = client.request(request).await;
        let answer = answer.map_err(|_error| ApiError::failed("Slack cannot be reached"))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MOST_ANSWER).collect().await;
        let body = body.map_err(|_error| ApiError::failed("the connection broke"))?.to_bytes();
        let scopes = head.headers.get("x-oauth-scopes").and_then(|value| value.to_str().ok());
        Ok::<_, ApiError>((scopes.map(Scopes::parse).unwrap_or_default(), body))
    };
    let late = |_elapsed| ApiError::failed("no answer in time");
    let (scopes, body) = timeout(PATIENCE, answer).await.map_err(late)??;
    let unread = |_odd| ApiError::failed("an answer that cannot be read");
    let answer: Value = serde_json::from_slice(&body).map_err(unread)?;
    if !is_true(&answer, "ok") {
        let code = word(&answer, "error").unwrap_or("unknown_error").to_owned();
        return Err(ApiError::Refused { code });
    }
    let text = |name: &str| word(&answer, name).unwrap_or("?").to_owned();
    let (team, team_id, name) = (text("team"), text("team_id"), text("user"));
    Ok(Bot { team, team_id, name, lacks: scopes.missing() })
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        let is_refusal = matches!(error, ApiError::Refused { .. });
        Self { why: error.to_string(), is_refusal }
    }
}

/// Whether a chat is of a workspace.
fn is_of(chat: &ChatId, team: &str) -> bool {
    *chat.channel() == ChannelName::slack() && parts(chat).is_some_and(|(of, _)| of == team)
}

/// Why the bot does not hear what is said in a chat; `None` when it does.
async fn is_absent(api: &Api, chat: &ChatId) -> Option<String> {
    let (_, channel) = parts(chat)?;
    match api.read("conversations.info", &[("channel", channel)], Haste::Now).await {
        Ok(answer) => {
            let channel = answer.get("channel")?;
            let there = ["is_member", "is_im", "is_mpim"].iter().any(|is| is_true(channel, is));
            (!there).then(|| format!("the bot is not in #{}", word(channel, "name").unwrap_or("?")))
        }
        Err(error) => Some(error.to_string()),
    }
}
