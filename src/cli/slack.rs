//! `hermitcrab slack`: what it takes to bring the assistant into a Slack workspace.

use super::args::SlackCommand;
use super::exit::Failure;
use super::output;
use super::place::Place;
use crate::channel::slack::manifest::manifest;
use crate::channel::slack::scopes::APP_SCOPE;

/// Where apps are made.
const APPS: &str = "https://api.slack.com/apps";

/// Carries out one of its commands.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn run(place: &Place, command: SlackCommand) -> Result<(), Failure> {
    match command {
        SlackCommand::Manifest { name } => {
            let name = name.unwrap_or_else(|| place.settings.assistant_name.clone());
            output::json(&manifest(&name))?;
            output::aside(format_args!(
                "paste this at {APPS} (Create New App, From a manifest) and install the app; then make an \
                 app-level token with the scope {APP_SCOPE}"
            ));
            Ok(())
        }
    }
}
