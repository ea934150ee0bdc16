//! Methods that read what was said, page by page.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Access, channel};
use crate::slack::args::Args;
use crate::slack::json::Fields as _;
use crate::slack::message::Message;
use crate::slack::options::HistoryFrom;
use crate::slack::refusal::{Answer, Refusal};
use crate::slack::world::World;

/// The largest page of a history, as Slack documents it.
const MOST_HISTORY: usize = 999;
/// The largest page of a thread, and its default.
const MOST_REPLIES: usize = 1000;

/// `conversations.history`
pub(super) fn history(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    let shown =
        |message: &&Message| !message.is_reply() || message.subtype() == Some("thread_broadcast");
    let within = |message: &&Message| in_range(message, args);
    let mut found: Vec<&Message> =
        world.messages(&channel).iter().filter(shown).filter(within).collect();
    let oldest_only = !args.text("oldest").is_empty() && args.text("latest").is_empty();
    let upwards = world.options.history_from == HistoryFrom::Oldest && oldest_only;
    let limit = args.number("limit").unwrap_or(100).clamp(1, MOST_HISTORY);
    if !upwards {
        found.reverse();
    }
    let next = cut(&mut found, args, limit, upwards)?;
    if upwards {
        found.reverse();
    }
    let mut answer = json!({
        "messages": written(&found, args), "has_more": next.is_some(), "pin_count": 0,
    });
    if let Some(next) = next {
        answer.put("response_metadata", json!({ "next_cursor": next }));
    }
    Ok(answer)
}

/// `conversations.replies`
pub(super) fn replies(world: &mut World, args: &Args) -> Answer {
    let channel = channel(world, args.text("channel"), Access::Member)?;
    let named = world.message(&channel, args.need("ts")?).ok_or("thread_not_found")?;
    let root = named.thread_ts().unwrap_or(named.ts()).to_owned();
    let mut found = world.thread(&channel, &root);
    found.retain(|message| message.ts() == root || in_range(message, args));
    let limit = args.number("limit").unwrap_or(MOST_REPLIES).clamp(1, MOST_REPLIES);
    let next = cut(&mut found, args, limit, true)?;
    let mut answer = json!({ "messages": written(&found, args), "has_more": next.is_some() });
    if let Some(next) = next {
        answer.put("response_metadata", json!({ "next_cursor": next }));
    }
    Ok(answer)
}

fn in_range(message: &Message, args: &Args) -> bool {
    let (oldest, latest) = (args.text("oldest"), args.text("latest"));
    let at = |bound: &str| args.flag("inclusive") && number(message.ts()) == number(bound);
    (oldest.is_empty() || number(message.ts()) > number(oldest) || at(oldest))
        && (latest.is_empty() || number(message.ts()) < number(latest) || at(latest))
}

/// A ts, or a bound that somebody wrote shorter, in microseconds.
fn number(ts: &str) -> u64 {
    let (seconds, fraction) = ts.split_once('.').unwrap_or((ts, ""));
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros = |digits: &str| digits.parse::<u64>().unwrap_or(0);
    micros(seconds).saturating_mul(1_000_000).saturating_add(micros(&fraction))
}

/// Leaves one page, and says where the next begins. What is said in between moves no page.
fn cut(
    found: &mut Vec<&Message>,
    args: &Args,
    limit: usize,
    upwards: bool,
) -> Result<Option<String>, Refusal> {
    let cursor = args.text("cursor");
    if !cursor.is_empty() {
        let decoded = BASE64_STANDARD.decode(cursor).ok().and_then(|c| String::from_utf8(c).ok());
        let decoded = decoded.ok_or("invalid_cursor")?;
        let from = decoded.strip_prefix("next_ts:").ok_or("invalid_cursor")?;
        found.retain(|message| if upwards { message.ts() >= from } else { message.ts() <= from });
    }
    let next =
        found.get(limit).map(|message| BASE64_STANDARD.encode(format!("next_ts:{}", message.ts())));
    found.truncate(limit);
    Ok(next)
}

/// Messages as a page shows them: of metadata only the type, unless all of it is asked for.
fn written(messages: &[&Message], args: &Args) -> Vec<Value> {
    let all = args.flag("include_all_metadata");
    let write = |message: &&Message| {
        let mut json = message.json().clone();
        if !all && !json.at("metadata").is_null() {
            json.put("metadata", json!({ "event_type": json.at("metadata").at("event_type") }));
        }
        json
    };
    messages.iter().map(write).collect()
}
