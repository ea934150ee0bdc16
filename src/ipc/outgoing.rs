//! Files that agents send: copied at the moment of the request, so that what was said to be sent is sent as it was.
//!
//! A group's folder is as hostile as its mailbox: no link is followed out of it, and nothing but a plain file is read.
//! A copy is on disk under a name of ours before the outbox knows of it. It goes when its row is settled, and at once
//! when it gets none; one that no row knows is left over from a crash, and goes at the next start.

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
use tracing::warn;

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

/// A copy that goes again unless it is kept.
#[derive(Debug)]
pub(crate) struct Copied {
    files: Outgoing,
    file: SentFile,
    is_kept: bool,
}

impl Outgoing {
    /// The copies in this home: these, and no others.
    ///
    /// # Errors
    /// When their folder cannot be made, or not be cleared.
    pub(crate) fn open(home: &Path, wanted: &HashSet<PathBuf>) -> io::Result<Self> {
        let store = place::open_home(&home.join(STORE))?;
        let folder = Arc::new(confined::ensure_dir(store, FOLDER)?);
        let files = Self { home: home.into(), folder };
        for entry in std::fs::read_dir(files.path(Path::new("")))? {
            let name = PathBuf::from(entry?.file_name());
            if !wanted.contains(&name) {
                files.remove(&name)?;
            }
        }
        Ok(files)
    }

    /// Copies a file of a group's folder, at a path that an agent has named. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When the fault is ours, or too little of the disk is free.
    pub(crate) fn copy(
        &self,
        group: &GroupName,
        run: RunId,
        path: &str,
    ) -> io::Result<Result<Copied, RejectReason>> {
        let Some(names) = beneath(path) else { return Ok(Err(RejectReason::Outside)) };
        let Some((name, folders)) = names.split_last() else {
            return Ok(Err(RejectReason::Outside));
        };
        let mut at = place::open_home(&self.home.join(GROUPS))?;
        let mut source = Path::new(GROUPS).to_owned();
        for folder in [&OsStr::new(group.as_str())].into_iter().chain(folders) {
            at = match confined::open_dir(&at, *folder) {
                Ok(directory) => directory,
                Err(error) => return refused(error.into()),
            };
            source.push(folder);
        }
        let file = match check::open(&at, *name, None, MAX_SENT_BYTES) {
            Ok(Ok(file)) => File::from(file),
            Ok(Err(reason)) => return Ok(Err(reason)),
            Err(error) => return refused(error),
        };
        source.push(name);
        confined::has_room(&*self.folder)?;
        let copy = format!("{run}-{:016x}", fastrand::u64(..));
        let written = File::from(confined::create_file(&*self.folder, copy.as_str())?);
        let name = text::one_line(&name.to_string_lossy(), NAME_CHARS);
        let sent = SentFile { name, bytes: 0, caption: String::new(), source, copy: copy.into() };
        let mut copied = Copied { files: self.clone(), file: sent, is_kept: false };
        // The agent may still hold the file open, so one byte more than allowed is asked for.
        let bytes = io::copy(&mut file.take(MAX_SENT_BYTES + 1), &mut &written)?;
        match bytes {
            0 => return Ok(Err(RejectReason::Empty)),
            1..=MAX_SENT_BYTES => copied.file.bytes = bytes,
            _ => return Ok(Err(RejectReason::TooLarge)),
        }
        written.sync_all()?;
        fs::fsync(&*self.folder)?;
        Ok(Ok(copied))
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

impl Copied {
    /// Keeps the copy; whoever asks for this removes it.
    pub(crate) fn keep(mut self) -> SentFile {
        self.is_kept = true;
        self.file.clone()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = self.files.remove(&self.file.copy)
        {
            warn!(%error, "a copy of a file stays until the next start");
        }
    }
}

/// The parts of a path that leads down from the group's folder.
fn beneath(path: &str) -> Option<Vec<&OsStr>> {
    let path = Path::new(path);
    let path = if path.is_absolute() { path.strip_prefix(layout::GROUP).ok()? } else { path };
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let down = |part| if let Component::Normal(name) = part { Some(name) } else { None };
    parts.map(down).collect()
}

/// What it means that a way could not be gone.
fn refused(error: io::Error) -> io::Result<Result<Copied, RejectReason>> {
    match Errno::from_io_error(&error) {
        Some(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::INVAL
            | Errno::NAMETOOLONG,
        ) => Ok(Err(RejectReason::NotThere)),
        Some(Errno::ACCESS) => Ok(Err(RejectReason::Unreadable)),
        _ => Err(error),
    }
}
