//! Tells when an agent may have left something.
//!
//! inotify tells at once; looking every second is the safety net, for file sharing between a host and its
//! virtual machine loses events. Where there is no inotify, or no instance of it left, looking is all.

use std::time::{Duration, Instant};

use rustix::fd::{AsFd, OwnedFd};
#[cfg(target_os = "linux")]
use tokio::net::unix::pipe::Receiver;

/// How often to look in any case.
const POLL: Duration = Duration::from_secs(1);
/// How often to look where the kernel does not tell.
const POLL_BLIND: Duration = Duration::from_millis(100);
/// The shortest time between two wakes: an agent that makes files without end keeps us no busier than this.
const PAUSE: Duration = Duration::from_millis(5);

/// A watch over what one sandbox leaves.
#[derive(Debug)]
pub(crate) struct IpcWatch {
    #[cfg(target_os = "linux")]
    inotify: Option<Receiver>,
    woke: Option<Instant>,
}

impl IpcWatch {
    /// Watches directories; must be called inside a runtime.
    pub(super) fn new<'a>(directories: impl IntoIterator<Item = &'a OwnedFd>) -> Self {
        #[cfg(target_os = "linux")]
        {
            let inotify = match linux::open(directories) {
                Ok(inotify) => Some(inotify),
                Err(error) => {
                    tracing::debug!(%error, "no inotify for an ipc directory, looking instead");
                    None
                }
            };
            Self { inotify, woke: None }
        }
        #[cfg(not(target_os = "linux"))]
        {
            directories.into_iter().for_each(drop);
            Self { woke: None }
        }
    }

    /// Returns when something may have changed, and from time to time anyway.
    ///
    /// Changes from before the call count: sweep, then wait, then sweep again misses nothing. Dropping the future
    /// loses nothing either. Many changes are one wake.
    pub(crate) async fn changed(&mut self) {
        if let Some(woke) = self.woke {
            tokio::time::sleep(PAUSE.saturating_sub(woke.elapsed())).await;
        }
        self.event().await;
        self.woke = Some(Instant::now());
    }

    #[cfg(target_os = "linux")]
    async fn event(&self) {
        let Some(inotify) = &self.inotify else {
            tokio::time::sleep(POLL_BLIND).await;
            return;
        };
        match tokio::time::timeout(POLL, inotify.readable()).await {
            Ok(Ok(())) => linux::drain(inotify),
            // The runtime ends; nobody is to spin until it has.
            Ok(Err(_closing)) => tokio::time::sleep(POLL).await,
            Err(_elapsed) => {}
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn event(&self) {
        tokio::time::sleep(POLL_BLIND).await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    //! The kernel's side of it.

    use std::io;
    use std::os::fd::AsRawFd;

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

    use super::{AsFd, OwnedFd, Receiver};

    /// Watches what `directories` are now: a name in their place later is not followed.
    pub(super) fn open<'a>(
        directories: impl IntoIterator<Item = &'a OwnedFd>,
    ) -> io::Result<Receiver> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        for directory in directories {
            let path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
            let events = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
            inotify::add_watch(&inotify, path, events)?;
        }
        // It is no pipe, but it is read like one: this is the runtime's safe door to a readable descriptor.
        Receiver::from_owned_fd_unchecked(inotify)
    }

    /// Throws the events away, an overflow among them: the directories themselves say what is new.
    pub(super) fn drain(inotify: &Receiver) {
        let mut buffer = [0; 4096];
        while inotify.try_read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    }
}
