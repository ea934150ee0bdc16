//! Findings: what was looked at, whether it is as it should be, and what mends it.

use serde::Serialize;

use super::args::Format;
use super::exit::Failure;
use super::output;

/// What was looked at and found, as `--json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
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
    /// All is well.
    pub(super) fn good(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, finding: finding.into(), mend: None }
    }

    /// It works, but the owner should know.
    pub(super) fn warning(
        check: &'static str,
        finding: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let mend = Some(mend.into());
        Self { check, verdict: Verdict::Warning, finding: finding.into(), mend }
    }

    /// It works, but the owner should know; there is nothing to do about it.
    pub(super) fn note(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, finding: finding.into(), mend: None }
    }

    /// It does not work.
    pub(super) fn fault(
        check: &'static str,
        finding: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let mend = Some(mend.into());
        Self { check, verdict: Verdict::Fault, finding: finding.into(), mend }
    }

    /// With what to do, although all is well.
    pub(super) fn with_mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

/// Writes the findings; with a fault among them, the program ends with `code`.
///
/// # Errors
/// When something is at fault, or the output cannot be written.
pub(super) fn tell(findings: &[Finding], format: Format, code: u8) -> Result<(), Failure> {
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
