//! The folders on the host that agents own: made closed to everybody else, and handed over without following links.
//!
//! Everything above the last component is the gateway's, so no agent can lead these calls astray; what lies in a
//! folder is handed over only once, while it still belongs to the gateway's user and no agent has ever been in it.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::User;

/// How deep a folder may be nested that is handed over.
const DEEPEST: usize = 128;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes a folder that belongs to `user`, or hands over the one that is there.
///
/// # Errors
/// When it cannot be made, is a link, or belongs to somebody whose files are not ours to hand over.
pub(super) fn own(path: &Path, user: User) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        private(parent)?;
    }
    match fs::mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
    let stat = fs::fstat(&folder)?;
    if stat.st_uid == user.uid {
        return Ok(());
    }
    hand_over(&folder, stat.st_uid, user, DEEPEST)
}

/// Makes a folder of the gateway's own, and those above it.
pub(super) fn private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Gives a folder and what lies in it from its old owner to `user`, itself last: what was interrupted goes on the
/// next time.
fn hand_over(folder: &OwnedFd, from: u32, user: User, deepest: usize) -> io::Result<()> {
    let owner = (Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)));
    for name in names(folder)? {
        let stat = fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_uid != from {
            continue;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let deeper = deepest.checked_sub(1).ok_or(Errno::LOOP)?;
            let folder = fs::openat(folder, &name, DIRECTORY, Mode::empty())?;
            hand_over(&folder, from, user, deeper)?;
        } else if is_only_here(&stat) {
            fs::chownat(folder, &name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(fs::fchown(folder, owner.0, owner.1)?)
}

/// Whether an entry has no other name elsewhere.
fn is_only_here(stat: &Stat) -> bool {
    stat.st_nlink == 1
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn owner(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn a_folder_is_made_closed_and_never_through_a_link() {
        let home = tempfile::tempdir().unwrap();
        let user = crate::sandbox::spec::user();
        let folder = home.path().join("store/sessions/main");
        own(&folder, user).unwrap();
        own(&folder, user).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(owner(&folder), user.uid);
        let link = home.path().join("link");
        symlink(&folder, &link).unwrap();
        own(&link, user).unwrap_err();
    }

    #[test]
    fn what_the_gateway_made_goes_along_and_nothing_else() {
        if !rustix::process::geteuid().is_root() {
            // Only root can hand anything over; anybody else's folders are the agent's from the beginning.
            own(Path::new("/usr"), crate::sandbox::spec::user()).unwrap_err();
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let (folder, user) = (home.path().join("group"), User { uid: 1000, gid: 1000 });
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        for file in ["CLAUDE.md", "deep/file", "theirs", "twice"] {
            std::fs::write(folder.join(file), "").unwrap();
        }
        std::fs::hard_link(folder.join("twice"), home.path().join("elsewhere")).unwrap();
        symlink("/etc/hostname", folder.join("link")).unwrap();
        std::os::unix::fs::chown(folder.join("theirs"), Some(4321), None).unwrap();
        own(&folder, user).unwrap();
        for (name, expected) in [
            ("", 1000),
            ("CLAUDE.md", 1000),
            ("deep", 1000),
            ("deep/file", 1000),
            ("link", 1000),
            ("theirs", 4321),
            ("twice", 0),
        ] {
            assert_eq!(owner(&folder.join(name)), expected, "{name}");
        }
        assert_eq!(owner(Path::new("/etc/hostname")), 0);
    }
}
