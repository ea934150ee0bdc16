//! Writes files so that a reader never sees half of one, and makes names that nobody can guess.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

/// Whether a file must survive a loss of power once the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It must: file and directory are synchronized.
    Durable,
    /// It may be lost with the machine.
    Volatile,
}

/// Writes `directory/name` under a name that begins with a dot, then renames it into place.
///
/// # Errors
///
/// The first call that failed; nothing is left at `name` then, and the dotted file is removed.
pub(crate) fn write_atomic(
    directory: &Path,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> io::Result<()> {
    let hidden = directory.join(format!(".{name}.tmp"));
    let written = write_then_rename(&hidden, &directory.join(name), bytes, durability);
    if written.is_err() {
        // What is left over is replaced by the next attempt, so a failure here changes nothing.
        fs::remove_file(&hidden).ok();
    }
    written?;
    match durability {
        Durability::Durable => File::open(directory)?.sync_all(),
        Durability::Volatile => Ok(()),
    }
}

fn write_then_rename(
    hidden: &Path,
    target: &Path,
    bytes: &[u8],
    durability: Durability,
) -> io::Result<()> {
    let mut file = File::create(hidden)?;
    file.write_all(bytes)?;
    if durability == Durability::Durable {
        file.sync_all()?;
    }
    fs::rename(hidden, target)
}

/// A fresh name of 32 hexadecimal digits.
///
/// `RandomState` takes its keys from the kernel, and the hash under unknown keys cannot be guessed.
pub(crate) fn random_name() -> String {
    format!("{:016x}{:016x}", random_number(), random_number())
}

/// A number that nobody can guess.
pub(crate) fn random_number() -> u64 {
    RandomState::new().hash_one(1)
}

/// Cuts `text` to at most `limit` bytes at a character's border.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_and_alone() {
        let directory = tempfile::tempdir().unwrap();
        for durability in [Durability::Durable, Durability::Volatile] {
            write_atomic(directory.path(), "a.json", b"{}", durability).unwrap();
            assert_eq!(fs::read(directory.path().join("a.json")).unwrap(), b"{}");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn names_differ() {
        assert_ne!(random_name(), random_name());
        assert_eq!(random_name().len(), 32);
    }

    #[test]
    fn text_is_cut_between_characters() {
        for (text, limit, expected) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é", 0, "")]
        {
            assert_eq!(cut(text, limit), expected);
        }
    }
}
