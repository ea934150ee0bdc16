//! Calls on the file system that cannot be led astray: every name is one component beneath an open directory,
//! and no link is ever followed.

use std::io;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::path::Arg;

/// The mode of every directory made here.
const PRIVATE: Mode = Mode::RWXU;
/// How a directory is opened.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How much of a disk is left free, for the store and everything else.
const SPARE_BYTES: u64 = 256 * 1024 * 1024;

/// Makes sure that a large file may still be written where `at` is.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`] when too little of the disk is free.
pub(super) fn has_room(at: impl AsFd) -> io::Result<()> {
    let disk = fs::fstatvfs(at)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < SPARE_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// Opens a directory beneath `at`.
pub(super) fn open_dir(at: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    open(at.as_fd(), name, DIRECTORY)
}

/// Opens a directory beneath `at`, after making it if it is not there.
pub(super) fn ensure_dir(at: impl AsFd, name: impl Arg + Copy) -> rustix::io::Result<OwnedFd> {
    match fs::mkdirat(&at, name, PRIVATE) {
        Ok(()) | Err(Errno::EXIST) => open_dir(at, name),
        Err(error) => Err(error),
    }
}

/// Opens a file beneath `at` for reading, without waiting for whoever is at the other end of a pipe or holds a
/// lease.
pub(super) fn open_file(at: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(at.as_fd(), name, flags)
}

/// Makes a new file beneath `at`, which must not be there yet.
pub(super) fn create_file(at: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR)
}

/// Opens `name` beneath `at` on the same file system.
#[cfg(target_os = "linux")]
fn open(at: BorrowedFd<'_>, name: impl Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    name.into_with_c_str(|name| fs::openat2(at, name, flags, Mode::empty(), resolve))
}

/// Opens `name` beneath `at`; names are single components, so not following the last one is enough.
#[cfg(not(target_os = "linux"))]
fn open(at: BorrowedFd<'_>, name: impl Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    fs::openat(at, name, flags, Mode::empty())
}

/// What lies at `name`, itself and not what it points at.
pub(super) fn stat(at: impl AsFd, name: impl Arg) -> rustix::io::Result<Stat> {
    fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Moves an entry to a place where nothing is yet.
pub(super) fn move_new(
    from: BorrowedFd<'_>,
    name: impl Arg + Copy,
    to: BorrowedFd<'_>,
    new_name: impl Arg + Copy,
) -> rustix::io::Result<()> {
    let rename = || fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE);
    match rename() {
        // Moving a directory writes into it; its owner may have forbidden that, also to us if we are the owner.
        Err(Errno::ACCESS) => {
            open_up(from, name)?;
            rename()
        }
        other => other,
    }
}

/// Gives a directory to `owner`, unless it is theirs.
pub(super) fn give(directory: impl AsFd, owner: (u32, u32)) -> rustix::io::Result<()> {
    let stat = fs::fstat(&directory)?;
    if (stat.st_uid, stat.st_gid) == owner {
        return Ok(());
    }
    fs::fchown(directory, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
}

/// Lets us into a directory of our own user that was closed to everybody.
pub(super) fn open_up(at: BorrowedFd<'_>, name: impl Arg) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // Linux changes no mode by descriptor and name without following links, but it does so through /proc.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = open(at, name, flags)?;
        fs::chmodat(CWD, format!("/proc/self/fd/{}", place.as_raw_fd()), PRIVATE, AtFlags::empty())
    }
    #[cfg(not(target_os = "linux"))]
    fs::chmodat(at, name, PRIVATE, AtFlags::SYMLINK_NOFOLLOW)
}

/// Whether `stat` is of a regular file.
pub(super) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// When a file was written, in nanoseconds.
pub(super) fn modified(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// Calls `visit` with the name of every entry but `.` and `..`, until it says that it has seen enough.
pub(super) fn each_entry(
    directory: impl AsFd,
    mut visit: impl FnMut(&std::ffi::CStr) -> std::ops::ControlFlow<()>,
) -> rustix::io::Result<()> {
    for entry in fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") && visit(name).is_break() {
            break;
        }
    }
    Ok(())
}

/// Writes all of `bytes`.
pub(super) fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
