//! The session's file: appended to as the run goes, synchronized before the run is said to be done.
//!
//! It lies at `native/<conversation>/<session>.jsonl` in the agent's home. Names are checked before they become
//! a path, and one conversation never finds another's session.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::Prompt;
use rustix::fs::OFlags;
use thiserror::Error;

use super::entries::{self, Entry};
use crate::files::{self, Durability};

/// The largest file that is resumed; compaction keeps real ones far below.
const MAX_SESSION_BYTES: u64 = 64 * 1024 * 1024;

/// Why a session cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SessionError {
    /// A name that must not become part of a path.
    #[error("the {0} has a name that is not allowed")]
    Name(&'static str),
    /// It cannot be resumed, and another attempt will not change that.
    #[error("{0}")]
    Unusable(String),
    /// The disk does not take it.
    #[error("cannot write the session: {0}")]
    Write(#[source] io::Error),
}

/// A conversation with the model, on disk and in memory.
#[derive(Debug)]
pub(crate) struct Session {
    directory: PathBuf,
    name: String,
    file: File,
    entries: Vec<Entry>,
}

impl Session {
    /// Resumes the session that the prompt names.
    ///
    /// # Errors
    ///
    /// It is missing or unreadable, or its name is not allowed.
    pub(crate) fn resume(home: &Path, prompt: &Prompt, name: &str) -> Result<Self, SessionError> {
        let directory = directory(home, prompt)?;
        let name = safe(name, "session")?;
        let path = path(&directory, name);
        let unusable = |error: io::Error| {
            SessionError::Unusable(match error.kind() {
                io::ErrorKind::NotFound => String::from("it is not there any more"),
                _ => format!("it cannot be read: {error}"),
            })
        };
        let mut file = open(&path).map_err(unusable)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file)
            .take(MAX_SESSION_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unusable)?;
        if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes > MAX_SESSION_BYTES) {
            return Err(SessionError::Unusable(String::from("it is too large")));
        }
        let (entries, good) =
            entries::parse(&bytes).map_err(|damage| SessionError::Unusable(damage.to_string()))?;
        let good = u64::try_from(good).unwrap_or(u64::MAX);
        file.set_len(good).map_err(SessionError::Write)?;
        Ok(Self { directory, name: name.to_owned(), file, entries })
    }

    /// Begins a session of its own, or goes on with the one that an earlier attempt at the same messages began: the
    /// gateway knows a session only once a run has ended.
    ///
    /// # Errors
    ///
    /// The conversation's name is not allowed, or the disk does not take it.
    pub(crate) fn fresh(home: &Path, prompt: &Prompt) -> Result<Self, SessionError> {
        let name = format!("from-{}", prompt.from);
        match Self::resume(home, prompt, &name) {
            Err(SessionError::Unusable(_)) => {}
            resumed => return resumed,
        }
        let directory = directory(home, prompt)?;
        fs::create_dir_all(&directory).map_err(SessionError::Write)?;
        // Where the name is taken by a session that cannot be resumed, that one stays as it is.
        let (name, file) = match create(&path(&directory, &name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let name = files::random_name();
                let file = create(&path(&directory, &name));
                (name, file)
            }
            created => (name, created),
        };
        let file = file.map_err(SessionError::Write)?;
        Ok(Self { directory, name, file, entries: Vec::new() })
    }

    /// The name to resume it by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an entry; it survives the end of this process from now on, and a loss of power after
    /// [`Self::synchronize`].
    ///
    /// # Errors
    ///
    /// The disk does not take it.
    pub(crate) fn append(&mut self, entry: Entry) -> Result<(), SessionError> {
        let line = line(&entry)?;
        self.file.write_all(&line).map_err(SessionError::Write)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Makes all entries survive a loss of power.
    ///
    /// # Errors
    ///
    /// The disk does not take them.
    pub(crate) fn synchronize(&self) -> Result<(), SessionError> {
        let directory = File::open(&self.directory).and_then(|directory| directory.sync_all());
        self.file.sync_all().and(directory).map_err(SessionError::Write)
    }

    /// Puts these entries in place of all; what stood there is kept beside it as `.1`.
    ///
    /// # Errors
    ///
    /// The disk does not take them; the session is as it was then.
    pub(crate) fn replace(&mut self, entries: Vec<Entry>) -> Result<(), SessionError> {
        let lines = entries.iter().map(line).collect::<Result<Vec<_>, _>>()?.concat();
        let path = path(&self.directory, &self.name);
        fs::copy(&path, path.with_extension("jsonl.1")).map_err(SessionError::Write)?;
        let name = format!("{}.jsonl", self.name);
        files::write_atomic(&self.directory, &name, &lines, Durability::Durable)
            .and_then(|()| open(&path))
            .map(|file| self.file = file)
            .map_err(SessionError::Write)?;
        self.entries = entries;
        Ok(())
    }
}

fn directory(home: &Path, prompt: &Prompt) -> Result<PathBuf, SessionError> {
    Ok(home.join("native").join(safe(&prompt.conversation, "conversation")?))
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.jsonl"))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

/// Opens an existing file; tools of the agent can write here, and a pipe would wait for ever.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).append(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn line(entry: &Entry) -> Result<Vec<u8>, SessionError> {
    let mut line = serde_json::to_vec(entry).map_err(|error| SessionError::Write(error.into()))?;
    line.push(b'\n');
    Ok(line)
}

/// Checks a name that becomes part of a path: 1 to 64 letters, digits, `_` or `-`.
fn safe<'a>(name: &'a str, what: &'static str) -> Result<&'a str, SessionError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let right = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
    right.then_some(name).ok_or(SessionError::Name(what))
}

#[cfg(test)]
mod tests {
    use super::super::entries::Origin;
    use super::*;

    const PROMPT: Origin = Origin::Prompt { from: 1, through: 1 };

    fn prompt(text: &str) -> Prompt {
        Prompt {
            version: protocol::VERSION,
            run: 1,
            conversation: String::from("c"),
            session: None,
            from: 1,
            through: 1,
            text: text.to_owned(),
            system: String::new(),
            main: false,
            engine: String::from("native"),
            model: String::from("m"),
            max_output_bytes: 1,
        }
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        let long = "a".repeat(65);
        for name in ["", ".", "..", "a/b", "a.b", "ä", "a\0", &long] {
            assert!(safe(name, "session").is_err(), "{name:?}");
        }
        for name in ["a", "slack-T01_C02", &long[..64]] {
            assert!(safe(name, "session").is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_session_is_resumed_without_its_torn_line() {
        let home = tempfile::tempdir().unwrap();
        let mut session = Session::fresh(home.path(), &prompt("hello")).unwrap();
        session.append(Entry::text(1, PROMPT, "hello")).unwrap();
        session.synchronize().unwrap();
        session.file.write_all(b"{\"run\":1,\"torn").unwrap();
        let name = session.name().to_owned();
        for _ in 0..2 {
            let again = Session::resume(home.path(), &prompt("hello"), &name).unwrap();
            assert_eq!(again.entries(), [Entry::text(1, PROMPT, "hello")]);
        }
    }

    #[test]
    fn another_attempt_finds_the_session_that_the_first_began() {
        let home = tempfile::tempdir().unwrap();
        let mut session = Session::fresh(home.path(), &prompt("hello")).unwrap();
        session.append(Entry::text(1, PROMPT, "hello")).unwrap();
        let again = Session::fresh(home.path(), &Prompt { run: 2, ..prompt("hello") }).unwrap();
        assert_eq!((again.name(), again.entries()), (session.name(), session.entries()));
        let later = Session::fresh(home.path(), &Prompt { from: 2, ..prompt("hello") }).unwrap();
        assert_ne!(later.name(), session.name());
        fs::write(path(&session.directory, session.name()), "damage\n{}\n").unwrap();
        let beside = Session::fresh(home.path(), &prompt("hello")).unwrap();
        assert_ne!(beside.name(), session.name());
        assert!(beside.entries().is_empty());
    }

    #[test]
    fn what_cannot_be_resumed_is_said() {
        let home = tempfile::tempdir().unwrap();
        let session = Session::fresh(home.path(), &prompt("hello")).unwrap();
        let other = Prompt { conversation: String::from("d"), ..prompt("hello") };
        for (prompt, name, words) in [
            (prompt("hello"), "gone", "it is not there any more"),
            (other, session.name(), "it is not there any more"),
            (prompt("hello"), "../c/x", "the session has a name that is not allowed"),
        ] {
            let error = Session::resume(home.path(), &prompt, name).unwrap_err();
            assert_eq!(error.to_string(), words);
        }
        let path = path(&session.directory, session.name());
        fs::write(&path, "damage\n{}\n").unwrap();
        assert!(Session::resume(home.path(), &prompt("hello"), session.name()).is_err());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(Session::resume(home.path(), &prompt("hello"), session.name()).is_err());
    }

    #[test]
    fn replacing_keeps_the_old_file_beside() {
        let home = tempfile::tempdir().unwrap();
        let mut session = Session::fresh(home.path(), &prompt("hello")).unwrap();
        session.append(Entry::text(1, PROMPT, "hello")).unwrap();
        let summary = Entry::text(1, Origin::Summary, "they said hello");
        session.replace(vec![summary.clone()]).unwrap();
        session.append(Entry::text(2, PROMPT, "and now")).unwrap();
        let name = session.name().to_owned();
        let again = Session::resume(home.path(), &prompt("x"), &name).unwrap();
        assert_eq!(again.entries(), session.entries());
        assert_eq!(again.entries()[0], summary);
        let old = fs::read(session.directory.join(format!("{name}.jsonl.1"))).unwrap();
        assert_eq!(entries::parse(&old).unwrap().0, [Entry::text(1, PROMPT, "hello")]);
    }
}
