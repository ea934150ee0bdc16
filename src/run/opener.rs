//! The opener: makes sandboxes, in two steps, and takes over those of an earlier gateway.
//!
//! A sandbox is prepared while its run is still being claimed: what it needs whatever its group is allowed is made, and
//! nothing runs. Then it is started. From the first step on it is in the reaper's grip, so that whatever fails, nothing
//! of it is left behind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Bounds;
use super::disk::{Given, Growth};
use super::live::{Live, Way};
use super::reaper::{self, Doomed, Ended, Grip, Maker, Reaper};
use super::reserve::{Reserve, Spare, ipc_root};
use super::shelf::Place;
use super::supply::Found;
use crate::broker::{Broker, Client, Socket};
use crate::config::Settings;
use crate::ipc::{IpcDir, IpcError, IpcWatch};
use crate::model::{Group, GroupName, SandboxId, SandboxKind};
use crate::sandbox::{Exit, SandboxError, SandboxSpec, spec};

/// The pause before a bridge that broke is opened anew.
const REOPEN: Duration = Duration::from_millis(500);

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
    /// How much of that people have sent.
    pub(crate) given: Given,
    /// The sandbox to come.
    pub(crate) reserve: Reserve,
}

/// A sandbox that has not been started yet; it ends when this is dropped.
pub(crate) struct Prepared {
    id: SandboxId,
    found: Found,
    ipc: IpcDir,
    watch: IpcWatch,
    socket: Option<Socket>,
    grip: Grip,
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
    /// Comes when nothing is left of it.
    pub(crate) ended: Ended,
}

/// What there is of a sandbox that has come to live.
struct Opened {
    id: SandboxId,
    ipc: IpcDir,
    watch: IpcWatch,
    growth: Growth,
    made_from: Option<SandboxSpec>,
}

impl Prepared {
    /// Its id.
    pub(super) fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Its kind.
    pub(super) fn kind(&self) -> SandboxKind {
        self.found.sandbox.kind()
    }
}

impl Opener {
    /// Prepares a sandbox for a group.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub(super) async fn prepare(
        &self,
        found: &Found,
        group: &GroupName,
        spare: Spare,
    ) -> Result<Prepared, NotOpened> {
        let (id, socket) = spare.taken();
        let mut grip = self.hold(group, &id);
        let prepared = async {
            let user = spec::user();
            let ipc = IpcDir::create(&self.ipc_root(), group, &id, (user.uid, user.gid))?;
            let watch = ipc.watch()?;
            let socket = match socket {
                _ if !found.strength.socket => None,
                Some(socket) => Some(socket),
                None => Some(self.bind(&id)?),
            };
            if found.sandbox.prepare(&id, group).await? {
                grip.doomed().maker = Some(Maker::Here(found.sandbox.clone()));
            }
            Ok((ipc, watch, socket))
        };
        match prepared.await {
            Ok((ipc, watch, socket)) => {
                Ok(Prepared { id, found: found.clone(), ipc, watch, socket, grip })
            }
            Err(error) => Err(NotOpened { error, ended: grip.end() }),
        }
    }

    /// Starts a sandbox for a group.
    ///
    /// # Errors
    /// [`NotOpened`]; it must not be tried again before what had begun has ended.
    pub(super) async fn start(
        &self,
        prepared: Prepared,
        group: &Group,
        place: Place,
    ) -> Result<Live, NotOpened> {
        let Prepared { id, found, ipc, watch, socket, mut grip } = prepared;
        grip.doomed().ipc = Some(ipc.clone());
        grip.doomed().maker = Some(Maker::Here(found.sandbox.clone()));
        grip.doomed().place = Some(place);
        let started = async {
            let spec = self.spec(group, &id)?;
            let growth = Growth::begin(&spec, self.bounds, &self.given);
            let client = client(group, &id);
            grip.doomed().way = socket.map(|socket| self.door(socket, client.clone()));
            found.sandbox.start(&spec).await?;
            if grip.doomed().way.is_none() {
                grip.doomed().way = Some(self.bridge(&found, client).await?);
            }
            Ok((spec, growth))
        };
        match started.await {
            Ok((spec, growth)) => {
                self.reserve.fill(&self.tasks);
                let opened = Opened { id, ipc, watch, growth, made_from: Some(spec) };
                Ok(self.live(&found, group, opened, grip))
            }
            Err(error) => Err(NotOpened { error, ended: grip.end() }),
        }
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
        let mut grip = self.hold(&group.name, id);
        grip.doomed().maker = Some(Maker::Here(found.sandbox.clone()));
        grip.doomed().place = Some(place);
        let adopted = async {
            let spec = self.spec(group, id)?;
            let owner = (spec.user.uid, spec.user.gid);
            let ipc = IpcDir::open(&self.ipc_root(), &group.name, id, owner)?;
            grip.doomed().ipc = Some(ipc.clone());
            let (watch, growth) = (ipc.watch()?, Growth::begin(&spec, self.bounds, &self.given));
            let client = client(group, id);
            if found.strength.socket {
                grip.doomed().way = Some(self.door(self.bind(id)?, client));
            } else if *lives {
                grip.doomed().way = Some(self.bridge(found, client).await?);
            }
            Ok(Opened { id: (*id).clone(), ipc, watch, growth, made_from: None })
        };
        match adopted.await {
            Ok(opened) => Ok(self.live(found, group, opened, grip)),
            Err(error) => Err(NotOpened { error, ended: grip.end() }),
        }
    }

    /// Holds what is about to become a sandbox, or may be one.
    fn hold(&self, group: &GroupName, id: &SandboxId) -> Grip {
        self.reaper.hold(Doomed {
            id: id.clone(),
            group: group.clone(),
            maker: None,
            place: None,
            exit: None,
            way: None,
            ipc: None,
            store: Some(self.settings.store_dir()),
        })
    }

    fn live(&self, found: &Found, group: &Group, opened: Opened, mut grip: Grip) -> Live {
        let Opened { id, ipc, watch, growth, made_from } = opened;
        let (ended, exit) = watch::channel(None);
        let (sandbox, waited_for) = (found.sandbox.clone(), id.clone());
        self.tasks.spawn(async move {
            let exit = match sandbox.wait(&waited_for).await {
                Ok(exit) => exit,
                Err(error) => {
                    debug!(%error, sandbox.id = %waited_for, "nobody can tell how the sandbox ended");
                    Exit::Gone
                }
            };
            ended.send_replace(Some(exit));
        });
        grip.doomed().exit = Some(exit.clone());
        let (group, kind) = (group.clone(), found.sandbox.kind());
        Live { id, group, ipc, watch, exit, growth, kind, made_from, stale: false, grip }
    }

    /// What a group's sandbox would be made from now.
    pub(super) fn spec(&self, group: &Group, id: &SandboxId) -> Result<SandboxSpec, SandboxError> {
        spec::build(&self.settings, group, id, &self.runner)
    }

    /// Makes the socket that a sandbox will come in by.
    fn bind(&self, id: &SandboxId) -> Result<Socket, OpenError> {
        let user = spec::user();
        let dir = spec::own(self.broker_dir(id), user)?;
        Ok(self.broker.bind(&dir, (user.uid, user.gid))?)
    }

    fn door(&self, socket: Socket, client: Client) -> Way {
        Way::Socket { _door: self.broker.open_socket(socket, client) }
    }

    /// Opens a bridge, and sees to it that it is opened anew when it breaks: a daemon that restarts takes it down, but
    /// not always the sandbox.
    async fn bridge(&self, found: &Found, client: Client) -> Result<Way, OpenError> {
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

    /// The ipc directory of a sandbox that an earlier gateway started, if it can be used.
    pub(super) fn ipc_of(&self, group: &GroupName, id: &SandboxId) -> Option<IpcDir> {
        let user = spec::user();
        IpcDir::open(&self.ipc_root(), group, id, (user.uid, user.gid)).ok()
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
        self.reserve.fill(&self.tasks);
    }

    fn ipc_root(&self) -> PathBuf {
        ipc_root(&self.settings.store_dir())
    }

    fn broker_dirs(&self) -> Vec<SandboxId> {
        let entries = std::fs::read_dir(self.settings.store_dir().join("broker"));
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).collect()
    }

    fn broker_dir(&self, id: &SandboxId) -> PathBuf {
        spec::broker_dir(&self.settings.store_dir(), id)
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
