//! `hermitcrab runs`: the ledger.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::signal;

use super::args::RunsOptions;
use super::exit::{Failure, UNAVAILABLE};
use super::output::{self, Columns, Spending};
use super::place::Place;
use crate::store::{RunRow, Store};
use crate::text;

/// How often the ledger is looked at while following.
const LOOK: Duration = Duration::from_millis(500);
const HEADER: [&str; 8] =
    ["RUN", "BEGUN", "CONVERSATION", "STATE", "TRY", "SECONDS", "TOKENS", "ERROR"];
/// How wide the columns are from the beginning while following: enough for most of what comes later.
const WIDTHS: [u16; 8] = [5, 19, 16, 11, 3, 7, 7, 0];
/// The most changes that are shown at one look; the rest follows with the next.
const AT_ONCE: usize = 1000;

/// A run as `runs --json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
struct Entry {
    id: u64,
    conversation: String,
    group: String,
    state: &'static str,
    attempt: u32,
    from: u64,
    through: u64,
    sandbox: Option<String>,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    usage: Spending,
    error: Option<String>,
}

impl From<&RunRow> for Entry {
    fn from(run: &RunRow) -> Self {
        Self {
            id: run.id.0,
            conversation: run.conversation.to_string(),
            group: run.group.to_string(),
            state: run.state.as_str(),
            attempt: run.attempt,
            from: run.from.0,
            through: run.through.0,
            sandbox: run.sandbox.as_ref().map(ToString::to_string),
            created_at: run.created_at.to_string(),
            started_at: run.started_at.map(|at| at.to_string()),
            finished_at: run.finished_at.map(|at| at.to_string()),
            usage: run.usage.into(),
            error: run.error.clone(),
        }
    }
}

/// Lists the runs.
///
/// # Errors
/// When the store cannot be read, or the output not be written.
pub(super) async fn run(place: &Place, options: RunsOptions) -> Result<(), Failure> {
    let Some(store) = place.open_store()? else {
        if options.follow {
            return Err(Failure::new(UNAVAILABLE, place.nothing_here()));
        }
        return nothing(place, options);
    };
    let mut runs = store.runs(options.limit.into()).await?;
    if !options.follow {
        return list(place, &runs, options);
    }
    // Followed, the newest comes last.
    runs.reverse();
    tokio::select! {
        followed = follow(place, &store, &runs, options) => followed,
        interrupted = signal::ctrl_c() => Ok(interrupted?),
    }
}

fn nothing(place: &Place, options: RunsOptions) -> Result<(), Failure> {
    if options.format.json {
        return Ok(output::json(&Vec::<Entry>::new())?);
    }
    Ok(output::line(place.nothing_here())?)
}

fn list(place: &Place, runs: &[RunRow], options: RunsOptions) -> Result<(), Failure> {
    if options.format.json {
        let entries: Vec<Entry> = runs.iter().map(Entry::from).collect();
        return Ok(output::json(&entries)?);
    }
    if runs.is_empty() {
        return Ok(output::line("No runs yet.")?);
    }
    let rows = runs.iter().map(|run| columns(place, run)).collect();
    Ok(output::table(HEADER, rows)?)
}

async fn follow(
    place: &Place,
    store: &Store,
    runs: &[RunRow],
    options: RunsOptions,
) -> Result<(), Failure> {
    let mut listing = Columns::new(HEADER).at_least(WIDTHS);
    let mut after = Timestamp::UNIX_EPOCH;
    let mut changes = runs.to_vec();
    loop {
        if options.format.json {
            changes.iter().map(Entry::from).try_for_each(|entry| output::json_line(&entry))?;
        } else {
            let rows = changes.iter().map(|run| columns(place, run)).collect();
            listing.lines(rows).iter().try_for_each(output::line)?;
        }
        after = changes.iter().map(|run| run.updated_at).fold(after, Timestamp::max);
        if changes.len() < AT_ONCE {
            tokio::time::sleep(LOOK).await;
        }
        changes = store.runs_changed_after(after, AT_ONCE).await?;
    }
}

fn columns(place: &Place, run: &RunRow) -> [String; 8] {
    let seconds = match (run.started_at, run.finished_at) {
        (Some(begun), Some(ended)) => {
            format!("{:.1}", ended.duration_since(begun).as_secs_f64())
        }
        _ => String::new(),
    };
    [
        run.id.to_string(),
        output::time(run.created_at, &place.zone),
        text::one_line(&run.conversation.to_string(), 40),
        run.state.as_str().to_owned(),
        run.attempt.to_string(),
        seconds,
        (run.usage.input_tokens + run.usage.output_tokens).to_string(),
        run.error.as_deref().map(|error| text::one_line(error, 60)).unwrap_or_default(),
    ]
}
