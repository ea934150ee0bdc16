//! Takes what the gateway leaves in `input/`, in the order of the numbers.
//!
//! A file is removed as soon as it is read, before it is acted upon: what cannot be removed would otherwise be
//! done again and again.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::{Input, layout};
use thiserror::Error;

use crate::note;
use crate::watch::Watch;

/// The most bytes that one input may have; a gateway cuts messages long before.
const MAX_INPUT_BYTES: u64 = 16 * 1024 * 1024;

/// The most inputs that wait for the end of a run; a gateway sends one, and the agent can write here too.
const MAX_DEFERRED: usize = 16;

/// Why no further input can be had.
#[derive(Debug, Error)]
pub(crate) enum InboxError {
    /// The directory cannot be listed.
    #[error("cannot list the input directory")]
    List(#[source] io::Error),
    /// A file that was read cannot be removed.
    #[error("cannot remove input {number}")]
    Remove {
        /// The file's number.
        number: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The input directory.
#[derive(Debug)]
pub(crate) struct Inbox {
    directory: PathBuf,
    watch: Watch,
    /// What was read during a run and concerns the time after it.
    deferred: VecDeque<Input>,
}

impl Inbox {
    /// Begins to watch `input/` of the ipc directory; must be called inside a runtime.
    pub(crate) fn open(ipc: &Path) -> Self {
        let directory = ipc.join(layout::INPUT);
        let watch = Watch::new(&directory);
        Self { directory, watch, deferred: VecDeque::new() }
    }

    /// Waits for the next input; dropping the future loses none.
    ///
    /// # Errors
    ///
    /// The directory cannot be used any more.
    pub(crate) async fn next(&mut self) -> Result<Input, InboxError> {
        match self.deferred.pop_front() {
            Some(input) => Ok(input),
            None => self.next_new().await,
        }
    }

    /// Like [`Self::next`], but leaves alone what was deferred.
    ///
    /// # Errors
    ///
    /// The directory cannot be used any more.
    pub(crate) async fn next_new(&mut self) -> Result<Input, InboxError> {
        loop {
            if let Some(input) = take(&self.directory)? {
                return Ok(input);
            }
            self.watch.changed().await;
        }
    }

    /// Puts an input aside until the run that is under way has ended.
    pub(crate) fn defer(&mut self, input: Input) {
        if self.deferred.len() < MAX_DEFERRED {
            self.deferred.push_back(input);
        } else {
            note(format_args!("too much input for after this run; one is left out"));
        }
    }
}

/// Takes the readable file with the lowest number, if there is one.
fn take(directory: &Path) -> Result<Option<Input>, InboxError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(InboxError::List)? {
        let name = entry.map_err(InboxError::List)?.file_name();
        if let Some(number) = name.to_str().and_then(number) {
            numbers.push((number, name));
        }
    }
    numbers.sort_unstable();
    for (number, name) in numbers {
        let path = directory.join(name);
        let content = read(&path);
        remove(&path).map_err(|source| InboxError::Remove { number, source })?;
        match content.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
            Ok(input) => return Ok(Some(input)),
            Err(error) => note(format_args!("input {number} is not readable: {error}")),
        }
    }
    Ok(None)
}

/// The number in a file's name, if it is one of ours.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // The agent can write here too; opening a pipe of its making would wait for ever.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_INPUT_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(path),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_names_count() {
        for (name, expected) in [
            ("00000001.json", Some(1)),
            ("12.json", Some(12)),
            (".12.json", None),
            ("12", None),
            (".json", None),
            ("+1.json", None),
            ("99999999999999999999999.json", None),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
    }

    #[test]
    fn files_are_taken_in_order_and_bad_ones_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("10.json"), r#"{"type":"close"}"#).unwrap();
        fs::write(path.join("9.json"), r#"{"type":"cancel","run":7}"#).unwrap();
        fs::write(path.join("8.json"), "{").unwrap();
        fs::create_dir(path.join("7.json")).unwrap();
        std::os::unix::fs::symlink("9.json", path.join("6.json")).unwrap();
        fs::write(path.join(".1.json"), "{").unwrap();
        assert_eq!(take(path).unwrap(), Some(Input::Cancel { run: 7 }));
        assert_eq!(take(path).unwrap(), Some(Input::Close));
        assert_eq!(take(path).unwrap(), None);
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    }
}
