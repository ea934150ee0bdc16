//! Waits until a directory may hold something new.
//!
//! inotify tells at once, the poll is the safety net: some hosts' file sharing loses events. The kernel counts
//! inotify instances per user, over all sandboxes, so there may be none left; then the poll is quicker.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

use crate::note;

/// How often to look in any case.
const POLL: Duration = Duration::from_secs(1);
/// How often to look when the kernel does not tell.
const POLL_BLIND: Duration = Duration::from_millis(100);

/// A watched directory.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Option<Receiver>,
}

impl Watch {
    /// Begins to watch; must be called inside a runtime.
    pub(crate) fn new(directory: &Path) -> Self {
        let inotify = match open(directory) {
            Ok(inotify) => Some(inotify),
            Err(error) => {
                note(format_args!("no inotify for {}, polling: {error}", directory.display()));
                None
            }
        };
        Self { inotify }
    }

    /// Returns when a file was renamed into the directory, and from time to time anyway.
    ///
    /// Events that came before the call count, so look, then wait, then look again misses nothing. Dropping
    /// the future loses nothing either.
    pub(crate) async fn changed(&mut self) {
        let Some(inotify) = &self.inotify else {
            tokio::time::sleep(POLL_BLIND).await;
            return;
        };
        // A time-out is the poll; an error of the descriptor would come back at once, so it waits as well.
        match tokio::time::timeout(POLL, inotify.readable()).await {
            Ok(Ok(())) => drain(inotify),
            Ok(Err(_broken)) => tokio::time::sleep(POLL).await,
            Err(_elapsed) => {}
        }
    }
}

fn open(directory: &Path) -> io::Result<Receiver> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&inotify, directory, WatchFlags::MOVED_TO)?;
    // It is no pipe, but it is read like one: this is the runtime's safe door to a readable descriptor.
    Receiver::from_owned_fd_unchecked(inotify)
}

/// Throws the events away: the directory itself says what is new.
fn drain(inotify: &Receiver) {
    let mut buffer = [0u8; 4096];
    while inotify.try_read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
}
