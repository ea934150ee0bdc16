//! What a first run needs: the folders of a home, and a sandbox.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::exit::Failure;
use super::place::Place;
use crate::model::GroupName;

/// The memory that a fresh main group begins with.
const MAIN_MEMORY: &str = include_str!("../../groups/main/CLAUDE.md");
/// The memory that all groups share in the beginning.
const GLOBAL_MEMORY: &str = include_str!("../../groups/global/CLAUDE.md");

/// Makes the folders of a home, closed to others, and writes the first memory files where there are none.
///
/// # Errors
/// When a folder or file cannot be made.
pub(super) fn make_home(place: &Place) -> Result<(), Failure> {
    let groups = place.settings.groups_dir();
    make_folder(&place.settings.store_dir())?;
    for (name, memory) in [(GroupName::MAIN, MAIN_MEMORY), ("global", GLOBAL_MEMORY)] {
        let folder = groups.join(name);
        if folder.exists() {
            continue;
        }
        make_folder(&folder)?;
        let path = folder.join("CLAUDE.md");
        write_new(&path, memory).map_err(|error| cannot_make(&path, &error))?;
    }
    Ok(())
}

/// Makes a folder that only the owner can enter, and those above it.
///
/// # Errors
/// When it cannot be made.
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| cannot_make(path, &error))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

fn cannot_make(path: &Path, error: &io::Error) -> Failure {
    let sentence =
        format!("{} cannot be made: {error}; choose another --home, or its rights", path.display());
    Failure::failed(sentence)
}

/// Whether something may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// It was given on the command line.
    Given,
    /// The person is asked.
    Ask,
}

/// Offers to install what a sandbox needs, when none is to be had; without it, messages are kept and wait.
///
/// # Errors
/// When it was to be installed and could not be.
#[expect(clippy::unused_async, reason = "the sandboxes' side of this is not there yet")]
pub(super) async fn offer_sandbox(_place: &Place, _consent: Consent) -> Result<(), Failure> {
    Ok(())
}
