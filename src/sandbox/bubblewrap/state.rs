//! What outlives the gateway: `store/sandboxes/<id>.json`, written by us before a sandbox starts, and `<id>.status`,
//! written by bubblewrap: the process first, and its exit code last.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::process::Init;
use crate::model::{GroupName, SandboxId};
use crate::sandbox::folders;

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The most bytes of a file that are read; both kinds have some hundred.
const MOST_BYTES: u64 = 64 * 1024;

/// The folder of the state files.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    boot: String,
}

/// What we write about a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The group it works for.
    pub(super) group: GroupName,
    /// The boot in which it was started; process numbers of another mean nothing.
    pub(super) boot: String,
}

#[derive(Serialize, Deserialize)]
struct RecordFile {
    group: String,
    boot: String,
}

/// What bubblewrap has written about a sandbox so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Its PID 1.
    pub(super) init: Option<Init>,
    /// Its exit code: 128 and the number of the signal, where it was killed.
    pub(super) exit: Option<i32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct StatusLine {
    child_pid: Option<i32>,
    pid_namespace: Option<u64>,
    exit_code: Option<i32>,
}

impl State {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        folders::private(folder)?;
        let boot = std::fs::read_to_string(BOOT_ID)?.trim().to_owned();
        Ok(Self { folder: folder.to_owned(), boot })
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// This boot.
    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    /// Writes down that a sandbox is about to start; returns the file for bubblewrap.
    ///
    /// # Errors
    /// When there is one of this id already, or nothing can be written.
    pub(super) fn create(&self, id: &SandboxId, group: &GroupName) -> io::Result<File> {
        let record = RecordFile { group: group.to_string(), boot: self.boot.clone() };
        let new = |path| OpenOptions::new().append(true).create_new(true).mode(0o600).open(path);
        new(self.path(id, "json"))?.write_all(&serde_json::to_vec(&record)?)?;
        let status = new(self.path(id, "status"))?;
        // The lock belongs to the open file: it ends when the last process that has it is gone.
        rustix::fs::flock(&status, FlockOperation::NonBlockingLockExclusive)?;
        Ok(status)
    }

    /// Whether a bubblewrap may still write the status of a sandbox.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub(super) fn is_written_to(&self, id: &SandboxId) -> io::Result<bool> {
        let status = match File::open(self.path(id, "status")) {
            Ok(status) => status,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&status, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// What is written about a sandbox; `None` when there is none, or nothing that can be understood.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn record(&self, id: &SandboxId) -> io::Result<Option<Record>> {
        let Some(text) = read(&self.path(id, "json"))? else { return Ok(None) };
        let Ok(file) = serde_json::from_slice::<RecordFile>(&text) else { return Ok(None) };
        Ok(file.group.parse().ok().map(|group| Record { group, boot: file.boot }))
    }

    /// What bubblewrap has written about a sandbox so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn status(&self, id: &SandboxId) -> io::Result<Status> {
        let text = read(&self.path(id, "status"))?.unwrap_or_default();
        Ok(parse(&text))
    }

    /// The sandboxes that are written down.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn list(&self) -> io::Result<Vec<(SandboxId, Record)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            if let Some(id) = id
                && let Some(record) = self.record(&id)?
            {
                found.push((id, record));
            }
        }
        Ok(found)
    }

    /// Forgets a sandbox.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub(super) fn remove(&self, id: &SandboxId) -> io::Result<()> {
        for kind in ["status", "json"] {
            match std::fs::remove_file(self.path(id, kind)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, id: &SandboxId, kind: &str) -> PathBuf {
        self.folder.join(format!("{id}.{kind}"))
    }
}

/// Reads a file; `None` when it is not there.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// Reads bubblewrap's status: one JSON object after another, the last of which may not be whole yet.
fn parse(text: &[u8]) -> Status {
    let lines = serde_json::Deserializer::from_slice(text).into_iter::<StatusLine>();
    lines.map_while(Result::ok).fold(Status::default(), |status, line| Status {
        init: status.init.or(match (line.child_pid, line.pid_namespace) {
            (Some(pid), Some(namespace)) => Some(Init { pid, namespace }),
            _ => None,
        }),
        exit: status.exit.or(line.exit_code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_as_far_as_it_is_written() {
        let first = r#"{ "child-pid": 17, "net-namespace": 5, "pid-namespace": 4026532256 }"#;
        let init = Some(Init { pid: 17, namespace: 4_026_532_256 });
        for (text, expected) in [
            (String::new(), Status::default()),
            (first[..20].to_owned(), Status::default()),
            (first.to_owned(), Status { init: init.clone(), exit: None }),
            (format!("{first}\n{{ \"exit-co"), Status { init: init.clone(), exit: None }),
            (format!("{first}\n{{ \"exit-code\": 137 }}\n"), Status { init, exit: Some(137) }),
            ("{ \"exit-code\": 1 }".to_owned(), Status { init: None, exit: Some(1) }),
            ("not json".to_owned(), Status::default()),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_was_written_down_is_found_again() {
        let home = tempfile::tempdir().unwrap();
        let (id, group) = ("s1".parse().unwrap(), "family".parse::<GroupName>().unwrap());
        let state = State::open(&home.path().join("sandboxes")).unwrap();
        let status = state.create(&id, &group).unwrap();
        assert!(state.is_written_to(&id).unwrap());
        drop(status);
        assert!(!state.is_written_to(&id).unwrap());
        assert!(state.create(&id, &group).is_err(), "an id is used once");
        std::fs::write(state.folder().join("other.json"), "cut").unwrap();
        let again = State::open(state.folder()).unwrap();
        let record = Record { group, boot: again.boot().to_owned() };
        assert_eq!(again.list().unwrap(), [(id.clone(), record)]);
        again.remove(&id).unwrap();
        again.remove(&id).unwrap();
        assert_eq!(again.record(&id).unwrap(), None);
    }
}
