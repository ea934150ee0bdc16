//! `hermitcrab doctor`: what is needed and whether it is there, each fault with the command that mends it.

mod home;
mod surroundings;

use std::path::PathBuf;

use serde::Serialize;

use super::args::Format;
use super::exit::{CONFIGURATION, FAILED, Failure};
use super::output;
use super::place::Place;
use crate::config::{ConfigError, Settings};

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
    let findings = match Settings::load(home) {
        Ok(settings) => examine(&Place::new(settings)).await,
        Err(error) => return tell(&settings_faults(&error), format, CONFIGURATION),
    };
    tell(&findings, format, FAILED)
}

/// Checks everything, from the ground up.
async fn examine(place: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(home::env_file(place));
    findings.push(home::home(place));
    findings.extend(home::store(place).await);
    findings.push(home::disk(place));
    findings.extend(home::groups(place).await);
    findings.push(surroundings::clock(place));
    findings.extend(surroundings::gateway(place).await);
    findings.extend(surroundings::credentials(place).await);
    findings
}

fn settings_faults(error: &ConfigError) -> Vec<Finding> {
    let mend = "set it right in .env or in the environment; .env.example shows what is expected";
    let fault = |fault: &crate::config::Fault| Finding::fault("settings", fault.to_string(), mend);
    error.faults().iter().map(fault).collect()
}

/// Writes the findings; with a fault among them, the program ends with `code`.
fn tell(findings: &[Finding], format: Format, code: u8) -> Result<(), Failure> {
    if format.json {
        output::json(&findings)?;
    } else {
        for finding in findings {
            let mark = match finding.verdict {
                Verdict::Good => '✓',
                Verdict::Warning => '!',
                Verdict::Fault => '✗',
            };
            output::line(format_args!("{mark} {:<11} {}", finding.check, finding.finding))?;
            if let Some(mend) = &finding.mend {
                output::line(format_args!("  {:<11} → {mend}", ""))?;
            }
        }
    }
    let is_fault = |finding: &Finding| finding.verdict == Verdict::Fault;
    if findings.iter().any(is_fault) { Err(Failure::said(code)) } else { Ok(()) }
}
