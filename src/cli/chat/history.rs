//! What was entered, for the next chat: a line for each entry, in the form that the line editor reads.
//!
//! The line editor could write it itself, but takes rights from all that the whole process makes in the meantime
//! (`umask`), and a gateway inside makes the folders of sandboxes then.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The first line, which tells the line editor how the others are written.
const HEAD: &str = "#V2\n";
/// Only the owner may read it.
const MODE: u32 = 0o600;

/// Adds an entry; several chats may do so at once.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn add(path: &Path, entry: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    let head = if file.metadata()?.len() == 0 { HEAD } else { "" };
    let entry = entry.replace('\\', r"\\").replace('\n', r"\n");
    file.write_all(format!("{head}{entry}\n").as_bytes())
}

/// Cuts it down to so many of the last entries, when there are twice as many.
///
/// # Errors
/// When the file cannot be read or written.
pub(super) fn shorten(path: &Path, most: usize) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    let entries = text.strip_prefix(HEAD).unwrap_or_default();
    let count = entries.lines().count();
    if count < 2 * most {
        return Ok(());
    }
    let shorter = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&shorter)?;
    file.write_all(HEAD.as_bytes())?;
    for entry in entries.lines().skip(count - most) {
        writeln!(file, "{entry}")?;
    }
    fs::rename(shorter, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustyline::history::{FileHistory, History};

    use super::*;

    /// What the line editor reads.
    fn read(path: &Path) -> Vec<String> {
        let mut history = FileHistory::new();
        history.load(path).unwrap();
        history.iter().cloned().collect()
    }

    #[test]
    fn what_was_entered_is_read_again_by_the_line_editor_and_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat_history");
        shorten(&path, 2).unwrap();
        let entries = ["one", "two\nlines", r"a \n that is none", r"\", "é"];
        for entry in entries {
            add(&path, entry).unwrap();
        }
        assert_eq!(read(&path), entries);
        shorten(&path, 3).unwrap();
        assert_eq!(read(&path), entries);
        shorten(&path, 2).unwrap();
        assert_eq!(read(&path), entries[3..]);
        add(&path, "two\nlines").unwrap();
        assert_eq!(read(&path).len(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
