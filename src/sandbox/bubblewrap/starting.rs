//! A bubblewrap between its own start and that of its sandbox: nothing of it is left when the start fails.

use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tracing::debug;

/// A bubblewrap that starts a sandbox; it is killed when this is dropped before it has, wherever that happens.
pub(super) struct Starting(Option<Child>);

impl Starting {
    /// One that has just been started, as the leader of a process group of its own.
    pub(super) fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// The bubblewrap.
    pub(super) fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it is taken out only at the end")
    }

    /// The bubblewrap, which from now on goes on by itself.
    pub(super) fn done(mut self) -> Child {
        self.0.take().expect("it is taken out only at the end")
    }

    /// Kills it, and returns when it is no more.
    ///
    /// # Errors
    /// When its end cannot be seen.
    pub(super) async fn kill(mut self) -> std::io::Result<()> {
        kill_group(self.child());
        self.child().wait().await.map(drop)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.iter().for_each(kill_group);
    }
}

/// Kills a bubblewrap and what it has made that has not become a session of its own yet: that waits for it, and would
/// wait for ever. One that has ended is left alone: its number may be another's.
fn kill_group(child: &Child) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group
        && let Err(error) = rustix::process::kill_process_group(group, Signal::KILL)
    {
        debug!(%error, "a bubblewrap was not killed");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncReadExt;
    use tokio::process::{ChildStdout, Command};

    use super::*;

    /// A stand-in that has made a process, which waits as a sandbox does that was not let begin.
    async fn starting() -> (Starting, ChildStdout) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 1000 & echo; wait"]).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_u8().await.unwrap();
        (Starting::new(child), stdout)
    }

    /// Its end is the end of the last process that has it.
    async fn ends(mut stdout: ChildStdout) {
        assert_eq!(stdout.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_start_that_fails_leaves_no_process() {
        let (killed, stdout) = starting().await;
        killed.kill().await.unwrap();
        ends(stdout).await;
    }

    #[tokio::test]
    async fn a_start_that_nobody_waits_for_any_more_leaves_no_process() {
        let (dropped, stdout) = starting().await;
        drop(dropped);
        ends(stdout).await;
    }
}
