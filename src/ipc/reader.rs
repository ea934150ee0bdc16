//! Takes what an agent left: claim, check, read once.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use protocol::layout;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::claim::{Claim, ClaimName, Source};
use super::place::Inner;
use super::{ClaimedFile, Mailbox, RejectReason, Rejected, Sweep, check, confined};
use crate::model::RequestId;

/// The most files that one sweep deals with.
const SWEEP_FILES: usize = 64;
/// The most bytes that one sweep reads.
const SWEEP_BYTES: usize = 4 * 1024 * 1024;
/// The most names that one sweep looks at to find the oldest.
const SCAN_FILES: usize = 256;
/// The most files that an agent may have unfinished in one directory.
const UNFINISHED_FILES: usize = 64;
/// The most files that the quarantine of one sandbox keeps; each is one that would have been read.
const QUARANTINE_FILES: usize = 16;

impl Inner {
    /// Takes what is in a mailbox, up to the bounds.
    pub(super) fn sweep(self: &Arc<Self>, from: Mailbox) -> io::Result<Sweep> {
        let origin = Source::Mailbox(from);
        let mut sweep = Sweep::default();
        while let Some(claim) = self.next_unheld(origin) {
            if sweep.is_full() {
                sweep.more = true;
                return Ok(sweep);
            }
            sweep.add(self.read_claim(claim)?);
        }
        let Some(directory) = self.open_mailbox(from, &mut sweep)? else { return Ok(sweep) };
        let scan = Scan::of(&directory, from)?;
        sweep.more = scan.more;
        for entry in scan.entries {
            if sweep.is_full() {
                sweep.more = true;
                break;
            }
            match entry.claim {
                Ok(id) => {
                    if let Some(claim) = self.claim(directory.as_fd(), &entry.name, origin, id)? {
                        sweep.add(self.read_claim(claim)?);
                    }
                }
                Err(reason) => {
                    self.discard(directory.as_fd(), &entry.name)?;
                    let shown = check::shown(entry.name.to_bytes());
                    sweep.rejected.push(Rejected { shown, id: None, reason });
                }
            }
        }
        Ok(sweep)
    }

    /// Takes `done.json`.
    pub(super) fn take_done(self: &Arc<Self>) -> io::Result<Option<Result<ClaimedFile, Rejected>>> {
        let claim = match self.next_unheld(Source::Done) {
            Some(claim) => claim,
            None => {
                let id = "done".parse().expect("a short word is a request id");
                let name = CString::new(layout::DONE).expect("the name holds no zero byte");
                match self.claim(self.root.as_fd(), &name, Source::Done, id)? {
                    Some(claim) => claim,
                    None => return Ok(None),
                }
            }
        };
        self.read_claim(claim)
    }

    /// Removes a claimed file for good.
    pub(super) fn forget(&self, mut claimed: ClaimedFile) -> io::Result<()> {
        let name = claimed.claim.name.to_string();
        // Whoever holds it open may have made it so large since that unlinking takes seconds.
        if check::fits(&confined::stat(&self.claims, name.as_str())?) {
            fs::unlinkat(&self.claims, name.as_str(), AtFlags::empty())?;
        } else {
            self.trash.put(self.claims.as_fd(), name.as_str())?;
        }
        claimed.claim.settle();
        Ok(())
    }

    /// Puts a claimed file aside.
    pub(super) fn quarantine(&self, mut claimed: ClaimedFile) -> io::Result<()> {
        let name = CString::new(claimed.claim.name.to_string())?;
        self.discard(self.claims.as_fd(), &name)?;
        claimed.claim.settle();
        Ok(())
    }

    /// Opens a mailbox; `None` when the agent exchanges it all the time, which is then its loss.
    fn open_mailbox(&self, mailbox: Mailbox, sweep: &mut Sweep) -> io::Result<Option<OwnedFd>> {
        let (directory, replaced) = match self.subdir(mailbox.directory()) {
            Ok(subdir) => (Some(subdir.directory), subdir.replaced),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (None, true),
            Err(error) => return Err(error),
        };
        if replaced {
            sweep.rejected.push(Rejected {
                shown: mailbox.directory().to_owned(),
                id: None,
                reason: RejectReason::NotADirectory,
            });
        }
        Ok(directory)
    }

    /// A claim that nobody holds, the oldest of its origin.
    fn next_unheld(self: &Arc<Self>, origin: Source) -> Option<Claim> {
        let mut unheld = self.unheld();
        let number = *unheld.iter().find(|(_, name)| name.origin == origin)?.0;
        let name = unheld.remove(&number)?;
        Some(Claim { name, inner: Some(Arc::clone(self)) })
    }

    /// Moves a file out of the agent's reach; `None` when it is gone.
    fn claim(
        self: &Arc<Self>,
        directory: BorrowedFd<'_>,
        name: &CStr,
        origin: Source,
        id: RequestId,
    ) -> io::Result<Option<Claim>> {
        let claim = ClaimName { origin, number: self.next_claim(), id };
        let private_name = claim.to_string();
        match confined::move_new(directory, name, self.claims.as_fd(), private_name.as_str()) {
            Ok(()) => Ok(Some(Claim { name: claim, inner: Some(Arc::clone(self)) })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what was claimed; `None` when it is gone.
    fn read_claim(&self, mut claim: Claim) -> io::Result<Option<Result<ClaimedFile, Rejected>>> {
        let name = claim.name.to_string();
        let id = claim.name.id.clone();
        match check::read(&self.claims, &name, self.owner.0) {
            Ok(Ok(bytes)) => Ok(Some(Ok(ClaimedFile { id, bytes, claim }))),
            Ok(Err(reason)) => {
                self.discard(self.claims.as_fd(), &CString::new(name)?)?;
                claim.settle();
                Ok(Some(Err(Rejected { shown: format!("{id}.json"), id: Some(id), reason })))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                claim.settle();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes something out of the way that is not to be read: into quarantine if it is small and there is room, else
    /// into the trash.
    fn discard(&self, from: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        // To the trash first: what it is can only be trusted where the agent cannot exchange it.
        let Some(name) = self.trash.put(from, name)? else { return Ok(()) };
        let trash = self.trash.directory();
        let stat = confined::stat(trash, name.as_str())?;
        if confined::is_file(&stat) && check::fits(&stat) && self.quarantine_has_room()? {
            confined::move_new(trash, name.as_str(), self.quarantine.as_fd(), name.as_str())?;
        }
        Ok(())
    }

    fn quarantine_has_room(&self) -> io::Result<bool> {
        let mut files = 0;
        confined::each_entry(&self.quarantine, |_| {
            files += 1;
            ControlFlow::Continue(())
        })?;
        Ok(files < QUARANTINE_FILES)
    }
}

impl Sweep {
    fn is_full(&self) -> bool {
        let bytes: usize = self.files.iter().map(|file| file.bytes.len()).sum();
        self.files.len() + self.rejected.len() >= SWEEP_FILES
            || bytes + layout::MAX_FILE_BYTES > SWEEP_BYTES
    }

    fn add(&mut self, found: Option<Result<ClaimedFile, Rejected>>) {
        match found {
            Some(Ok(file)) => self.files.push(file),
            Some(Err(rejected)) => self.rejected.push(rejected),
            None => {}
        }
    }
}

/// What a directory seems to hold; the agent may change it at any time.
struct Scan {
    entries: Vec<Entry>,
    more: bool,
}

struct Entry {
    name: CString,
    /// The request that its name stands for, or why it is not to be claimed.
    claim: Result<RequestId, RejectReason>,
    order: (i128, usize),
}

impl Scan {
    fn of(directory: &OwnedFd, from: Mailbox) -> io::Result<Self> {
        let mut scan = Self { entries: Vec::new(), more: false };
        let mut unfinished = 0;
        confined::each_entry(directory, |name| {
            let claim = if name.to_bytes().starts_with(b".") {
                unfinished += 1;
                if unfinished <= UNFINISHED_FILES {
                    return ControlFlow::Continue(());
                }
                Err(RejectReason::Unfinished)
            } else {
                check::request_id(name.to_bytes()).ok_or(RejectReason::Name)
            };
            if scan.entries.len() == SCAN_FILES {
                scan.more = true;
                return ControlFlow::Break(());
            }
            scan.entries.push(Entry { name: name.to_owned(), claim, order: (0, 0) });
            ControlFlow::Continue(())
        })?;
        for entry in &mut scan.entries {
            entry.order = match from {
                // Numbers of one width, or of growing width.
                Mailbox::Progress => (0, entry.name.as_bytes().len()),
                Mailbox::Messages | Mailbox::Tasks => {
                    let stat = confined::stat(directory, entry.name.as_c_str());
                    (stat.map_or(i128::MAX, |stat| confined::modified(&stat)), 0)
                }
            };
        }
        scan.entries.sort_unstable_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
        Ok(scan)
    }
}
