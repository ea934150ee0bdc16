//! A sandbox with everything that belongs to it: its ipc directory, its door to the broker, its end.

use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use super::disk::Growth;
use super::opener::Opener;
use super::reaper::{Ended, Grip};
use crate::broker::Door;
use crate::ipc::{IpcDir, IpcWatch};
use crate::model::{Group, SandboxId, SandboxKind};
use crate::sandbox::{Exit, SandboxSpec};

/// A sandbox that lives, and ends when this is dropped.
pub(crate) struct Live {
    /// Its id.
    pub(crate) id: SandboxId,
    /// The group it works for, as it was when this was started.
    pub(crate) group: Group,
    /// Its ipc directory.
    pub(crate) ipc: IpcDir,
    /// Changes in it.
    pub(crate) watch: IpcWatch,
    /// How it ended, once it has.
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    /// How much grows what it may write to.
    pub(super) growth: Growth,
    /// Its kind.
    pub(super) kind: SandboxKind,
    /// What it was made from; nobody knows of one that an earlier gateway started.
    pub(super) made_from: Option<SandboxSpec>,
    /// What it was made from has changed on this machine.
    pub(super) stale: bool,
    pub(super) grip: Grip,
}

/// The sandbox's way to the broker; closed when dropped.
pub(super) enum Way {
    /// A socket that is mounted into it.
    Socket {
        /// The socket.
        _door: Door,
    },
    /// A stream that is opened anew whenever it breaks.
    Bridge {
        /// Ends that.
        _end: DropGuard,
    },
}

impl Live {
    /// Looks whether it would be made the same way today: the owner may have taken a mount back.
    pub(crate) fn look_again(&mut self, opener: &Opener) {
        let now = opener.spec(&self.group, &self.id).ok();
        self.stale = now.is_none() || now != self.made_from;
    }

    /// Whether it may ever do another run: one that an earlier gateway started has what was allowed then, and the
    /// agent-runner of then.
    pub(crate) fn is_ours(&self) -> bool {
        self.made_from.is_some()
    }

    /// Whether it lives and fits what the group is allowed now; call [`Self::look_again`] before.
    pub(crate) fn fits(&self, group: &Group) -> bool {
        self.is_ours() && !self.stale && self.exit.borrow().is_none() && self.group == *group
    }

    /// Ends it and removes what is left of it, whether anybody waits for that or not: as long as it may live, it takes
    /// up its place.
    pub(crate) fn close(self) -> Ended {
        self.grip.end()
    }
}
