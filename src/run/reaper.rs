//! The reaper: sees sandboxes to their end.
//!
//! The invariant: a sandbox that is handed over here keeps its place until the kind that made it has said that it is
//! gone, however long that takes and whoever stops waiting for it. It is tried again until the gateway halts; what is
//! left then, the next start finds.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::live::Way;
use super::reserve::ipc_root;
use super::shelf::Place;
use super::supply::Finder;
use crate::ipc::IpcDir;
use crate::model::{GroupName, SandboxId, SandboxKind};
use crate::sandbox::{Exit, Sandbox, SandboxError, spec};

/// The longest pause before a sandbox is stopped again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a sandbox that has lived may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Ends sandboxes, each in a task of its own.
pub(crate) struct Reaper {
    tasks: TaskTracker,
    halt: CancellationToken,
    finder: Arc<dyn Finder>,
    first_pause: Duration,
    ending: Mutex<HashMap<SandboxId, Ending>>,
}

/// A sandbox that is being ended.
struct Ending {
    group: GroupName,
    /// Why it could not be ended so far.
    trouble: Option<String>,
    gone: watch::Receiver<bool>,
}

/// A sandbox that is to end, with what goes with it.
pub(super) struct Doomed {
    pub(super) id: SandboxId,
    pub(super) group: GroupName,
    /// Who made it; nobody as long as there is nothing to be stopped.
    pub(super) maker: Option<Maker>,
    /// The place that it takes up as long as it may live; none for what an earlier gateway left.
    pub(super) place: Option<Place>,
    /// How it ended, once it has; none as long as it has not begun to live, and need not be asked politely.
    pub(super) exit: Option<watch::Receiver<Option<Exit>>>,
    pub(super) way: Option<Way>,
    /// Its ipc directory, to ask its agent-runner through.
    pub(super) ipc: Option<IpcDir>,
    /// The store whose files of it go with it; none where somebody still wants to read them.
    pub(super) store: Option<PathBuf>,
}

/// Who can say that a sandbox is gone.
pub(super) enum Maker {
    /// A kind that is there.
    Here(Arc<dyn Sandbox>),
    /// A kind that must be looked for.
    Away(SandboxKind),
}

/// A sandbox that is gone, and the place that it took up.
pub(crate) struct Gone {
    /// The place, for whoever needs one next.
    pub(crate) place: Option<Place>,
}

/// Comes when a sandbox is gone; an error when the gateway halts before that is known.
pub(crate) type Ended = oneshot::Receiver<Gone>;

/// Holds a sandbox: it ends when this is dropped, wherever that happens.
pub(super) struct Grip {
    reaper: Arc<Reaper>,
    doomed: Option<Doomed>,
}

impl Reaper {
    /// A reaper whose tasks are spawned into `tasks`, and which gives up what it cannot end at `halt`.
    pub(crate) fn new(
        tasks: TaskTracker,
        halt: CancellationToken,
        finder: Arc<dyn Finder>,
        first_pause: Duration,
    ) -> Arc<Self> {
        Arc::new(Self { tasks, halt, finder, first_pause, ending: Mutex::default() })
    }

    /// Holds a sandbox that is about to begin.
    pub(super) fn hold(self: &Arc<Self>, doomed: Doomed) -> Grip {
        Grip { reaper: self.clone(), doomed: Some(doomed) }
    }

    /// Ends a sandbox, whether anybody waits for that or not.
    pub(super) fn end(self: &Arc<Self>, doomed: Doomed) -> Ended {
        let (over, ended) = oneshot::channel();
        // Without a runtime the process itself ends: the next start finds the sandbox.
        let Ok(runtime) = Handle::try_current() else { return ended };
        let (told, gone) = watch::channel(false);
        let ending = Ending { group: doomed.group.clone(), trouble: None, gone };
        self.ending().insert(doomed.id.clone(), ending);
        let reaper = self.clone();
        let work = async move {
            if let Some(gone) = reaper.reap(doomed).await {
                told.send_replace(true);
                // Nobody may wait for it: then the place is free at once.
                drop(over.send(gone));
            }
        };
        self.tasks.spawn_on(work, &runtime);
        ended
    }

    /// Waits until a sandbox that was handed over is gone; whether that is known. One that was not handed over is
    /// gone already, or never began.
    pub(super) async fn gone(&self, id: &SandboxId) -> bool {
        let Some(mut gone) = self.ending().get(id).map(|ending| ending.gone.clone()) else {
            return true;
        };
        gone.wait_for(|gone| *gone).await.is_ok()
    }

    /// One sentence for each sandbox that could not be ended so far.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let ending = self.ending();
        let sentence = |(id, ending): (&SandboxId, &Ending)| {
            let trouble = ending.trouble.as_ref()?;
            let group = &ending.group;
            Some(format!("sandbox {id} of {group} may still live and is stopped again: {trouble}"))
        };
        let mut troubles: Vec<String> = ending.iter().filter_map(sentence).collect();
        troubles.sort();
        troubles
    }

    /// Tries until a sandbox is gone, and removes what is left of it; `None` when the gateway halts first.
    async fn reap(&self, mut doomed: Doomed) -> Option<Gone> {
        doomed.ask();
        let mut pause = self.first_pause;
        while let Err(trouble) = self.stop(&doomed).await {
            warn!(trouble, sandbox.id = %doomed.id, group.name = %doomed.group, "a sandbox could not be stopped");
            self.note(&doomed.id, trouble);
            tokio::select! {
                biased;
                () = self.halt.cancelled() => {
                    doomed.place.take().into_iter().for_each(Place::forget);
                    return None;
                }
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let Doomed { id, group, place, store, .. } = doomed;
        if let Some(store) = store {
            let id = id.clone();
            // What an agent left may be large: it is removed where nobody waits for the thread.
            let cleared = move || clear(&store, Some(&group), &id);
            drop(tokio::task::spawn_blocking(cleared).await);
        }
        let known = self.ending().remove(&id);
        if known.is_some_and(|ending| ending.trouble.is_some()) {
            info!(sandbox.id = %id, "a sandbox that could not be stopped is gone");
        }
        Some(Gone { place })
    }

    /// Stops a sandbox; an error says why it may still live. A stop that panics has proved nothing.
    async fn stop(&self, doomed: &Doomed) -> Result<(), String> {
        match AssertUnwindSafe(self.try_stop(doomed)).catch_unwind().await {
            Ok(stopped) => stopped.map_err(|error| format!("{:#}", anyhow::Error::new(error))),
            Err(_panic) => Err("stopping it panicked".to_owned()),
        }
    }

    async fn try_stop(&self, doomed: &Doomed) -> Result<(), SandboxError> {
        let grace = if doomed.exit.is_some() { GRACE } else { Duration::ZERO };
        match &doomed.maker {
            Some(Maker::Here(sandbox)) => sandbox.stop(&doomed.id, grace).await,
            Some(Maker::Away(kind)) => {
                self.finder.reach(*kind).await?.stop(&doomed.id, grace).await
            }
            None => Ok(()),
        }
    }

    fn note(&self, id: &SandboxId, trouble: String) {
        if let Some(ending) = self.ending().get_mut(id) {
            ending.trouble = Some(trouble);
        }
    }

    fn ending(&self) -> MutexGuard<'_, HashMap<SandboxId, Ending>> {
        // Every change is one insert, note or remove: a panic elsewhere leaves nothing half done.
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Grip {
    /// What goes with the sandbox; it can be added to as it comes to be.
    pub(super) fn doomed(&mut self) -> &mut Doomed {
        self.doomed.as_mut().expect("it is taken out only when this ends")
    }

    /// Ends the sandbox.
    pub(super) fn end(mut self) -> Ended {
        let doomed = self.doomed.take().expect("it is taken out only when this ends");
        self.reaper.end(doomed)
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        if let Some(doomed) = self.doomed.take() {
            drop(self.reaper.end(doomed));
        }
    }
}

impl Doomed {
    /// Asks an agent-runner that lives to end.
    fn ask(&self) {
        let lives = self.exit.as_ref().is_some_and(|exit| exit.borrow().is_none());
        if lives
            && let Some(ipc) = &self.ipc
            && let Err(error) = ipc.put_input(&protocol::Input::Close)
        {
            debug!(%error, sandbox.id = %self.id, "the agent-runner could not be asked to end");
        }
    }
}

/// Removes what a sandbox that is gone, or never was, has in the store.
pub(super) fn clear(store: &Path, group: Option<&GroupName>, id: &SandboxId) {
    if let Err(error) = IpcDir::remove(&ipc_root(store), group, id) {
        warn!(%error, sandbox.id = %id, "an ipc directory is left behind");
    }
    remove_dir(&spec::broker_dir(store, id), id);
}

/// Removes the folder of a sandbox's door.
pub(super) fn remove_dir(dir: &Path, id: &SandboxId) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn!(%error, sandbox.id = %id, "a broker directory is left behind");
        }
        _ => {}
    }
}
