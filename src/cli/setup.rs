//! What a first run needs: the folders of a home, and a sandbox.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use tokio::process::Command;

use super::exit::Failure;
use super::output;
use super::place::Place;
use crate::model::GroupName;
use crate::sandbox::select;

/// The memory that a fresh main group begins with.
const MAIN_MEMORY: &str = include_str!("../../groups/main/CLAUDE.md");
/// The memory that all groups share in the beginning.
const GLOBAL_MEMORY: &str = include_str!("../../groups/global/CLAUDE.md");

/// The memory that any other group begins with.
const GROUP_MEMORY: &str = "\
# {name}

This is the memory of the group {name}. It is read at the beginning of every answer; write down here what should be
remembered, and keep it short.

- What is said here stays here: other groups are other people's conversations.
";

/// Makes the folders of a home, closed to others, and writes the first memory files where there are none.
///
/// # Errors
/// When a folder or file cannot be made.
pub(super) fn make_home(place: &Place) -> Result<(), Failure> {
    place.check_store()?;
    let groups = place.settings.groups_dir();
    make_folder(&place.settings.store_dir())?;
    for (name, memory) in [(GroupName::MAIN, MAIN_MEMORY), ("global", GLOBAL_MEMORY)] {
        make_with_memory(&groups.join(name), memory)?;
    }
    Ok(())
}

/// Makes the folder of a group with its first memory; one that is there is left as it is.
///
/// # Errors
/// When the folder or the file cannot be made.
pub(super) fn make_group(place: &Place, name: &GroupName) -> Result<(), Failure> {
    let memory = GROUP_MEMORY.replace("{name}", name.as_str());
    make_with_memory(&place.settings.groups_dir().join(name.as_str()), &memory)
}

fn make_with_memory(folder: &Path, memory: &str) -> Result<(), Failure> {
    if folder.exists() {
        return Ok(());
    }
    make_folder(folder)?;
    let path = folder.join("CLAUDE.md");
    match write_new(&path, memory) {
        // Somebody else has just begun here too.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written.map_err(|error| cannot_make(&path, &error)),
    }
}

/// Makes a folder that only the owner can enter, and those above it.
///
/// # Errors
/// When it cannot be made.
fn make_folder(path: &Path) -> Result<(), Failure> {
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

/// The command that gives this machine a sandbox, if that is what the problem says would mend it.
pub(super) fn remedy(problem: &str) -> Option<Vec<&'static str>> {
    select::install_command().filter(|command| problem.contains(&command.join(" ")))
}

/// Asks whether to run a command; only a person at a terminal can be asked, and silence is no.
///
/// # Errors
/// When the terminal is gone.
pub(super) fn ask(command: &[&str]) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut out = io::stdout().lock();
    write!(out, "Run `{}` now? [y/N] ", command.join(" "))?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Runs a command that installs something; what it says goes to standard error.
///
/// # Errors
/// When it does not succeed.
pub(super) async fn install(command: &[&str]) -> Result<(), Failure> {
    let line = command.join(" ");
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    output::aside(format_args!("running {line}"));
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    let status = Command::new(program).args(arguments).stdout(stderr).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("`{line}` failed ({status}); run it yourself"))),
        Err(error) => Err(Failure::failed(format!("`{line}` cannot be run: {error}"))),
    }
}
