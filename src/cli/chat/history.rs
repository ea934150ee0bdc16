//! What was entered, for the next chat: a line for each entry, in the form that the line editor reads.
//!
//! The line editor could write it itself, but takes rights from all that the whole process makes in the meantime
//! (`umask`), and a gateway inside makes the folders of sandboxes then.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
    let mut file = open_alone(path)?;
    let head = if file.metadata()?.len() == 0 { HEAD } else { "" };
    let entry = entry.replace('\\', r"\\").replace('\n', r"\n");
    file.write_all(format!("{head}{entry}\n").as_bytes())
}

/// Cuts it down to so many of the last entries, when there are twice as many.
///
/// # Errors
/// When the file cannot be read or written.
pub(super) fn shorten(path: &Path, most: usize) -> io::Result<()> {
    if !path.try_exists()? {
        return Ok(());
    }
    let mut file = open_alone(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let entries = text.strip_prefix(HEAD).unwrap_or_default();
    let count = entries.lines().count();
    if count < 2 * most {
        return Ok(());
    }
    let path_of_shorter = path.with_extension("new");
    let mut shorter = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(&path_of_shorter)?;
    let kept = entries.lines().skip(count - most).flat_map(|entry| [entry, "\n"]);
    shorter.write_all(std::iter::once(HEAD).chain(kept).collect::<String>().as_bytes())?;
    fs::rename(path_of_shorter, path)
}

/// Opens the file that lies there, and keeps other chats out until it is closed.
fn open_alone(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
        file.lock()?;
        // Whoever had it before may have put a shorter one in its place.
        if file.metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
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
    #[test]
    fn what_chats_add_at_once_is_all_there_also_while_one_shortens_it() {
        const EACH: usize = 2_000;
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("chat_history");
        std::thread::scope(|scope| {
            let adds =
                |name: char| (0..EACH).for_each(|n| add(path, &format!("{name}{n}")).unwrap());
            let adders = ['a', 'b'].map(|name| scope.spawn(move || adds(name)));
            while adders.iter().any(|adder| !adder.is_finished()) {
                shorten(path, 50).unwrap();
            }
        });
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.matches("#V2").count(), 1, "{text}");
        for name in ['a', 'b'] {
            let left: Vec<usize> =
                text.lines().filter_map(|line| line.strip_prefix(name)?.parse().ok()).collect();
            assert!(left.iter().copied().eq(EACH - left.len()..EACH), "{name}: {left:?}");
        }
    }
}
