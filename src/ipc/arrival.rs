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
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;

use super::confined;
use super::place::open_home;
use crate::model::GroupName;

/// Where files lie in the folder of a group.
const FILES: &str = "files";
/// The directory beside the groups' in which files are written; no group can have this name.
const ARRIVING: &str = ".arriving";

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Arrival {
    file: tokio::fs::File,
    /// Its name where it is written, until it is moved.
    unfinished: String,
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
        confined::has_room(&home)?;
        let folder = confined::open_dir(&home, group.as_str())?;
        let arriving = confined::ensure_dir(&home, ARRIVING)?;
        let unfinished = format!("{:016x}", fastrand::u64(..));
        let file = File::from(confined::create_file(&arriving, unfinished.as_str())?);
        Ok(Self { file: file.into(), unfinished, arriving, folder, owner })
    }

    /// Writes what comes next.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Moves the file in under this name, and returns its path in the group's folder. When this returns, it is on disk.
    ///
    /// # Errors
    /// When it cannot be moved in, or something else lies there.
    pub(crate) async fn settle(mut self, name: &str) -> io::Result<PathBuf> {
        self.file.flush().await?;
        confined::give(self.file.as_fd(), self.owner)?;
        self.file.sync_all().await?;
        let size = self.file.metadata().await?.len();
        let files = confined::ensure_dir(&self.folder, FILES)?;
        confined::give(&files, self.owner)?;
        let (from, unfinished) = (self.arriving.as_fd(), self.unfinished.as_str());
        match confined::move_new(from, unfinished, files.as_fd(), name) {
            // It came before, and the message that it belongs to was not kept then.
            Err(Errno::EXIST) if is_of_size(&files, name, size) => {
                fs::renameat(from, unfinished, &files, name)
            }
            moved => moved,
        }?;
        self.unfinished.clear();
        for directory in [files, self.folder.try_clone()?] {
            tokio::fs::File::from(File::from(directory)).sync_all().await?;
        }
        Ok(Path::new(FILES).join(name))
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
        if self.unfinished.is_empty() {
            return;
        }
        let name = self.unfinished.as_str();
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// A folder of groups, and the group in it.
    fn groups() -> (tempfile::TempDir, GroupName) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("team")).unwrap();
        (home, "team".parse().unwrap())
    }

    fn me() -> (u32, u32) {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    async fn put(home: &Path, group: &GroupName, name: &str, content: &str) -> io::Result<PathBuf> {
        let mut arrival = Arrival::begin(home, group, me())?;
        arrival.write(content.as_bytes()).await?;
        arrival.settle(name).await
    }

    fn count(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_is_moved_in_whole_and_replaces_nothing_but_itself() {
        let (home, group) = groups();
        let folder = home.path().join("team");
        let path = put(home.path(), &group, "1-a.txt", "one").await.unwrap();
        assert_eq!(path, Path::new("files/1-a.txt"));
        let metadata = std::fs::metadata(folder.join(&path)).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid()), (0o600, me().0));
        // The same file again, as after a crash before its message was kept.
        assert_eq!(put(home.path(), &group, "1-a.txt", "two").await.unwrap(), path);
        assert_eq!(std::fs::read_to_string(folder.join(&path)).unwrap(), "two");
        put(home.path(), &group, "1-a.txt", "another").await.unwrap_err();
        assert_eq!(std::fs::read_to_string(folder.join(&path)).unwrap(), "two");
        std::fs::create_dir(folder.join("files/2-b")).unwrap();
        put(home.path(), &group, "2-b", "").await.unwrap_err();
        assert_eq!(count(&home.path().join(ARRIVING)), 0);
    }

    #[tokio::test]
    async fn what_is_given_up_leaves_nothing_and_what_a_crash_left_is_cleared_away() {
        let (home, group) = groups();
        let mut arrival = Arrival::begin(home.path(), &group, me()).unwrap();
        arrival.write(b"half").await.unwrap();
        let arriving = home.path().join(ARRIVING);
        assert_eq!(count(&arriving), 1);
        drop(arrival);
        assert_eq!((count(&arriving), count(&home.path().join("team"))), (0, 0));
        std::fs::write(arriving.join("0123456789abcdef"), "half").unwrap();
        Arrival::clear_away(home.path()).unwrap();
        Arrival::clear_away(home.path()).unwrap();
        assert!(!arriving.exists());
    }

    #[tokio::test]
    async fn no_link_is_followed_and_nothing_else_is_removed() {
        let (home, group) = groups();
        let (folder, elsewhere) = (home.path().join("team"), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("victim"), "x").unwrap();
        symlink(elsewhere.path(), folder.join(FILES)).unwrap();
        put(home.path(), &group, "a", "x").await.unwrap_err();
        Arrival::remove(home.path(), &group, Path::new("files/victim")).unwrap_err();
        std::fs::remove_file(folder.join(FILES)).unwrap();
        std::fs::write(folder.join(FILES), "").unwrap();
        put(home.path(), &group, "a", "x").await.unwrap_err();
        std::fs::remove_file(folder.join(FILES)).unwrap();
        std::fs::create_dir(folder.join(FILES)).unwrap();
        // A link in the place of the file itself is not the file.
        symlink(elsewhere.path().join("victim"), folder.join("files/a")).unwrap();
        put(home.path(), &group, "a", "x").await.unwrap_err();
        for path in ["files/../CLAUDE.md", "CLAUDE.md", "/files/a", "files", "files/a/b"] {
            Arrival::remove(home.path(), &group, Path::new(path)).unwrap_err();
        }
        for path in ["files/a", "files/gone"] {
            Arrival::remove(home.path(), &group, Path::new(path)).unwrap();
        }
        assert_eq!((count(&folder.join(FILES)), count(elsewhere.path())), (0, 1));
        assert_eq!(std::fs::read_to_string(elsewhere.path().join("victim")).unwrap(), "x");
        // A group that is a link is no group.
        std::fs::rename(&folder, home.path().join("moved")).unwrap();
        symlink(elsewhere.path(), &folder).unwrap();
        put(home.path(), &group, "a", "x").await.unwrap_err();
    }
}
