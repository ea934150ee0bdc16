//! `hermitcrab slack`: what it takes to bring the assistant into a Slack workspace.

use super::args::SlackCommand;
use super::exit::Failure;
use super::output;
use super::place::Place;
use crate::channel::slack::manifest::manifest;

/// Carries out one of its commands.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn run(place: &Place, command: SlackCommand) -> Result<(), Failure> {
    match command {
        SlackCommand::Manifest { name } => {
            let name = name.unwrap_or_else(|| place.settings.assistant_name.clone());
            Ok(output::json(&manifest(&name))?)
        }
    }
}
