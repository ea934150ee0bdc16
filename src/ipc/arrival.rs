//! Files that people have sent, on their way into the folder of a group, where its agent may do anything at any time.
//!
//! ```text
//! groups/<group>/files/    mounted, and the agent's
//! groups/.arriving/        private: what is being written
//! ```
//!
//! A file is written where no sandbox sees it, and moved in when it is whole and on disk; no link is followed on the
//! way, and nothing that lies there is replaced but the same file. One that is given up leaves nothing behind.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, RenameFlags};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;

use super::confined;
use super::place::open_home;
use crate::model::GroupName;

/// Where files lie in the folder of a group.
const FILES: &str = "files";
/// The directory beside the groups' in which files are written; no group can have this name.
const ARRIVING: &str = ".arriving";
/// How much of the disk is left free, for the store and everything else.
const SPARE_BYTES: u64 = 256 * 1024 * 1024;
/// How many names are tried for a file.
const ATTEMPTS: usize = 4;

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Arrival {
    file: tokio::fs::File,
    /// Its name where it is written, until it is moved.
    unfinished: Option<String>,
    arriving: OwnedFd,
    folder: OwnedFd,
    owner: (u32, u32),
}

impl Arrival {
    /// Begins a file for a group whose folder is there; `owner` is the user and group id that the agent has.
    ///
    /// # Errors
    /// When it cannot be made, or too little of the disk is free.
    pub(crate) fn begin(groups: &Path, group: &GroupName, owner: (u32, u32)) -> io::Result<Self> {
        let home = open_home(groups)?;
        let disk = fs::fstatvfs(&home)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < SPARE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let folder = confined::open_dir(&home, group.as_str())?;
        let arriving = confined::ensure_dir(&home, ARRIVING)?;
        let name = format!("{:016x}", fastrand::u64(..));
        let file = File::from(confined::create_file(&arriving, name.as_str())?);
        let unfinished = Some(name);
        Ok(Self { file: file.into(), unfinished, arriving, folder, owner })
    }

    /// Writes what comes next.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Moves the file in, as `name` or, where another lies there, as something that ends so; returns its path in the
    /// group's folder. When this returns, it is on disk.
    ///
    /// # Errors
    /// When it cannot be moved in.
    pub(crate) async fn settle(mut self, name: &str) -> io::Result<PathBuf> {
        self.file.flush().await?;
        confined::give(self.file.as_fd(), self.owner)?;
        self.file.sync_all().await?;
        let files = confined::ensure_dir(&self.folder, FILES)?;
        confined::give(&files, self.owner)?;
        let size = self.file.metadata().await?.len();
        let name = self.move_in(&files, name, size)?;
        for directory in [files, self.folder.try_clone()?] {
            tokio::fs::File::from(File::from(directory)).sync_all().await?;
        }
        Ok(Path::new(FILES).join(name))
    }

    fn move_in(&mut self, files: &OwnedFd, name: &str, size: u64) -> io::Result<String> {
        let unfinished = self.unfinished.clone().unwrap_or_default();
        for attempt in 0..ATTEMPTS {
            let (name, first) = match attempt {
                0 => (name.to_owned(), true),
                _ => (format!("{:04x}-{name}", fastrand::u16(..)), false),
            };
            let moved = match fs::renameat_with(
                &self.arriving,
                unfinished.as_str(),
                files,
                name.as_str(),
                RenameFlags::NOREPLACE,
            ) {
                // It came before, and the message that it belongs to was not kept then.
                Err(Errno::EXIST) if first && is_of_size(files, &name, size) => {
                    fs::renameat(&self.arriving, unfinished.as_str(), files, name.as_str())
                }
                moved => moved,
            };
            match moved {
                Err(Errno::EXIST) => {}
                moved => {
                    moved?;
                    self.unfinished = None;
                    return Ok(name);
                }
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Removes a file that was moved in; that it is gone already is no fault.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove(groups: &Path, group: &GroupName, path: &Path) -> io::Result<()> {
        let name = path.strip_prefix(FILES).map_err(io::Error::other)?;
        if Some(name.as_os_str()) != name.file_name() {
            return Err(Errno::INVAL.into());
        }
        let removed = confined::open_dir(open_home(groups)?, group.as_str())
            .and_then(|folder| confined::open_dir(folder, FILES))
            .and_then(|files| fs::unlinkat(files, name, AtFlags::empty()));
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Clears away what an earlier gateway was writing when it ended.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn clear_away(groups: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(groups.join(ARRIVING)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            cleared => cleared,
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let Some(name) = self.unfinished.take() else { return };
        if let Err(error) = fs::unlinkat(&self.arriving, name, AtFlags::empty()) {
            tracing::debug!(%error, "an unfinished file stays until the next start");
        }
    }
}

/// Whether a file of this size lies there.
fn is_of_size(files: &OwnedFd, name: &str, size: u64) -> bool {
    confined::stat(files, name)
        .is_ok_and(|stat| confined::is_file(&stat) && u64::try_from(stat.st_size) == Ok(size))
}
