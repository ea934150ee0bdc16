//! This install: what tells its sandboxes from those of others, and what every sandbox of it is made with.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{folders, runner};

/// The file in the store that holds the id.
const FILE: &str = "install-id";
/// How long an id is, in hexadecimal digits.
const DIGITS: usize = 16;

/// One install of the gateway: one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Its id: 16 hexadecimal digits, chosen once.
    pub id: String,
    /// The folder of its store.
    pub store: PathBuf,
    /// The agent-runner binary in it.
    pub runner: PathBuf,
}

impl Install {
    /// Reads the id of the install that has this store, choosing one the first time, and writes the agent-runner.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn open(store: &Path) -> io::Result<Self> {
        let runner = runner::install(store)?;
        let id = match read(store)? {
            Some(id) => id,
            None => choose(store)?,
        };
        Ok(Self { id, store: store.to_owned(), runner })
    }
}

/// The id that was chosen before; one that is damaged is none, and its sandboxes are found no more.
fn read(store: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(store.join(FILE)) {
        Ok(text) => {
            let id = text.trim();
            let whole = id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            Ok(whole.then(|| id.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

fn choose(store: &Path) -> io::Result<String> {
    folders::private(store)?;
    let id = format!("{:016x}", fastrand::u64(..));
    let hidden = store.join(format!(".{FILE}.{id}"));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    std::fs::rename(hidden, store.join(FILE))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_chosen_once() {
        let home = tempfile::tempdir().unwrap();
        let first = Install::open(home.path()).unwrap();
        assert_eq!(Install::open(home.path()).unwrap(), first);
        std::fs::write(home.path().join(FILE), "cut").unwrap();
        assert_ne!(Install::open(home.path()).unwrap().id, first.id);
    }
}
