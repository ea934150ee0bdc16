//! Files that agents send: copied at the moment of the request, so that what was said to be sent is sent as it was.
//!
//! A group's folder is as hostile as its mailbox: no link is followed out of it, and nothing but a plain file is read.
//! A copy is on disk under a name of ours before the outbox knows of it. It goes when its row is settled; one that no row
//! knows is left over from a crash, and goes at the next start.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use protocol::layout;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::check::{self, RejectReason};
use super::{confined, place};
use crate::model::{GroupName, RunId, SentFile};
use crate::text;

/// The largest file that is sent, in bytes.
pub(crate) const MAX_SENT_BYTES: u64 = 25 * 1024 * 1024;
/// The folder of the store, in the home, and in it that of the copies.
const STORE: &str = "store";
const FOLDER: &str = "outgoing";
/// The folder of the groups, in the home.
const GROUPS: &str = "groups";
/// The most characters of a file's name.
const NAME_CHARS: usize = 200;

/// The copies of files that wait to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    home: Arc<Path>,
    folder: Arc<OwnedFd>,
}

/// Why a file is not sent, for the agent to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileRefusal {
    /// The path leads elsewhere, or nowhere.
    #[error("only files in {} can be sent", layout::GROUP)]
    Outside,
    /// Nothing is there, or the way is none.
    #[error("there is no such file, or a link is on the way to it")]
    NotThere,
    /// It is too large.
    #[error("the file is larger than {} MiB", MAX_SENT_BYTES / (1024 * 1024))]
    TooLarge,
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is none that may be read.
    #[error("{0}")]
    Rejected(RejectReason),
}

impl Outgoing {
    /// The copies in this home: these, and no others.
    ///
    /// # Errors
    /// When their folder cannot be made, or not be cleared.
    pub(crate) fn open(home: &Path, wanted: &HashSet<String>) -> io::Result<Self> {
        let store = place::open_home(&home.join(STORE))?;
        let folder = Arc::new(confined::ensure_dir(store, FOLDER)?);
        let files = Self { home: home.into(), folder };
        for entry in std::fs::read_dir(files.path(Path::new("")))? {
            let name = entry?.file_name();
            if name.to_str().is_none_or(|name| !wanted.contains(name)) {
                files.remove(Path::new(&name))?;
            }
        }
        Ok(files)
    }

    /// Copies a file of a group's folder, at a path that an agent has named. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When the fault is ours; what was begun of a copy goes at the next start.
    pub(crate) fn copy(
        &self,
        group: &GroupName,
        run: RunId,
        path: &str,
    ) -> io::Result<Result<SentFile, FileRefusal>> {
        let Some((folders, name)) = beneath(path) else { return Ok(Err(FileRefusal::Outside)) };
        let mut at = place::open_home(&self.home.join(GROUPS))?;
        let mut source = Path::new(GROUPS).to_owned();
        for folder in std::iter::once(OsStr::new(group.as_str())).chain(folders) {
            at = match confined::open_dir(&at, folder) {
                Ok(directory) => directory,
                Err(error) => return refused(error),
            };
            source.push(folder);
        }
        let file = match check::open(&at, name, None, MAX_SENT_BYTES) {
            Ok(Ok(file)) => File::from(file),
            Ok(Err(RejectReason::TooLarge)) => return Ok(Err(FileRefusal::TooLarge)),
            Ok(Err(reason)) => return Ok(Err(FileRefusal::Rejected(reason))),
            Err(error) => return refused(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        };
        source.push(name);
        let copy = format!("{run}-{:016x}", fastrand::u64(..));
        let written = File::from(confined::create_file(&*self.folder, copy.as_str())?);
        // The agent may still hold the file open, so one byte more than allowed is asked for.
        let bytes = io::copy(&mut file.take(MAX_SENT_BYTES + 1), &mut &written)?;
        let refusal = match bytes {
            0 => FileRefusal::Empty,
            1..=MAX_SENT_BYTES => {
                written.sync_all()?;
                fs::fsync(&*self.folder)?;
                let name = text::one_line(&name.to_string_lossy(), NAME_CHARS);
                let (caption, copy) = (String::new(), copy.into());
                return Ok(Ok(SentFile { name, bytes, caption, source, copy }));
            }
            _ => FileRefusal::TooLarge,
        };
        self.remove(Path::new(&copy))?;
        Ok(Err(refusal))
    }

    /// The file with whole paths in place of those in the home.
    pub(crate) fn whole(&self, file: &SentFile) -> SentFile {
        let (source, copy) = (self.home.join(&file.source), self.path(&file.copy));
        SentFile { source, copy, ..file.clone() }
    }

    /// Removes a copy, if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove(&self, copy: &Path) -> io::Result<()> {
        match fs::unlinkat(&*self.folder, copy, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a copy lies.
    fn path(&self, copy: &Path) -> PathBuf {
        self.home.join(STORE).join(FOLDER).join(copy)
    }
}

/// The folders and the name of a path that leads down from the group's folder.
fn beneath(path: &str) -> Option<(impl Iterator<Item = &OsStr>, &OsStr)> {
    let path = Path::new(path);
    let path = if path.is_absolute() { path.strip_prefix(layout::GROUP).ok()? } else { path };
    let down = |part| match part {
        Component::Normal(name) => Some(Some(name)),
        Component::CurDir => Some(None),
        Component::Prefix(_) | Component::RootDir | Component::ParentDir => None,
    };
    let mut names: Vec<&OsStr> =
        path.components().map(down).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    let name = names.pop()?;
    Some((names.into_iter(), name))
}

/// What it means that a way could not be gone.
fn refused(error: Errno) -> io::Result<Result<SentFile, FileRefusal>> {
    match error {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::INVAL
        | Errno::NAMETOOLONG => Ok(Err(FileRefusal::NotThere)),
        Errno::ACCESS => Ok(Err(FileRefusal::Rejected(RejectReason::Unreadable))),
        error => Err(error.into()),
    }
}
