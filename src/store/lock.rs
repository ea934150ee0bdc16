//! One gateway per store: a lock that the kernel drops with the process that holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::error::StoreError;

/// How long the lock of a dead gateway may outlive it: one that was killed while it started a program leaves the lock
/// with the child, until that is the program.
const DEAD: Duration = Duration::from_secs(2);
/// How often it is looked whether that has happened.
const LOOK: Duration = Duration::from_millis(5);

/// The right to be the gateway of a store, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// The kernel holds the lock while this is open.
    _file: File,
}

impl Lock {
    /// Takes the lock in a folder, and writes down who has it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the holder when another gateway has it.
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::failed("lock the store", error);
        let path = folder.join("gateway.lock");
        // The file stays when the gateway ends: removing it would let two gateways lock two files of one name.
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = open.open(path).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(StoreError::failed("lock the store", error)),
            }
            let holder = holder(&mut file).map_err(failed)?;
            if holder.is_none_or(lives) || begun.elapsed() >= DEAD {
                let holder = holder.map_or_else(
                    || "another gateway".to_owned(),
                    |pid| format!("the gateway with process id {pid}"),
                );
                return Err(StoreError::Locked { holder });
            }
            pause();
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Who says in the file that it has the lock; nobody while it is being written.
fn holder(file: &mut File) -> std::io::Result<Option<Pid>> {
    let mut text = String::new();
    file.rewind()?;
    file.take(32).read_to_string(&mut text)?;
    Ok(text.trim().parse().ok().and_then(Pid::from_raw))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a store is opened before anything else runs, and blocks all the while"
)]
fn pause() {
    sleep(LOOK);
}

/// Whether there is such a process.
fn lives(pid: Pid) -> bool {
    test_kill_process(pid) != Err(Errno::SRCH)
}
