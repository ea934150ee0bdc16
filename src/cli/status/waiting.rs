//! Why each conversation that waits for an answer does: what the store knows, and what the running gateway adds.
//!
//! A message that no router has looked at yet is looked at here as it would: it waits as well.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::cli::exit::Failure;
use crate::cli::output;
use crate::cli::place::Place;
use crate::clock;
use crate::model::Conversation;
use crate::store::{RunRow, RunState, Store};
use crate::text;
use crate::trigger::{self, Rule};

/// The most conversations that are told of.
const MOST: usize = 20;
/// The most conversations with messages that no router has seen, which are looked at.
const UNSEEN: usize = 256;
/// How many of the newest runs are looked through for the failure that a conversation pauses after.
const LATELY: usize = 1000;
/// The most characters of why a run failed.
const ERROR_CHARS: usize = 200;

/// A conversation that waits, as `status --json` shows it. The names are part of the interface.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Waiting {
    conversation: String,
    group: String,
    waits_for: WaitsFor,
}

/// What a conversation waits for.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum WaitsFor {
    /// The end of its run, which is at work.
    Run {
        run: u64,
        attempt: u32,
        #[serde(serialize_with = "as_text")]
        since: Timestamp,
    },
    /// A sandbox: for its run, or before it can have one.
    Sandbox {
        run: Option<u64>,
        #[serde(serialize_with = "as_text_if_any")]
        since: Option<Timestamp>,
    },
    /// The model's provider, which is left alone for a while.
    Provider { run: u64, provider: Provider },
    /// The end of the pause after a failed run.
    Retry {
        #[serde(serialize_with = "as_text")]
        at: Timestamp,
        failed_attempt: Option<u32>,
        error: Option<String>,
    },
    /// Its turn.
    Turn { ahead: usize },
    /// The router, which sees it with its next look.
    Router,
    /// A gateway; `run` is what the last one left unfinished.
    Gateway { run: Option<u64> },
}

/// A provider that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Provider {
    name: String,
    fault: String,
    #[serde(serialize_with = "as_text")]
    until: Timestamp,
}

/// What the running gateway says, as far as somebody may wait for it.
#[derive(Debug)]
struct Live {
    queue: Vec<String>,
    lacks_sandbox: bool,
    /// The provider that is asked again first, while every one is left alone.
    provider: Option<Provider>,
}

fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn as_text_if_any<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}

/// The conversations that wait.
#[derive(Debug)]
pub(super) struct List {
    /// At most 20: those with a run first, then those that wait for one, longest first.
    pub(super) waiting: Vec<Waiting>,
    /// How many more wait than the router has noted: nobody has looked at their messages yet.
    pub(super) unseen: u64,
}

/// The conversations that wait for an answer of this assistant.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn list(
    store: &Store,
    live: Option<&Value>,
    assistant: &str,
) -> Result<List, Failure> {
    let now = clock::system().now();
    let mut live = live.map(|live| Live::read(live, now));
    let runs = store.unfinished_runs().await?;
    if let Some(live) = &mut live {
        // The gateway was asked before the store: who has a run by now is ahead of nobody.
        let has_run =
            |queued: &String| runs.iter().any(|run| run.conversation.to_string() == *queued);
        live.queue.retain(|queued| !has_run(queued));
    }
    let due = store.due(MOST).await?;
    let is_later = |at: &Timestamp| *at > now;
    let pauses = due.iter().filter_map(|due| due.not_before).any(|at| is_later(&at));
    let lately = if pauses { store.runs(LATELY).await? } else { Vec::new() };
    let with_run = runs.iter().map(|run| Waiting {
        conversation: run.conversation.to_string(),
        group: run.group.to_string(),
        waits_for: for_run(run, live.as_ref()),
    });
    let without = due.iter().map(|due| Waiting {
        conversation: due.conversation.to_string(),
        group: due.group.to_string(),
        waits_for: match due.not_before.filter(is_later) {
            Some(at) => for_retry(at, last_failure(&lately, &due.conversation)),
            None => for_turn(&due.conversation, live.as_ref()),
        },
    });
    let mut unseen = store.news_of_the_idle(UNSEEN).await?.unseen;
    unseen.retain(|unseen| {
        let place = trigger::Place::of(&unseen.conversation, unseen.woken);
        let rule = Rule::new(&unseen.group, assistant, place);
        unseen.messages.iter().any(|kept| rule.wakes(kept))
    });
    let not_noted = unseen.iter().map(|unseen| Waiting {
        conversation: unseen.conversation.to_string(),
        group: unseen.group.name.to_string(),
        waits_for: for_turn(&unseen.conversation, live.as_ref()),
    });
    Ok(List {
        waiting: with_run.chain(without).chain(not_noted).take(MOST).collect(),
        unseen: u64::try_from(unseen.len()).unwrap_or(u64::MAX),
    })
}

/// The last run of a conversation that failed; the newest of `runs` come first.
fn last_failure<'a>(runs: &'a [RunRow], conversation: &Conversation) -> Option<&'a RunRow> {
    runs.iter().find(|run| run.state == RunState::Failed && run.conversation == *conversation)
}

fn for_run(run: &RunRow, live: Option<&Live>) -> WaitsFor {
    let (id, since) = (run.id.0, run.started_at.unwrap_or(run.created_at));
    let Some(live) = live else { return WaitsFor::Gateway { run: Some(id) } };
    match (run.state, &live.provider) {
        (RunState::Claimed, _) if live.lacks_sandbox => {
            WaitsFor::Sandbox { run: Some(id), since: Some(since) }
        }
        (RunState::Running, Some(provider)) => {
            WaitsFor::Provider { run: id, provider: provider.clone() }
        }
        _ => WaitsFor::Run { run: id, attempt: run.attempt, since },
    }
}

fn for_retry(at: Timestamp, failed: Option<&RunRow>) -> WaitsFor {
    let error = failed.and_then(|run| run.error.as_deref());
    WaitsFor::Retry {
        at,
        failed_attempt: failed.map(|run| run.attempt),
        error: error.map(|error| text::one_line(error, ERROR_CHARS)),
    }
}

fn for_turn(conversation: &Conversation, live: Option<&Live>) -> WaitsFor {
    let Some(live) = live else { return WaitsFor::Gateway { run: None } };
    if live.lacks_sandbox {
        return WaitsFor::Sandbox { run: None, since: None };
    }
    let conversation = conversation.to_string();
    match live.queue.iter().position(|queued| *queued == conversation) {
        Some(ahead) => WaitsFor::Turn { ahead },
        None => WaitsFor::Router,
    }
}

impl Live {
    /// Reads what the gateway says, as far as this version knows the words.
    fn read(live: &Value, now: Timestamp) -> Self {
        let list = |path: &str| live.pointer(path).and_then(Value::as_array).into_iter().flatten();
        // With one that may be asked, nobody waits for the others.
        let left_alone: Option<Vec<Provider>> =
            list("/broker/providers").map(|provider| Provider::left_alone(provider, now)).collect();
        Self {
            queue: list("/queue").filter_map(Value::as_str).map(str::to_owned).collect(),
            lacks_sandbox: live.pointer("/sandbox/ready").and_then(Value::as_bool) == Some(false),
            provider: left_alone.and_then(|all| all.into_iter().min_by_key(|one| one.until)),
        }
    }
}

impl Provider {
    /// The provider, while it is left alone.
    fn left_alone(provider: &Value, now: Timestamp) -> Option<Self> {
        let part = |name: &str| provider.get(name).and_then(Value::as_str);
        let until: Timestamp = part("back_off_until")?.parse().ok()?;
        let fault = part("fault").unwrap_or("is left alone").to_owned();
        (until > now).then_some(Self { name: part("name")?.to_owned(), fault, until })
    }
}

impl Waiting {
    /// The same as a sentence, with times in the owner's zone.
    pub(super) fn in_words(&self, place: &Place) -> String {
        let time = |at: &Timestamp| output::time(*at, &place.zone);
        let why = match &self.waits_for {
            WaitsFor::Run { run, attempt, since } => {
                format!("run {run} is at work since {} (attempt {attempt})", time(since))
            }
            WaitsFor::Sandbox { run: Some(run), since } => {
                let since = since.as_ref().map(|since| format!(" since {}", time(since)));
                format!("run {run} waits for a sandbox{}", since.unwrap_or_default())
            }
            WaitsFor::Sandbox { run: None, .. } => "waits for a sandbox; there is none".to_owned(),
            WaitsFor::Provider { run, provider: Provider { name, fault, until } } => {
                let until = time(until);
                format!("run {run} waits for the model: {name} {fault}, until {until}")
            }
            WaitsFor::Retry { at, failed_attempt, error } => {
                let failed = failed_attempt.map(|attempt| format!("; attempt {attempt} failed"));
                let error = error.as_ref().map(|error| format!(": {error}"));
                let (failed, error) = (failed.unwrap_or_default(), error.unwrap_or_default());
                format!("is tried again at {}{failed}{error}", time(at))
            }
            WaitsFor::Turn { ahead: 0 } => "is next in the queue".to_owned(),
            WaitsFor::Turn { ahead } => format!("is in the queue, with {ahead} ahead"),
            WaitsFor::Router => "is about to be queued".to_owned(),
            WaitsFor::Gateway { run: Some(run) } => {
                format!("run {run} was left unfinished; the next gateway takes it up")
            }
            WaitsFor::Gateway { run: None } => "waits for a gateway".to_owned(),
        };
        format!("{}: {why}", text::one_line(&self.conversation, 60))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_provider_is_waited_for_while_every_one_is_left_alone() {
        let provider = |name: &str, until: Option<i64>| {
            let until = until.map(|until| at(until).to_string());
            json!({ "name": name, "back_off_until": until, "fault": "asks for patience" })
        };
        for (providers, waited_for) in [
            (vec![], None),
            (vec![provider("a", None)], None),
            (vec![provider("a", Some(99))], None),
            (vec![provider("a", Some(300)), provider("b", None)], None),
            (vec![provider("a", Some(300)), provider("b", Some(200))], Some(("b", 200))),
        ] {
            let live = Live::read(&json!({ "broker": { "providers": providers } }), at(100));
            let waited_for = waited_for.map(|(name, until)| Provider {
                name: String::from(name),
                fault: "asks for patience".to_owned(),
                until: at(until),
            });
            assert_eq!(live.provider, waited_for, "{providers:?}");
        }
    }

    #[test]
    fn what_the_gateway_of_another_version_does_not_say_is_not_guessed() {
        let live = Live::read(&json!({ "queue": [7, "terminal:main"], "sandbox": "?" }), at(0));
        assert_eq!(live.queue, ["terminal:main"]);
        assert!(!live.lacks_sandbox);
    }
}
