//! The directories of one sandbox on the host: made, opened, mended, removed.
//!
//! ```text
//! store/ipc/<group>/<sandbox>/      mounted; the agent may do anything here, at any time
//! store/ipc/.claims/<sandbox>/      private
//!     mounted/                      what will be mounted, until it is known for which group
//!     claims/                       taken and not yet forgotten
//!     quarantine/                   not understood, for people
//!     trash/                        on its way out
//!     out-<random>                  being written
//! ```

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::layout;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::claim::ClaimName;
use super::trash::{Emptied, Trash};
use super::watch::IpcWatch;
use super::{Mailbox, confined};
use crate::model::{GroupName, SandboxId};

/// The directory beside those of the groups that holds every sandbox's private one; no group can have this name.
pub(super) const PRIVATE_HOME: &str = ".claims";
const CLAIMS: &str = "claims";
const QUARANTINE: &str = "quarantine";
pub(super) const TRASH: &str = "trash";
const MOUNTED: &str = "mounted";
/// How often a place that the agent changes under our hands is mended in one call.
const MEND_ATTEMPTS: usize = 4;

/// One sandbox's directories.
#[derive(Debug)]
pub(super) struct Inner {
    sandbox: SandboxId,
    path: PathBuf,
    /// The user and group id that the agent has.
    pub(super) owner: (u32, u32),
    /// The mounted directory.
    pub(super) root: OwnedFd,
    pub(super) private: OwnedFd,
    pub(super) claims: OwnedFd,
    pub(super) quarantine: OwnedFd,
    pub(super) trash: Trash,
    next_claim: AtomicU64,
    /// The number of the input put last.
    pub(super) last_input: Mutex<u64>,
    /// Claims that nobody holds, by number.
    unheld: Mutex<BTreeMap<u64, ClaimName>>,
}

/// A directory of the mounted one, open.
pub(super) struct Subdir {
    pub(super) directory: OwnedFd,
    /// Whether the agent had put something else in its place.
    pub(super) replaced: bool,
}

/// Makes the directories of a sandbox whose group is not known yet.
pub(super) fn prepare(root: &Path, sandbox: &SandboxId, owner: (u32, u32)) -> io::Result<()> {
    match fs::mkdir(root, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let private_home = confined::ensure_dir(open_home(root)?, PRIVATE_HOME)?;
    let private = confined::ensure_dir(&private_home, sandbox.as_str())?;
    for name in [CLAIMS, QUARANTINE, TRASH] {
        confined::ensure_dir(&private, name)?;
    }
    let mounted = confined::ensure_dir(&private, MOUNTED)?;
    for name in layout::DIRECTORIES {
        confined::give(confined::ensure_dir(&mounted, name)?, owner)?;
    }
    Ok(confined::give(&mounted, owner)?)
}

/// Puts what was prepared in its place.
fn place(root: &Path, group: &GroupName, sandbox: &SandboxId) -> io::Result<()> {
    let home = open_home(root)?;
    let private = confined::open_dir(confined::open_dir(&home, PRIVATE_HOME)?, sandbox.as_str())?;
    let group = confined::ensure_dir(&home, group.as_str())?;
    Ok(confined::move_new(private.as_fd(), MOUNTED, group.as_fd(), sandbox.as_str())?)
}

impl Inner {
    /// Takes what was prepared for this sandbox, or makes it.
    pub(super) fn create(
        root: &Path,
        group: &GroupName,
        sandbox: &SandboxId,
        owner: (u32, u32),
    ) -> io::Result<Self> {
        match place(root, group, sandbox) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                prepare(root, sandbox, owner)?;
                place(root, group, sandbox)?;
            }
            placed => placed?,
        }
        Self::open(root, group, sandbox, owner)
    }

    /// Opens what is there; only the sandbox's own directory must be.
    pub(super) fn open(
        root: &Path,
        group: &GroupName,
        sandbox: &SandboxId,
        owner: (u32, u32),
    ) -> io::Result<Self> {
        let home = open_home(root)?;
        let group_dir = confined::open_dir(&home, group.as_str())?;
        let mounted = confined::open_dir(&group_dir, sandbox.as_str())?;
        confined::give(&mounted, owner)?;
        let private_home = confined::ensure_dir(&home, PRIVATE_HOME)?;
        let private = confined::ensure_dir(&private_home, sandbox.as_str())?;
        let inner = Self {
            sandbox: sandbox.clone(),
            path: root.join(group.as_str()).join(sandbox.as_str()),
            owner,
            root: mounted,
            claims: confined::ensure_dir(&private, CLAIMS)?,
            quarantine: confined::ensure_dir(&private, QUARANTINE)?,
            trash: Trash::new(confined::ensure_dir(&private, TRASH)?),
            private,
            next_claim: AtomicU64::new(0),
            last_input: Mutex::new(0),
            unheld: Mutex::default(),
        };
        inner.recover()?;
        for name in layout::DIRECTORIES {
            inner.subdir(name)?;
        }
        Ok(inner)
    }

    /// Finds what was claimed and not forgotten, and clears away what was being written.
    fn recover(&self) -> io::Result<()> {
        let mut unheld = self.unheld();
        let mut strange = Vec::new();
        confined::each_entry(&self.claims, |name| {
            match name.to_str().ok().and_then(|text| text.parse::<ClaimName>().ok()) {
                Some(claim) => drop(unheld.insert(claim.number, claim)),
                None => strange.push(name.to_owned()),
            }
            ControlFlow::Continue(())
        })?;
        let next = unheld.last_key_value().map_or(0, |(number, _)| number + 1);
        self.next_claim.store(next, Ordering::Relaxed);
        for name in strange {
            self.trash.put(self.claims.as_fd(), name.as_c_str())?;
        }
        let mut unfinished = Vec::new();
        confined::each_entry(&self.private, |name| {
            if name.to_bytes().starts_with(b"out-") {
                unfinished.push(name.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        for name in unfinished {
            fs::unlinkat(&self.private, name.as_c_str(), AtFlags::empty())?;
        }
        Ok(())
    }

    /// The sandbox.
    pub(super) fn sandbox(&self) -> &SandboxId {
        &self.sandbox
    }

    /// Where the mounted directory is on the host.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory of the mounted one. Whatever the agent put in its place goes, and a fresh one is made.
    ///
    /// # Errors
    /// `WouldBlock` when the agent changes it as fast as it is mended.
    pub(super) fn subdir(&self, name: &'static str) -> io::Result<Subdir> {
        let root = self.root.as_fd();
        let mut replaced = false;
        for _ in 0..MEND_ATTEMPTS {
            match confined::open_dir(root, name) {
                Ok(directory) => {
                    confined::give(&directory, self.owner)?;
                    return Ok(Subdir { directory, replaced });
                }
                Err(Errno::NOENT) => match fs::mkdirat(root, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                },
                Err(Errno::ACCESS) => match confined::open_up(root, name) {
                    Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(error.into()),
                },
                Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                    replaced |= self.trash.put(root, name)?.is_some();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// The number of the next claim.
    pub(super) fn next_claim(&self) -> u64 {
        self.next_claim.fetch_add(1, Ordering::Relaxed)
    }

    /// The claims that nobody holds.
    pub(super) fn unheld(&self) -> MutexGuard<'_, BTreeMap<u64, ClaimName>> {
        self.unheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a claim be found by the next sweep.
    pub(super) fn put_back(&self, claim: ClaimName) {
        self.unheld().insert(claim.number, claim);
    }

    /// Removes some of what is on its way out.
    pub(super) fn tidy(&self, steps: usize) -> io::Result<Emptied> {
        self.trash.empty(steps)
    }

    /// Watches the mailboxes, and the directory in which `done.json` appears.
    pub(super) fn watch(&self) -> io::Result<IpcWatch> {
        let mut directories = vec![self.root.try_clone()?];
        for mailbox in Mailbox::ALL {
            directories.push(self.subdir(mailbox.directory())?.directory);
        }
        Ok(IpcWatch::new(&directories))
    }
}

/// Opens `store/ipc`; the way there is the owner's and may have links in it.
pub(super) fn open_home(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fs::open(root, flags, Mode::empty())?)
}
