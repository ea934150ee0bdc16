//! Leaves files for an agent, each finished before it can be seen.
//!
//! They are not synchronized: no sandbox outlives a loss of power, and what they say is in the store.

use std::io;
use std::sync::PoisonError;

use protocol::{Input, Reply, layout};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags, Mode, Stat};
use rustix::io::Errno;

use super::place::Inner;
use super::{check, confined};
use crate::model::RequestId;

/// What everybody who gets as far as the directory, which is the sandbox's user, may do with a file of ours.
const READABLE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::ROTH);
/// How often something in the way is moved aside in one call.
const ATTEMPTS: usize = 3;

impl Inner {
    /// Leaves an input under the next number.
    pub(super) fn put_input(&self, input: &Input) -> io::Result<()> {
        let directory = self.subdir(layout::INPUT)?.directory;
        // Held until the file is in its place: a number must not appear after a higher one was taken.
        let mut last = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(directory.as_fd(), &serde_json::to_vec(input)?, |stat| {
            // The time of writing, so that numbers also go up from one life of the gateway to the next.
            let time = u64::try_from(confined::modified(stat)).unwrap_or(0);
            *last = time.max(last.saturating_add(1));
            format!("{last}.json")
        })
    }

    /// Leaves the answer to a request.
    pub(super) fn put_reply(&self, id: &RequestId, reply: &Reply) -> io::Result<()> {
        let directory = self.subdir(layout::REPLIES)?.directory;
        self.put(directory.as_fd(), &serde_json::to_vec(reply)?, |_| format!("{id}.json"))
    }

    /// Leaves a file in the mounted directory itself.
    pub(super) fn put_snapshot(&self, name: &str, json: &[u8]) -> io::Result<()> {
        if check::request_id(name.as_bytes()).is_none() {
            return Err(Errno::INVAL.into());
        }
        self.put(self.root.as_fd(), json, |_| name.to_owned())
    }

    /// Writes a file where no sandbox sees it, and moves it in under the name that `name` gives it.
    fn put(
        &self,
        directory: BorrowedFd<'_>,
        bytes: &[u8],
        name: impl FnOnce(&Stat) -> String,
    ) -> io::Result<()> {
        let temp = format!("out-{:016x}", fastrand::u64(..));
        let file = confined::create_file(&self.private, temp.as_str())?;
        let put = || {
            confined::write_all(&file, bytes)?;
            fs::fchmod(&file, READABLE)?;
            self.move_in(&temp, directory, &name(&fs::fstat(&file)?))
        };
        put().inspect_err(|_| {
            if let Err(error) = fs::unlinkat(&self.private, temp.as_str(), AtFlags::empty()) {
                tracing::debug!(%error, "an unfinished ipc file stays until the next start");
            }
        })
    }

    /// Moves a finished file into its place. What lies there is replaced, and a link is not followed.
    fn move_in(&self, temp: &str, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            match fs::renameat(&self.private, temp, directory, name) {
                Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                    self.trash.put(directory, name)?;
                }
                other => return Ok(other?),
            }
        }
        Err(Errno::ISDIR.into())
    }
}
