//! `hermitcrab outbox`: what waits to be sent.

use serde::Serialize;

use super::args::OutboxOptions;
use super::exit::Failure;
use super::output;
use super::place::Place;
use crate::model::ChannelName;
use crate::store::{Listed, OutboxRow, OutboxState};
use crate::text;

/// A row as `outbox --json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
struct Entry {
    id: u64,
    conversation: String,
    run: Option<u64>,
    state: &'static str,
    attempts: u32,
    text: String,
    answers_through: Option<u64>,
    created_at: String,
    not_before: Option<String>,
    sent_at: Option<String>,
    error: Option<String>,
    /// What a pending row waits for.
    waits_for: Option<&'static str>,
}

impl From<&OutboxRow> for Entry {
    fn from(row: &OutboxRow) -> Self {
        Self {
            id: row.id.0,
            conversation: row.conversation.to_string(),
            run: row.run.map(|run| run.0),
            state: row.state.as_str(),
            attempts: row.attempts,
            text: row.content.to_string(),
            answers_through: row.ends.map(|end| end.through.0),
            created_at: row.created_at.to_string(),
            not_before: row.not_before.map(|at| at.to_string()),
            sent_at: row.sent_at.map(|at| at.to_string()),
            error: row.error.clone(),
            waits_for: waits_for(row),
        }
    }
}

/// What a pending row waits for besides its time, as far as the store can tell.
fn waits_for(row: &OutboxRow) -> Option<&'static str> {
    let is_shown = *row.conversation.chat.channel() == ChannelName::terminal();
    (row.state == OutboxState::Pending && is_shown).then_some("terminal")
}

/// Why a row is not sent yet, or never will be.
fn why(place: &Place, row: &OutboxRow) -> String {
    let error = row.error.as_deref().map(|error| text::one_line(error, 60));
    let later = row.not_before.filter(|_| row.state == OutboxState::Pending);
    let waits = waits_for(row).map(|_| "waits for a terminal: hermitcrab chat".to_owned());
    let later = later.map(|at| format!("not before {}", output::time(at, &place.zone)));
    error.or(waits).or(later).unwrap_or_default()
}

/// Lists the outbox.
///
/// # Errors
/// When the store cannot be read, or the output not be written.
pub(super) async fn run(place: &Place, options: OutboxOptions) -> Result<(), Failure> {
    let listed = if options.all { Listed::All } else { Listed::NotSent };
    let rows = match place.open_store()? {
        Some(store) => store.outbox(options.limit.into(), listed).await?,
        None if options.format.json => Vec::new(),
        None => return Ok(output::line(place.nothing_here())?),
    };
    if options.format.json {
        let entries: Vec<Entry> = rows.iter().map(Entry::from).collect();
        return Ok(output::json(&entries)?);
    }
    if rows.is_empty() {
        return Ok(output::line("Nothing waits to be sent.")?);
    }
    let columns = |row: &OutboxRow| {
        [
            row.id.to_string(),
            output::time(row.created_at, &place.zone),
            text::one_line(&row.conversation.to_string(), 40),
            row.state.as_str().to_owned(),
            row.attempts.to_string(),
            text::one_line(&row.content.to_string(), 40),
            why(place, row),
        ]
    };
    let header = ["ID", "WRITTEN", "CONVERSATION", "STATE", "TRIES", "TEXT", "WHY"];
    Ok(output::table(header, rows.iter().map(columns).collect())?)
}
