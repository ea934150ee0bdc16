//! The process's own surroundings: its variables, its terminal, its folder for what nobody keeps.

use std::ffi::OsString;
use std::path::PathBuf;

/// The kind of terminal that the process was started from; no setting of ours.
pub(crate) fn terminal() -> Option<String> {
    variable("TERM")?.into_string().ok()
}

/// The system's folder for files that nobody keeps.
pub(crate) fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

/// A variable of this process.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The names of the variables of this process.
pub(super) fn names() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _value)| name.into_string().ok()).collect()
}
