//! The signals that end a chat from outside.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the exit code begins with when a signal ended the program, as a shell says it.
const BY_SIGNAL: u8 = 128;
const SIGHUP: u8 = 1;
const SIGTERM: u8 = 15;

/// Waits for the signals by which a terminal or a service manager ends what runs in it.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on; until the program ends, these signals do nothing by themselves.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(super) fn listen() -> io::Result<Self> {
        let (hangup, terminate) = (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?);
        Ok(Self { hangup, terminate })
    }

    /// Listens from now on for somebody who will not wait any longer: a second wish to end, or Ctrl-C. That a session
    /// has ended is no such wish, because kernel and shell both tell it.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(super) fn again(&mut self) -> io::Result<impl Future<Output = ()>> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let terminate = &mut self.terminate;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }

    /// Waits for the next one, and gives the exit code that says so.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => BY_SIGNAL + SIGHUP,
            _ = self.terminate.recv() => BY_SIGNAL + SIGTERM,
        }
    }
}
