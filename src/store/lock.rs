//! One gateway per store: a lock that the kernel drops with the process that holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, test_kill_process};
use tracing::warn;

use super::error::StoreError;

/// How long the lock of a dead gateway may outlive it: one that was killed has it until the kernel has taken it apart,
/// and one that just started a program leaves it with the child, until that is the program.
const DEAD: Duration = Duration::from_secs(3);
/// After how much of that whoever waits is told.
const TOLD_AFTER: Duration = Duration::from_millis(100);
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
        let mut told = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(StoreError::failed("lock the store", error)),
            }
            let holder = holder(&mut file).map_err(failed)?;
            if holder.is_none_or(goes_on) || begun.elapsed() >= DEAD {
                let holder = holder.map_or_else(
                    || "another gateway".to_owned(),
                    |pid| format!("the gateway with process id {pid}"),
                );
                return Err(StoreError::Locked { holder });
            }
            if begun.elapsed() >= TOLD_AFTER && !std::mem::replace(&mut told, true) {
                warn!("the former gateway was killed and still has the store; waiting for its end");
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

/// Whether there is such a process, and it is not about to end.
fn goes_on(pid: Pid) -> bool {
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return false;
    }
    // Where there is no such file, a process that is there goes on.
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    !status.is_ok_and(|status| is_ending(&status))
}

/// Whether a process is dead but for the burial, or was told to die by a signal that nobody survives: until it has,
/// that signal stands among those that wait for it. As `proc_pid_status(5)` describes it.
fn is_ending(status: &str) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    let waits = u64::from_str_radix(field("ShdPnd"), 16).unwrap_or(0);
    let killed = 1 << (Signal::KILL.as_raw() - 1);
    field("State").starts_with(['Z', 'X']) || waits & killed != 0
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn a_process_ends_when_it_is_a_corpse_or_its_killing_is_under_way() {
        for (state, waits, ending) in [
            ("S (sleeping)", "0000000000000000", false),
            ("R (running)", "0000000000004000", false),
            ("D (disk sleep)", "0000000000000100", true),
            ("R (running)", "0000000000000101", true),
            ("Z (zombie)", "0000000000000000", true),
            ("X (dead)", "0000000000000000", true),
        ] {
            let status = format!("Name:\tZ\nState:\t{state}\nSigPnd:\t0\nShdPnd:\t{waits}\n");
            assert_eq!(is_ending(&status), ending, "{status}");
        }
        assert!(!is_ending(""));
    }

    #[test]
    fn the_lock_of_a_gateway_that_was_killed_is_waited_for_and_that_of_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut corpse = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&corpse);
        // Dead, and not buried.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap().unwrap();
        let held = File::create(folder.path().join("gateway.lock")).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let refused = |holder: u32| {
            fs::write(folder.path().join("gateway.lock"), format!("{holder}\n")).unwrap();
            let begun = Instant::now();
            let error = Lock::take(folder.path()).unwrap_err();
            assert!(error.to_string().ends_with(&format!("process id {holder}")), "{error}");
            begun.elapsed()
        };
        assert!(refused(std::process::id()) < Duration::from_secs(1));
        assert!(refused(corpse.id()) >= DEAD);
        let taken = std::thread::scope(|scope| {
            let taken = scope.spawn(|| Lock::take(folder.path()));
            drop(held);
            taken.join().unwrap()
        });
        assert!(taken.is_ok());
        corpse.wait().unwrap();
    }
}
