//! A sandbox with everything that belongs to it: its ipc directory, its door to the broker, its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Bounds;
use super::disk::Growth;
use super::reaper::{self, Doomed, Ended, Grip, Maker, Reaper};
use super::shelf::Place;
use super::supply::Found;
use crate::broker::{Broker, Client, Door};
use crate::config::Settings;
use crate::ipc::{IpcDir, IpcError, IpcWatch};
use crate::model::{Group, GroupName, SandboxId, SandboxKind};
use crate::sandbox::{Exit, SandboxError, SandboxSpec, spec};

/// The pause before a bridge that broke is opened anew.
const REOPEN: Duration = Duration::from_millis(500);
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
    made_from: Option<SandboxSpec>,
    /// What it was made from has changed on this machine.
    stale: bool,
    grip: Grip,
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

/// What was made for a sandbox before it became one.
struct Opened {
    spec: SandboxSpec,
    client: Client,
    ipc: IpcDir,
    watch: IpcWatch,
    growth: Growth,
    way: Option<Way>,
}

/// What there is of a sandbox that an earlier gateway started.
pub(super) struct Remains<'a> {
    /// Its kind.
    pub(super) found: &'a Found,
    /// Its id.
    pub(super) id: &'a SandboxId,
    /// Whether it still lives.
    pub(super) lives: bool,
}

/// A sandbox could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The kind failed, or is not to be had.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Its ipc directory could not be made or opened.
    #[error("cannot prepare the ipc directory")]
    Ipc(#[from] IpcError),
    /// Its door to the broker could not be opened.
    #[error("cannot open the door to the broker")]
    Broker(#[from] crate::broker::BrokerError),
}

/// A sandbox could not be opened, and what there is of it is being ended.
pub(crate) struct NotOpened {
    /// Why.
    pub(crate) error: OpenError,
    /// Comes when nothing is left of it; none where nothing had begun.
    pub(crate) ended: Option<Ended>,
}

impl<E: Into<OpenError>> From<E> for NotOpened {
    fn from(error: E) -> Self {
        Self { error: error.into(), ended: None }
    }
}

/// Opens sandboxes.
pub(crate) struct Opener {
    /// The settings of this gateway.
    pub(crate) settings: Arc<Settings>,
    /// The way out.
    pub(crate) broker: Broker,
    /// Who owns what runs in the background.
    pub(crate) tasks: TaskTracker,
    /// Who ends them.
    pub(crate) reaper: Arc<Reaper>,
    /// The agent-runner binary on the host.
    pub(crate) runner: PathBuf,
    /// How much may grow.
    pub(crate) bounds: Bounds,
}

impl Opener {
    /// Starts a fresh sandbox for a group.
    ///
    /// # Errors
    /// [`NotOpened`]; it must not be tried again before what had begun has ended.
    pub(crate) async fn start(
        &self,
        found: &Found,
        group: &Group,
        id: &SandboxId,
        place: Place,
    ) -> Result<Live, NotOpened> {
        let spec = self.spec(group, id)?;
        let owner = (spec.user.uid, spec.user.gid);
        let ipc = IpcDir::create(&self.ipc_root(), &group.name, id, owner)?;
        let mut grip = self.hold(found, group, id, place);
        grip.doomed().remains.ipc = Some(ipc.clone());
        match self.start_held(found, group, (spec, ipc)).await {
            Ok(opened) => {
                let made_from = Some(opened.spec.clone());
                Ok(Live { made_from, ..self.live(found, group, opened, grip) })
            }
            Err(error) => Err(NotOpened { error, ended: Some(grip.end()) }),
        }
    }

    async fn start_held(
        &self,
        found: &Found,
        group: &Group,
        (spec, ipc): (SandboxSpec, IpcDir),
    ) -> Result<Opened, OpenError> {
        let mut opened = self.opened(group, spec, ipc)?;
        opened.way = self.socket_door(found, &opened)?;
        found.sandbox.start(&opened.spec).await?;
        if opened.way.is_none() {
            opened.way = Some(self.bridge(found, &opened).await?);
        }
        Ok(opened)
    }

    /// Takes over a sandbox that an earlier gateway started, or what it left if it lives no more. It was made as
    /// things were then, so it is good for the run it has and for no other.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub(super) async fn adopt(
        &self,
        remains: &Remains<'_>,
        group: &Group,
        place: Place,
    ) -> Result<Live, NotOpened> {
        let Remains { found, id, lives } = remains;
        let mut grip = self.hold(found, group, id, place);
        let adopted = async {
            let spec = self.spec(group, id)?;
            let owner = (spec.user.uid, spec.user.gid);
            let ipc = IpcDir::open(&self.ipc_root(), &group.name, id, owner)?;
            grip.doomed().remains.ipc = Some(ipc.clone());
            let mut opened = self.opened(group, spec, ipc)?;
            opened.way = self.socket_door(found, &opened)?;
            if opened.way.is_none() && *lives {
                opened.way = Some(self.bridge(found, &opened).await?);
            }
            Ok(opened)
        };
        match adopted.await {
            Ok(opened) => Ok(self.live(found, group, opened, grip)),
            Err(error) => Err(NotOpened { error, ended: Some(grip.end()) }),
        }
    }

    /// Holds what is about to become a sandbox, or may be one.
    fn hold(&self, found: &Found, group: &Group, id: &SandboxId, place: Place) -> Grip {
        self.reaper.hold(Doomed {
            id: id.clone(),
            group: group.name.clone(),
            maker: Maker::Here(found.sandbox.clone()),
            place: Some(place),
            exit: None,
            way: None,
            remains: reaper::Remains { ipc: None, broker_dir: Some(self.broker_dir(id)) },
        })
    }

    fn opened(&self, group: &Group, spec: SandboxSpec, ipc: IpcDir) -> Result<Opened, IpcError> {
        let (watch, client) = (ipc.watch()?, client(group, &spec.id));
        let growth = Growth::begin(&spec, self.bounds);
        Ok(Opened { spec, client, ipc, watch, growth, way: None })
    }

    /// What lies on disk of a sandbox that an earlier gateway started.
    pub(super) fn remains(&self, group: &GroupName, id: &SandboxId) -> reaper::Remains {
        let user = spec::user();
        let ipc = IpcDir::open(&self.ipc_root(), group, id, (user.uid, user.gid)).ok();
        reaper::Remains { ipc, broker_dir: Some(self.broker_dir(id)) }
    }

    /// Removes what is left on disk of sandboxes that are none of these.
    pub(crate) async fn clear_away_all_but(&self, wanted: Vec<SandboxId>) {
        for id in self.broker_dirs() {
            if !wanted.contains(&id) {
                reaper::remove_dir(&self.broker_dir(&id), &id);
            }
        }
        let root = self.ipc_root();
        let cleared = move || IpcDir::remove_all_but(&root, &wanted);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(cleared).await {
            warn!(%error, "ipc directories of an earlier gateway are left behind");
        }
    }

    fn live(&self, found: &Found, group: &Group, opened: Opened, mut grip: Grip) -> Live {
        let Opened { spec, ipc, watch, growth, way, .. } = opened;
        let (ended, exit) = watch::channel(None);
        let (sandbox, id) = (found.sandbox.clone(), spec.id.clone());
        self.tasks.spawn(async move {
            let exit = match sandbox.wait(&id).await {
                Ok(exit) => exit,
                Err(error) => {
                    debug!(%error, sandbox.id = %id, "nobody can tell how the sandbox ended");
                    Exit::Gone
                }
            };
            ended.send_replace(Some(exit));
        });
        grip.doomed().exit = Some(exit.clone());
        grip.doomed().way = way;
        Live {
            id: spec.id,
            group: group.clone(),
            ipc,
            watch,
            exit,
            growth,
            kind: found.sandbox.kind(),
            made_from: None,
            stale: false,
            grip,
        }
    }

    fn spec(&self, group: &Group, id: &SandboxId) -> Result<SandboxSpec, SandboxError> {
        spec::build(&self.settings, group, id, &self.runner)
    }

    fn socket_door(&self, found: &Found, opened: &Opened) -> Result<Option<Way>, OpenError> {
        if !found.strength.socket {
            return Ok(None);
        }
        let Opened { spec, client, .. } = opened;
        let user = (spec.user.uid, spec.user.gid);
        let door = self.broker.open_socket(&self.broker_dir(&spec.id), user, client.clone())?;
        Ok(Some(Way::Socket { _door: door }))
    }

    /// Opens a bridge, and sees to it that it is opened anew when it breaks: a daemon that restarts takes it down, but
    /// not always the sandbox.
    async fn bridge(&self, found: &Found, opened: &Opened) -> Result<Way, OpenError> {
        let client = opened.client.clone();
        let stream = found.sandbox.bridge(&client.sandbox).await?;
        let mut door = self.broker.open_stream(stream, client.clone());
        let (end, broker, sandbox) =
            (CancellationToken::new(), self.broker.clone(), found.sandbox.clone());
        let ended = end.clone();
        self.tasks.spawn(ended.run_until_cancelled_owned(async move {
            loop {
                door.ended().await;
                tokio::time::sleep(REOPEN).await;
                match sandbox.bridge(&client.sandbox).await {
                    Ok(stream) => door = broker.open_stream(stream, client.clone()),
                    Err(error) => debug!(%error, sandbox.id = %client.sandbox, "the bridge cannot be opened now"),
                }
            }
        }));
        Ok(Way::Bridge { _end: end.drop_guard() })
    }

    fn ipc_root(&self) -> PathBuf {
        self.settings.store_dir().join("ipc")
    }

    fn broker_dirs(&self) -> Vec<SandboxId> {
        let entries = std::fs::read_dir(self.settings.store_dir().join("broker"));
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).collect()
    }

    fn broker_dir(&self, id: &SandboxId) -> PathBuf {
        self.settings.store_dir().join("broker").join(id.as_str())
    }
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

/// Who is behind a sandbox's door.
fn client(group: &Group, id: &SandboxId) -> Client {
    Client {
        group: group.name.clone(),
        sandbox: id.clone(),
        web_allow: group.settings.web_allow.clone(),
    }
}

/// A fresh id for a sandbox: 64 random bits, so that it is not met again in the life of an install.
pub(crate) fn fresh_id() -> SandboxId {
    format!("s{:016x}", fastrand::u64(..)).parse().expect("a letter and hexadecimal digits")
}
