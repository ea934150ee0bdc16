//! A sandbox with everything that belongs to it: its ipc directory, its door to the broker, its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Bounds;
use super::disk::Growth;
use super::shelf::Place;
use super::supply::Found;
use crate::broker::{Broker, Client, Door};
use crate::config::Settings;
use crate::ipc::{IpcDir, IpcError, IpcWatch};
use crate::model::{Group, GroupName, SandboxId};
use crate::sandbox::{Exit, Sandbox, SandboxError, SandboxSpec, spec};
use crate::store::RunRow;

/// How often it is tried to stop a sandbox, and the pause between: two minutes outlast a daemon that restarts.
const STOPS: u32 = 24;
const STOP_PAUSE: Duration = Duration::from_secs(5);
/// The pause before a bridge that broke is opened anew.
const REOPEN: Duration = Duration::from_millis(500);
/// How long a sandbox that is no longer needed may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// A sandbox that lives.
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
    spec: SandboxSpec,
    sandbox: Arc<dyn Sandbox>,
    broker_dir: PathBuf,
    place: Place,
    /// What it was made from has changed on this machine.
    stale: bool,
    _way: Option<Way>,
}

/// The sandbox's way to the broker; closed when dropped.
enum Way {
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
    place: Place,
    group: Group,
    spec: SandboxSpec,
    client: Client,
    ipc: IpcDir,
    watch: IpcWatch,
    growth: Growth,
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

/// Opens sandboxes.
pub(crate) struct Opener {
    /// The settings of this gateway.
    pub(crate) settings: Arc<Settings>,
    /// The way out.
    pub(crate) broker: Broker,
    /// Who owns what runs in the background.
    pub(crate) tasks: TaskTracker,
    /// The agent-runner binary on the host.
    pub(crate) runner: PathBuf,
    /// How much may grow.
    pub(crate) bounds: Bounds,
}

impl Opener {
    /// Starts a fresh sandbox for a group.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the sandbox is left behind.
    pub(crate) async fn start(
        &self,
        found: &Found,
        group: &Group,
        id: &SandboxId,
        place: Place,
    ) -> Result<Live, OpenError> {
        let spec = self.spec(group, id)?;
        let owner = (spec.user.uid, spec.user.gid);
        let ipc = IpcDir::create(&self.ipc_root(), &group.name, id, owner)?;
        let started = match self.opened(group, spec, ipc.clone(), place) {
            Ok(opened) => self.start_opened(found, opened).await,
            Err(error) => Err(error.into()),
        };
        if started.is_err() {
            if let Err(error) = found.sandbox.stop(id, Duration::ZERO).await {
                warn!(%error, sandbox.id = %id, "what is left of a failed start is removed with the next one");
            }
            remove_ipc(ipc, id).await;
            remove_dir(&self.broker_dir(id), id);
        }
        started
    }

    async fn start_opened(&self, found: &Found, opened: Opened) -> Result<Live, OpenError> {
        let door = self.socket_door(found, &opened)?;
        found.sandbox.start(&opened.spec).await?;
        let way = match door {
            Some(door) => Way::Socket { _door: door },
            None => self.bridge(found, &opened).await?,
        };
        Ok(self.live(found, opened, Some(way)))
    }

    /// Takes over a sandbox that an earlier gateway started, or what it left if it lives no more.
    ///
    /// # Errors
    /// [`OpenError`]; the sandbox is left as it is.
    pub(super) async fn adopt(
        &self,
        remains: &Remains<'_>,
        group: &Group,
        place: Place,
    ) -> Result<Live, OpenError> {
        let Remains { found, id, lives } = remains;
        let spec = self.spec(group, id)?;
        let owner = (spec.user.uid, spec.user.gid);
        let ipc = IpcDir::open(&self.ipc_root(), &group.name, id, owner)?;
        let opened = self.opened(group, spec, ipc, place)?;
        let way = match self.socket_door(found, &opened)? {
            Some(door) => Some(Way::Socket { _door: door }),
            None if *lives => Some(self.bridge(found, &opened).await?),
            None => None,
        };
        Ok(self.live(found, opened, way))
    }

    fn opened(
        &self,
        group: &Group,
        spec: SandboxSpec,
        ipc: IpcDir,
        place: Place,
    ) -> Result<Opened, IpcError> {
        let (watch, client) = (ipc.watch()?, client(group, &spec.id));
        let growth = Growth::begin(&spec, self.bounds);
        Ok(Opened { place, group: group.clone(), spec, client, ipc, watch, growth })
    }

    /// Removes what is left on disk of a sandbox that works for nobody.
    pub(crate) async fn clear_away(&self, group: &GroupName, id: &SandboxId) {
        let user = spec::user();
        if let Ok(ipc) = IpcDir::open(&self.ipc_root(), group, id, (user.uid, user.gid)) {
            remove_ipc(ipc, id).await;
        }
        remove_dir(&self.broker_dir(id), id);
    }

    /// Removes what is left on disk of sandboxes that work for none of these runs.
    pub(crate) async fn clear_away_all_but(&self, rows: &[RunRow]) {
        let wanted: Vec<SandboxId> = rows.iter().filter_map(|row| row.sandbox.clone()).collect();
        for id in self.broker_dirs() {
            if !wanted.contains(&id) {
                remove_dir(&self.broker_dir(&id), &id);
            }
        }
        let root = self.ipc_root();
        let cleared = move || IpcDir::remove_all_but(&root, &wanted);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(cleared).await {
            warn!(%error, "ipc directories of an earlier gateway are left behind");
        }
    }

    fn live(&self, found: &Found, opened: Opened, way: Option<Way>) -> Live {
        let Opened { place, group, spec, ipc, watch, growth, .. } = opened;
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
        Live {
            id: spec.id.clone(),
            group,
            ipc,
            watch,
            exit,
            growth,
            broker_dir: self.broker_dir(&spec.id),
            spec,
            sandbox: found.sandbox.clone(),
            place,
            stale: false,
            _way: way,
        }
    }

    fn spec(&self, group: &Group, id: &SandboxId) -> Result<SandboxSpec, SandboxError> {
        spec::build(&self.settings, group, id, &self.runner)
    }

    fn socket_door(&self, found: &Found, opened: &Opened) -> Result<Option<Door>, OpenError> {
        if !found.strength.socket {
            return Ok(None);
        }
        let Opened { spec, client, .. } = opened;
        let user = (spec.user.uid, spec.user.gid);
        let door = self.broker.open_socket(&self.broker_dir(&spec.id), user, client.clone())?;
        Ok(Some(door))
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
        self.stale = opener.spec(&self.group, &self.id).map_or(true, |now| now != self.spec);
    }

    /// Whether it lives and fits what the group is allowed now; call [`Self::look_again`] before.
    pub(crate) fn fits(&self, group: &Group) -> bool {
        !self.stale && self.exit.borrow().is_none() && self.group == *group
    }

    /// Ends it, removes what is left of it, and gives its place back.
    ///
    /// `None` when nobody can tell whether it has ended: as long as it may live, it takes up its place.
    pub(crate) async fn close(self) -> Option<Place> {
        if self.exit.borrow().is_none()
            && let Err(error) = self.ipc.put_input(&protocol::Input::Close)
        {
            debug!(%error, sandbox.id = %self.id, "the agent-runner could not be asked to end");
        }
        if !stopped(&*self.sandbox, &self.id, GRACE).await {
            self.place.forget();
            return None;
        }
        remove_ipc(self.ipc, &self.id).await;
        remove_dir(&self.broker_dir, &self.id);
        Some(self.place)
    }
}

/// Stops a sandbox, and tries for a while if the kind does not answer; whether it is known to have ended.
pub(super) async fn stopped(sandbox: &dyn Sandbox, id: &SandboxId, grace: Duration) -> bool {
    for attempt in 1..=STOPS {
        match sandbox.stop(id, grace).await {
            Ok(()) => return true,
            Err(error) => {
                warn!(%error, sandbox.id = %id, attempt, "a sandbox could not be stopped");
            }
        }
        tokio::time::sleep(STOP_PAUSE).await;
    }
    false
}

/// What an agent left may be large: it is removed where nobody waits for the thread.
async fn remove_ipc(ipc: IpcDir, id: &SandboxId) {
    let removed = tokio::task::spawn_blocking(move || ipc.remove()).await;
    if let Ok(Err(error)) = removed {
        warn!(%error, sandbox.id = %id, "an ipc directory is left behind");
    }
}

fn remove_dir(dir: &Path, id: &SandboxId) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn!(%error, sandbox.id = %id, "a broker directory is left behind");
        }
        _ => {}
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
