//! Gets rid of whatever a sandbox left behind, a bounded step at a time.
//!
//! A directory inside a directory is first moved up beside its parent, so a tree of any depth takes one level of
//! work and no recursion; every name is unlinked where it lies and nothing is followed.

use std::ffi::CString;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::confined;

/// How many names are looked at before they are acted upon.
const BATCH: usize = 4096;

/// The private directory whose content is on its way out.
#[derive(Debug)]
pub(super) struct Trash {
    directory: OwnedFd,
    litter: AtomicBool,
}

/// What a step of emptying came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Emptied {
    /// How many entries went for good.
    pub(super) removed: usize,
    /// Whether there is more.
    pub(super) more: bool,
}

impl Trash {
    /// A trash directory, which may hold something from before.
    pub(super) fn new(directory: OwnedFd) -> Self {
        Self { directory, litter: AtomicBool::new(true) }
    }

    /// The directory itself.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Moves an entry here, whatever it is; returns its new name, or `None` when it was gone already.
    pub(super) fn put(
        &self,
        from: BorrowedFd<'_>,
        name: impl Arg + Copy,
    ) -> rustix::io::Result<Option<String>> {
        let new_name = format!("{:016x}", fastrand::u64(..));
        match confined::move_new(from, name, self.directory(), new_name.as_str()) {
            Ok(()) => {
                self.litter.store(true, Ordering::Release);
                Ok(Some(new_name))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what is here, in at most `budget` steps.
    pub(super) fn empty(&self, mut budget: usize) -> io::Result<Emptied> {
        let mut removed = 0;
        if !self.litter.swap(false, Ordering::AcqRel) {
            return Ok(Emptied { removed, more: false });
        }
        loop {
            let names = batch(&self.directory)?;
            if names.is_empty() {
                return Ok(Emptied { removed, more: false });
            }
            for name in &names {
                if budget == 0 {
                    self.litter.store(true, Ordering::Release);
                    return Ok(Emptied { removed, more: true });
                }
                budget -= 1;
                match unlinkat(&self.directory, name.as_c_str(), AtFlags::empty()) {
                    Ok(()) => removed += 1,
                    // Linux says the one and other systems the other.
                    Err(Errno::ISDIR | Errno::PERM) => {
                        removed += self.empty_dir(name, &mut budget)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// Removes a directory, and the entries that are none; those that are end up beside it.
    fn empty_dir(&self, name: &CString, budget: &mut usize) -> io::Result<usize> {
        let directory = match confined::open_dir(&self.directory, name.as_c_str()) {
            Err(Errno::ACCESS) => {
                confined::open_up(self.directory(), name.as_c_str())?;
                confined::open_dir(&self.directory, name.as_c_str())?
            }
            other => other?,
        };
        let mut removed = 0;
        loop {
            let children = batch(&directory)?;
            for child in &children {
                if *budget == 0 {
                    return Ok(removed);
                }
                *budget -= 1;
                match self.remove_child(directory.as_fd(), child) {
                    Ok(()) => removed += 1,
                    // Closed to us as its owner; its children are looked at again.
                    Err(Errno::ACCESS) => confined::open_up(self.directory(), name.as_c_str())?,
                    // Somebody inside the sandbox was quicker.
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if children.is_empty() {
                break;
            }
        }
        match unlinkat(&self.directory, name.as_c_str(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(removed + 1),
            // A process in the sandbox still has it open and put something in; the next step will see.
            Err(Errno::NOTEMPTY) => Ok(removed),
            Err(error) => Err(error.into()),
        }
    }

    fn remove_child(&self, directory: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<()> {
        match unlinkat(directory, name.as_c_str(), AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => self.put(directory, name.as_c_str()).map(drop),
            other => other,
        }
    }
}

/// Some of the names in a directory; none when it is empty.
fn batch(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    confined::each_entry(directory, |name| {
        names.push(name.to_owned());
        if names.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(names)
}
