//! Turns the paths that a model writes into places.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ToolError, told};
use crate::settings::Settings;

/// A path, absolute, relative to the working directory, or below `~`.
///
/// It may lead anywhere: what is out of bounds is not in the sandbox, or not writable there.
pub(super) fn resolve(settings: &Settings, path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(below) => settings.home.join(below),
        None => settings.group.join(path),
    }
}

/// Refuses what is no regular file: a pipe or a device may never end.
pub(super) fn regular(path: &Path) -> Result<fs::Metadata, ToolError> {
    let metadata = fs::metadata(path).map_err(|error| failed("read", path, &error))?;
    match metadata.is_file() {
        true => Ok(metadata),
        false if metadata.is_dir() => Err(told(format!("{} is a directory", path.display()))),
        false => Err(told(format!("{} is not a regular file", path.display()))),
    }
}

/// Says what could not be done with a file.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> ToolError {
    told(format!("cannot {what} {}: {error}", path.display()))
}
