//! `hermitcrab doctor`: what is needed and whether it is there, each fault with the command that mends it.

mod home;
mod surroundings;

use std::path::PathBuf;

use super::args::Format;
use super::exit::{CONFIGURATION, FAILED, Failure};
use super::finding::{Finding, tell};
use super::place::Place;
use crate::config::{CURRENT_FOLDER, ConfigError, Fault, HOME_VARIABLE, Loaded, Settings};

/// Reads the settings and checks everything else; wrong settings are findings too.
///
/// # Errors
/// When something is at fault, or the output cannot be written.
pub(super) async fn run(home: Option<PathBuf>, format: Format) -> Result<(), Failure> {
    let Loaded { settings, error } = match Settings::load_what_is_right(home) {
        Ok(loaded) => loaded,
        Err(error) => return tell(&settings_faults(&error), format, CONFIGURATION),
    };
    let place = Place::new(settings);
    let Some(error) = error else {
        let mut findings = examine_home(&place).await;
        findings.extend(examine_surroundings(&place).await);
        return tell(&findings, format, FAILED);
    };
    let mut findings = settings_faults(&error);
    findings.extend(examine_home(&place).await);
    // What comes of wrong settings says nothing about the right ones.
    let later = "the gateway, its sandbox and the model are looked at once the settings are right";
    findings.push(Finding::note("settings", later));
    tell(&findings, format, CONFIGURATION)
}

/// Checks what lies in the home, from the ground up.
async fn examine_home(place: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(home::env_file(place));
    findings.push(home::home(place));
    findings.extend(home::store(place).await);
    findings.push(home::disk(place));
    findings.extend(home::groups(place).await);
    findings
}

/// Checks what lies around it.
async fn examine_surroundings(place: &Place) -> Vec<Finding> {
    let mut findings = vec![surroundings::clock(place)];
    findings.extend(surroundings::gateway(place).await);
    findings.extend(surroundings::credentials(place).await);
    findings
}

/// What is wrong with the settings, each fault with what mends it.
pub(super) fn settings_faults(error: &ConfigError) -> Vec<Finding> {
    let mend = |fault: &Fault| match fault.name() {
        "--home" => "it is an option of this command: name a folder there",
        HOME_VARIABLE => "set it right in the environment, or name a folder with --home",
        CURRENT_FOLDER => "go to a folder that is there, or name one with --home",
        _ => "set it right in .env or in the environment; .env.example shows what is expected",
    };
    let fault = |fault: &Fault| Finding::fault("settings", fault.to_string(), mend(fault));
    error.faults().iter().map(fault).collect()
}
