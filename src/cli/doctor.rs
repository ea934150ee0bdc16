//! `hermitcrab doctor`: what is needed and whether it is there, each fault with the command that mends it.

mod home;
mod surroundings;

use std::path::PathBuf;

use serde::Serialize;

use super::args::Format;
use super::exit::{CONFIGURATION, FAILED, Failure};
use super::output;
use super::place::Place;
use crate::config::{CURRENT_FOLDER, ConfigError, Fault, HOME_VARIABLE, Loaded, Settings};

/// What was looked at and found, as `doctor --json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    finding: String,
    /// What mends it: mostly a command.
    mend: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// All is well.
    Good,
    /// It works, but the owner should know.
    Warning,
    /// It does not work.
    Fault,
}

impl Finding {
    fn good(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, finding: finding.into(), mend: None }
    }

    fn warning(check: &'static str, finding: impl Into<String>, mend: impl Into<String>) -> Self {
        let mend = Some(mend.into());
        Self { check, verdict: Verdict::Warning, finding: finding.into(), mend }
    }

    fn fault(check: &'static str, finding: impl Into<String>, mend: impl Into<String>) -> Self {
        let mend = Some(mend.into());
        Self { check, verdict: Verdict::Fault, finding: finding.into(), mend }
    }
}

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
    findings.push(Finding { mend: None, ..Finding::warning("settings", later, "") });
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

fn settings_faults(error: &ConfigError) -> Vec<Finding> {
    let mend = |fault: &Fault| match fault.name() {
        "--home" => "it is an option of this command: name a folder there",
        HOME_VARIABLE => "set it right in the environment, or name a folder with --home",
        CURRENT_FOLDER => "go to a folder that is there, or name one with --home",
        _ => "set it right in .env or in the environment; .env.example shows what is expected",
    };
    let fault = |fault: &Fault| Finding::fault("settings", fault.to_string(), mend(fault));
    error.faults().iter().map(fault).collect()
}

/// Writes the findings; with a fault among them, the program ends with `code`.
fn tell(findings: &[Finding], format: Format, code: u8) -> Result<(), Failure> {
    if format.json {
        output::json(&findings)?;
    } else {
        in_words(findings).iter().try_for_each(output::line)?;
    }
    let is_fault = |finding: &Finding| finding.verdict == Verdict::Fault;
    if findings.iter().any(is_fault) { Err(Failure::said(code)) } else { Ok(()) }
}

/// The findings, a line each, and what mends them; those that the same mends stand together, and it beneath them.
fn in_words(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for alike in findings.chunk_by(|one, next| one.mend == next.mend) {
        for Finding { check, verdict, finding, .. } in alike {
            let mark = match verdict {
                Verdict::Good => '✓',
                Verdict::Warning => '!',
                Verdict::Fault => '✗',
            };
            lines.push(format!("{mark} {check:<11} {finding}"));
        }
        let mend = alike.first().and_then(|finding| finding.mend.as_ref());
        lines.extend(mend.map(|mend| format!("  {:<11} → {mend}", "")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mends_several_things_is_said_once() {
        let lines = in_words(&[
            Finding::fault("settings", "A", "set it right"),
            Finding::fault("settings", "B", "set it right"),
            Finding::good("home", "/home"),
            Finding::good("store", "sound"),
            Finding::warning("groups", "C", "allow it"),
            Finding::warning("groups", "D", "make it"),
        ]);
        insta::assert_snapshot!(lines.join("\n"), @r"
        ✗ settings    A
        ✗ settings    B
                      → set it right
        ✓ home        /home
        ✓ store       sound
        ! groups      C
                      → allow it
        ! groups      D
                      → make it
        ");
    }
}
