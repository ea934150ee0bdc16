//! The process of a sandbox, held by a descriptor so that a number that is used again is never mistaken for it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// PID 1 of a sandbox, as bubblewrap wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Init {
    /// Its number on the host.
    pub(super) pid: i32,
    /// The number of its PID namespace.
    pub(super) namespace: u64,
}

impl Init {
    /// Opens the process; `None` when it is no more.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub(super) fn open(&self) -> io::Result<Option<Process>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let process = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(process) => process,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at after it was opened: if the number had been given away before, the namespace is another.
        match std::fs::read_link(format!("/proc/{}/ns/pid", self.pid)) {
            Ok(link) if link.as_os_str() == &*format!("pid:[{}]", self.namespace) => {}
            Ok(_another) => return Ok(None),
            // A process that has ended and was not collected yet is in no namespace any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // An init that has made itself unreadable to its own user, as ours does, still shows that it is one.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if !is_inner_init(self.pid) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
        #[expect(
            deprecated,
            reason = "the new form is unsafe because of types that exchange their descriptor; this one does not"
        )]
        let process = AsyncFd::with_interest(process, Interest::READABLE)?;
        Ok(Some(Process(process)))
    }

    /// Whether bubblewrap has become the agent-runner.
    pub(super) fn runs_agent_runner(&self) -> bool {
        std::fs::read(format!("/proc/{}/comm", self.pid))
            .is_ok_and(|name| name == b"agent-runner\n")
    }
}

/// A process that is held.
#[derive(Debug)]
pub(super) struct Process(AsyncFd<OwnedFd>);

impl Process {
    /// Returns once it has ended, and with it everything else in its PID namespace.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Sends it a signal; one that has ended needs none.
    ///
    /// # Errors
    /// When that is not allowed.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.0.get_ref(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a process is the first one of a process namespace within ours: the line `NSpid` of its status, which
/// everybody may read, ends in 1 and has more than that (proc(5)).
fn is_inner_init(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}
