//! `hermitcrab status`: what the store and the running gateway say.

mod waiting;

use serde::Serialize;
use serde_json::Value;

use self::waiting::Waiting;
use super::args::Format;
use super::exit::Failure;
use super::output::{self, Spending};
use super::place::Place;
use crate::clock;
use crate::store::{Counts, Store};
use crate::text::count;

/// The most groups that are named.
const MOST_GROUPS: usize = 20;

/// The state as `status --json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    home: String,
    assistant: String,
    /// What the running gateway says; null when none runs.
    live: Option<Value>,
    /// What the store says; null when there is none yet.
    store: Option<StoreFacts>,
}

#[derive(Debug, Serialize)]
struct StoreFacts {
    messages: u64,
    chats: u64,
    groups: u64,
    group_names: Vec<String>,
    waiting_conversations: u64,
    /// At most 20, those with a run first and then those that have waited longest, each with what it waits for.
    waiting: Vec<Waiting>,
    unfinished_runs: u64,
    given_up_runs: u64,
    outbox_pending: u64,
    outbox_failed: u64,
    /// What each group's model calls cost today.
    today: Vec<GroupSpending>,
}

#[derive(Debug, Serialize)]
struct GroupSpending {
    group: String,
    usage: Spending,
}

/// Shows the state.
///
/// # Errors
/// When the store cannot be read, or a gateway runs that does not answer.
pub(super) async fn run(place: &Place, format: Format) -> Result<(), Failure> {
    let status = look(place).await?;
    if format.json {
        return Ok(output::json(&status)?);
    }
    in_words(place, &status).iter().try_for_each(output::line)?;
    Ok(())
}

/// The state in words, a line each.
///
/// # Errors
/// When the store cannot be read, or a gateway runs that does not answer.
pub(super) async fn lines(place: &Place) -> Result<Vec<String>, Failure> {
    Ok(in_words(place, &look(place).await?))
}

async fn look(place: &Place) -> Result<Status, Failure> {
    let live = place.ask_gateway().await?;
    let store = match place.open_store()? {
        Some(store) => Some(facts(place, &store, live.as_ref()).await?),
        None => None,
    };
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        home: place.settings.home.display().to_string(),
        assistant: place.settings.assistant_name.clone(),
        live,
        store,
    })
}

fn in_words(place: &Place, status: &Status) -> Vec<String> {
    words(place, status).into_iter().map(|(name, text)| format!("{name:<9} {text}")).collect()
}

async fn facts(place: &Place, store: &Store, live: Option<&Value>) -> Result<StoreFacts, Failure> {
    let counts: Counts = store.counts().await?;
    let day = clock::system().now().to_zoned(place.zone.clone()).date();
    let today = store.usage_on(day).await?;
    let today = today
        .into_iter()
        .map(|(group, usage)| GroupSpending { group: group.to_string(), usage: usage.into() });
    let groups = store.groups().await?;
    let waiting = waiting::list(store, live, &place.settings.assistant_name).await?;
    Ok(StoreFacts {
        messages: counts.messages,
        chats: counts.chats,
        groups: counts.groups,
        group_names: groups.iter().map(|group| group.name.to_string()).collect(),
        waiting_conversations: counts.pending_conversations + waiting.unseen,
        waiting: waiting.waiting,
        unfinished_runs: counts.runs_unfinished,
        given_up_runs: counts.given_up,
        outbox_pending: counts.outbox_pending,
        outbox_failed: counts.outbox_failed,
        today: today.collect(),
    })
}

fn words(place: &Place, status: &Status) -> Vec<(&'static str, String)> {
    let mut lines = vec![("home", status.home.clone())];
    match (&status.live, &status.store) {
        (Some(live), _) => live_lines(place, live, &mut lines),
        (None, store) => {
            lines.push(("gateway", "none runs; `hermitcrab run` starts one".to_owned()));
            if store.is_some() {
                let sentence = "looked for when a gateway starts; `hermitcrab doctor` tries it now";
                lines.push(("sandbox", sentence.to_owned()));
            }
        }
    }
    match &status.store {
        Some(store) => store_lines(place, store, &mut lines),
        None => {
            let sentence = "none: this is no gateway's home yet; `hermitcrab chat` begins one, --home names another folder";
            lines.push(("store", sentence.to_owned()));
        }
    }
    lines
}

/// What the store says.
fn store_lines(place: &Place, store: &StoreFacts, lines: &mut Vec<(&'static str, String)>) {
    lines.push(("groups", group_line(&store.group_names)));
    lines.push((
        "store",
        format!(
            "{}, {}, {}",
            count(store.messages, "message", "messages"),
            count(store.chats, "chat", "chats"),
            count(store.groups, "group", "groups")
        ),
    ));
    lines.push((
        "waiting",
        format!(
            "{}, {} under way, {} given up",
            count(store.waiting_conversations, "conversation", "conversations"),
            count(store.unfinished_runs, "run", "runs"),
            store.given_up_runs
        ),
    ));
    lines.extend(store.waiting.iter().map(|waiting| ("", waiting.in_words(place))));
    let told = u64::try_from(store.waiting.len()).unwrap_or(u64::MAX);
    if let more @ 1.. = store.waiting_conversations.saturating_sub(told) {
        lines.push(("", format!("… and {more} more")));
    }
    let failed = match store.outbox_failed {
        0 => String::new(),
        failed => format!(", {failed} failed (`hermitcrab outbox` shows them)"),
    };
    lines.push(("outbox", format!("{} to be sent{failed}", store.outbox_pending)));
    for spending in &store.today {
        lines.push(("today", format!("{}: {}", spending.group, spending.usage)));
    }
    if store.today.is_empty() {
        lines.push(("today", "nothing spent".to_owned()));
    }
}

fn group_line(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut line: Vec<&str> = names.iter().take(MOST_GROUPS).map(String::as_str).collect();
    let more = format!("and {} more", names.len().saturating_sub(MOST_GROUPS));
    if names.len() > MOST_GROUPS {
        line.push(&more);
    }
    line.join(", ")
}

/// What the gateway says, as far as this version knows the words.
fn live_lines(place: &Place, live: &Value, lines: &mut Vec<(&'static str, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let number = |name: &str| live.get(name).and_then(Value::as_u64).unwrap_or(0);
    let runs = live.get("runs").and_then(Value::as_array).map_or(0, Vec::len);
    let warm = count(number("warm"), "sandbox", "sandboxes");
    let queued = number("queued");
    lines.push(("gateway", format!("runs; {runs} at work, {queued} queued, {warm} warm")));
    if let Some(sandbox) = live.get("sandbox") {
        let line = sandbox.get("line").map(text).unwrap_or_default();
        let ready = sandbox.get("ready").and_then(Value::as_bool).unwrap_or(false);
        lines.push(("sandbox", if ready { line } else { format!("none: {line}") }));
    }
    for provider in
        live.pointer("/broker/providers").and_then(Value::as_array).into_iter().flatten()
    {
        let part = |name: &str| provider.get(name).and_then(Value::as_str);
        if let (Some(name), Some(fault)) = (part("name"), part("fault")) {
            let until = part("back_off_until").and_then(|until| until.parse().ok());
            let until =
                until.map(|at| format!(", left alone until {}", output::time(at, &place.zone)));
            lines.push(("model", format!("{name} {fault}{}", until.unwrap_or_default())));
        }
    }
    for stuck in live.get("stuck").and_then(Value::as_array).into_iter().flatten() {
        lines.push(("stuck", text(stuck)));
    }
    for channel in live.get("channels").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| channel.get(name).map(text).unwrap_or_default();
        lines.push(("channel", format!("{} {}", part("name"), part("state"))));
    }
    if live.get("disk_full").and_then(Value::as_bool).unwrap_or(false) {
        let said = "full: messages cannot be kept; make room, and the gateway goes on by itself";
        lines.push(("disk", said.to_owned()));
    }
}
