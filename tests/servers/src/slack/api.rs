//! The Web API: who may call what, and how; the methods themselves stand beneath.

mod agents;
mod assistant;
mod chat;
mod content;
mod conversations;
mod files;
mod history;
mod streams;
mod views;
mod workspace;

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use serde_json::Value;

use super::args::Reads::{All, Forms};
use super::args::{Args, Reads};
use super::json::Fields as _;
use super::limit::Rate::{self, Free, PerChannel, PerMinute};
use super::options::Limits;
use super::people::Kind;
use super::refusal::{Answer, Refusal};
use super::serve::{Outcome, json_response};
use super::world::World;

use Scope::{App, OfChannel, OfTypes, One};

/// A method.
struct Method {
    name: &'static str,
    scope: Scope,
    reads: Reads,
    rate: Rate,
    carry_out: fn(&mut World, &Args) -> Answer,
}

/// What the token has to be good for.
#[derive(Clone, Copy)]
enum Scope {
    /// It has to be the app's token.
    App,
    /// Any bot's token.
    None,
    /// This scope.
    One(&'static str),
    /// This for the kind of the conversation: `channels:history`, `im:history`.
    OfChannel(&'static str),
    /// This for every kind that is asked for.
    OfTypes(&'static str),
}

const fn method(
    name: &'static str,
    scope: Scope,
    reads: Reads,
    rate: Rate,
    carry_out: fn(&mut World, &Args) -> Answer,
) -> Method {
    Method { name, scope, reads, rate, carry_out }
}

const CHAT: Scope = One("chat:write");
const FILES: Scope = One("files:write");
const GROUPS: Scope = One("usergroups:read");
const HISTORY: Scope = OfChannel("history");
const LIST: Scope = OfTypes("read");
const REACT: Scope = One("reactions:write");
const READ: Scope = OfChannel("read");
const USERS: Scope = One("users:read");

/// The methods that there are, with the scope, the bodies and the rate that their pages name.
const METHODS: &[Method] = &[
    method("agents.sessions.setStatus", CHAT, All, PerMinute(50), agents::status),
    method("apps.connections.open", App, Forms, PerMinute(20), workspace::connections_open),
    method("auth.test", Scope::None, All, PerMinute(600), workspace::auth_test),
    method("assistant.threads.setStatus", CHAT, All, PerMinute(600), assistant::status),
    method("assistant.threads.setSuggestedPrompts", CHAT, All, PerMinute(50), assistant::prompts),
    method("assistant.threads.setTitle", CHAT, All, PerMinute(50), assistant::title),
    method("bots.info", USERS, Forms, PerMinute(50), workspace::bots_info),
    method("chat.appendStream", CHAT, All, PerMinute(100), streams::append),
    method("chat.delete", CHAT, All, PerMinute(50), chat::delete),
    method("chat.getPermalink", Scope::None, Forms, Free, chat::permalink),
    method("chat.postEphemeral", CHAT, All, PerMinute(100), chat::post_ephemeral),
    method("chat.postMessage", CHAT, All, PerChannel, chat::post_message),
    method("chat.startStream", CHAT, All, PerMinute(20), streams::start),
    method("chat.stopStream", CHAT, All, PerMinute(20), streams::stop),
    method("chat.update", CHAT, All, PerMinute(50), chat::update),
    method("conversations.history", HISTORY, Forms, PerMinute(50), history::history),
    method("conversations.info", READ, Forms, PerMinute(50), conversations::info),
    method("conversations.list", LIST, Forms, PerMinute(20), conversations::list),
    method("conversations.members", READ, Forms, PerMinute(100), conversations::members),
    method("conversations.open", One("im:write"), All, PerMinute(50), conversations::open),
    method("conversations.replies", HISTORY, Forms, PerMinute(50), history::replies),
    method("files.completeUploadExternal", FILES, All, PerMinute(100), files::complete),
    method("files.getUploadURLExternal", FILES, Forms, PerMinute(100), files::upload_url),
    method("files.info", One("files:read"), Forms, PerMinute(100), files::info),
    method("reactions.add", REACT, All, PerMinute(50), workspace::reactions_add),
    method("reactions.get", One("reactions:read"), Forms, PerMinute(50), workspace::reactions_get),
    method("reactions.remove", REACT, All, PerMinute(20), workspace::reactions_remove),
    method("usergroups.list", GROUPS, Forms, PerMinute(20), workspace::usergroups_list),
    method("users.conversations", LIST, Forms, PerMinute(50), conversations::of_bot),
    method("users.info", USERS, Forms, PerMinute(100), workspace::users_info),
    method("users.list", USERS, Forms, PerMinute(20), workspace::users_list),
    method("views.open", Scope::None, All, PerMinute(100), views::open),
    method("views.publish", Scope::None, All, PerMinute(100), views::publish),
    method("views.push", Scope::None, All, PerMinute(100), views::open),
    method("views.update", Scope::None, All, PerMinute(100), views::update),
];

fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// The arguments of a call, as far as the method reads the body.
pub(super) fn read(name: &str, head: &Parts, body: &[u8]) -> Args {
    Args::read(head, body, find(name).map_or(All, |method| method.reads))
}

/// Carries out a call.
pub(super) fn call(world: &mut World, name: &str, args: &Args, token: &str) -> Outcome {
    let Some(method) = find(name) else { return refused(&"unknown_method".into()) };
    if let Err(refusal) = authorise(world, method, args, token) {
        return refused(&refusal);
    }
    if world.options.limits == Limits::Documented
        && let Some(wait) = world.windows.count(name, args.channel(), method.rate)
    {
        return Outcome::rate_limited(wait);
    }
    let mut outcome = match (method.carry_out)(world, args) {
        Ok(mut json) => {
            json.put("ok", true);
            Outcome::done(json_response(&json))
        }
        Err(refusal) => refused(&refusal),
    };
    let scopes = scopes(world, method);
    let value = HeaderValue::from_str(&scopes).expect("scopes are names");
    outcome.response.headers_mut().insert("x-oauth-scopes", value);
    outcome
}

fn refused(refusal: &Refusal) -> Outcome {
    Outcome::refused(json_response(&refusal.json()), &refusal.code)
}

/// What the token of this method was granted.
fn scopes(world: &World, method: &Method) -> String {
    match method.scope {
        App => "connections:write".to_owned(),
        _ => world.options.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(","),
    }
}

fn authorise(world: &World, method: &Method, args: &Args, token: &str) -> Result<(), Refusal> {
    let options = &world.options;
    let is_app = token == options.app_token;
    if token.is_empty() {
        return Err("not_authed".into());
    }
    if !is_app && token != options.bot_token {
        return Err("invalid_auth".into());
    }
    if let Some(code) = &world.revoked {
        return Err(code.clone().into());
    }
    // The one method that tells either kind of token whose it is.
    if is_app != matches!(method.scope, App) && method.name != "auth.test" {
        return Err("not_allowed_token_type".into());
    }
    for needed in needed(world, method.scope, args) {
        if !options.scopes.contains(&needed) {
            return Err(Refusal::scope(&needed, &scopes(world, method)));
        }
    }
    Ok(())
}

/// The scopes that a call needs.
fn needed(world: &World, scope: Scope, args: &Args) -> Vec<String> {
    let of = |kind: Kind, what: &str| format!("{}:{what}", kind.scope_word());
    match scope {
        App | Scope::None => Vec::new(),
        One(scope) => vec![scope.to_owned()],
        OfChannel(what) => {
            world.kind(args.channel()).map(|kind| of(kind, what)).into_iter().collect()
        }
        OfTypes(what) => kinds(args).into_iter().map(|kind| of(kind, what)).collect(),
    }
}

/// The kinds of conversation that `types` names.
fn kinds(args: &Args) -> Vec<Kind> {
    match args.list("types") {
        types if types.is_empty() => vec![Kind::Public],
        types => types.into_iter().filter_map(Kind::from_list_word).collect(),
    }
}

/// Whether the bot has to be in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// It has to be.
    Member,
    /// It may look from outside, unless the conversation is private.
    Anyone,
}

/// The conversation that an argument names; a user stands for the direct messages with them.
fn channel(world: &mut World, id: &str, access: Access) -> Result<String, Refusal> {
    if id.is_empty() {
        return Err(Refusal::missing("channel"));
    }
    let id = if id.starts_with('U') { conversations::direct(world, id)? } else { id.to_owned() };
    let conversation = world.conversation(&id).ok_or("channel_not_found")?;
    match (world.bot_is_in(&id), conversation.kind) {
        (true, _) => {}
        (false, Kind::Public) if access == Access::Anyone => {}
        (false, Kind::Public) => return Err("not_in_channel".into()),
        (false, _) => return Err("channel_not_found".into()),
    }
    if access == Access::Member && conversation.is_archived() {
        return Err("is_archived".into());
    }
    Ok(id)
}

/// One page of a list, and the cursor of the next.
fn page(items: Vec<Value>, args: &Args, default: usize) -> Result<(Vec<Value>, String), Refusal> {
    let from = match args.text("cursor") {
        "" => 0,
        cursor => {
            cursor.strip_prefix("at:").and_then(|at| at.parse().ok()).ok_or("invalid_cursor")?
        }
    };
    let limit = args.number("limit").unwrap_or(default).clamp(1, 1000);
    let more = items.len() > from + limit;
    let page = items.into_iter().skip(from).take(limit).collect();
    Ok((page, if more { format!("at:{}", from + limit) } else { String::new() }))
}
