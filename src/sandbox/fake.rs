//! A sandbox without walls, for tests: its agent is a function that works on the ipc directory of the host.
//!
//! What the test did not announce is refused. Clones share everything, so a gateway that is dropped leaves its
//! sandboxes alive for the next one.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use protocol::layout;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::contract;
use super::{
    ByteStream, Exit, LiveSandbox, Sandbox, SandboxError, SandboxKind, SandboxSpec, Strength,
};
use crate::model::{GroupName, SandboxId};

/// What an agent does from its start to its end.
pub type Work = Pin<Box<dyn Future<Output = Exit> + Send>>;

/// Makes the work of one sandbox.
type Agent = Arc<dyn Fn(Inside) -> Work + Send + Sync>;

/// What the agent of a fake sandbox sees.
pub struct Inside {
    /// What the sandbox was made from.
    pub spec: SandboxSpec,
    /// Cancelled when it is asked to end; an agent that does not listen is ended after the grace.
    pub stop: CancellationToken,
    /// The agent's end of the bridge, when one is opened.
    pub bridges: tokio::sync::mpsc::UnboundedReceiver<tokio::io::DuplexStream>,
}

impl Inside {
    /// The path on the host of what is mounted at `inside`.
    ///
    /// # Panics
    /// When nothing is mounted there.
    #[must_use]
    pub fn host(&self, inside: &str) -> PathBuf {
        contract::host(&self.spec, inside)
    }

    /// The path of the ipc directory on the host.
    ///
    /// # Panics
    /// When the spec has none.
    #[must_use]
    pub fn ipc(&self) -> PathBuf {
        self.host(layout::IPC)
    }
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A probe.
    Probe,
    /// A start.
    Start(SandboxId),
    /// A stop, with its grace.
    Stop(SandboxId, Duration),
    /// A listing.
    List,
    /// A bridge.
    Bridge(SandboxId),
}

/// The stand-in.
#[derive(Clone, Default)]
pub struct FakeSandbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    called: tokio::sync::Notify,
    tasks: TaskTracker,
}

#[derive(Default)]
struct State {
    /// For one start each, in order.
    announced: BTreeMap<GroupName, VecDeque<Agent>>,
    /// For every start of every group.
    always: Option<Agent>,
    live: BTreeMap<SandboxId, Live>,
    calls: Vec<Call>,
    unavailable: Option<(String, String)>,
    no_socket: bool,
    kind: Option<SandboxKind>,
    stubborn: bool,
    /// The next sandbox that is to be prepared panics.
    clumsy: bool,
}

struct Live {
    group: GroupName,
    exit: watch::Receiver<Option<Exit>>,
    stop: CancellationToken,
    kill: CancellationToken,
    bridges: tokio::sync::mpsc::UnboundedSender<tokio::io::DuplexStream>,
}

impl FakeSandbox {
    /// A stand-in that refuses every start until one is announced.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces one start for a group; several are used in order.
    pub fn expect<F>(&self, group: &GroupName, agent: impl Fn(Inside) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        let agent: Agent = Arc::new(move |inside| Box::pin(agent(inside)));
        self.state().announced.entry(group.clone()).or_default().push_back(agent);
    }

    /// Announces any number of starts for any group.
    pub fn always<F>(&self, agent: impl Fn(Inside) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        self.state().always = Some(Arc::new(move |inside| Box::pin(agent(inside))));
    }

    /// From now on no sandbox can be had, for this reason and with this to mend it; `None` ends that.
    pub fn unavailable(&self, why: Option<(&str, &str)>) {
        self.state().unavailable = why.map(|(reason, mend)| (reason.to_owned(), mend.to_owned()));
    }

    /// From now on sockets cannot be mounted, so the broker comes through a bridge.
    pub fn without_socket(&self) {
        self.state().no_socket = true;
    }

    /// From now on it says that it is of another kind.
    pub fn pretend(&self, kind: SandboxKind) {
        self.state().kind = Some(kind);
    }

    /// From now on no sandbox can be stopped, and each lives on; [`Self::obedient`] ends that.
    pub fn stubborn(&self) {
        self.state().stubborn = true;
    }

    /// Panics when the next sandbox is to be prepared.
    pub fn clumsy(&self) {
        self.state().clumsy = true;
    }

    /// From now on sandboxes can be stopped again.
    pub fn obedient(&self) {
        self.state().stubborn = false;
    }

    /// Waits until the calls made so far are such.
    pub async fn until(&self, such: impl Fn(&[Call]) -> bool) {
        loop {
            let called = self.0.called.notified();
            if such(&self.state().calls) {
                return;
            }
            called.await;
        }
    }

    /// The sandboxes that are there, whether they run or have ended.
    #[must_use]
    pub fn there(&self) -> Vec<SandboxId> {
        self.state().live.keys().cloned().collect()
    }

    /// The calls made so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call, and refuses it while no sandbox can be had.
    fn record(&self, call: Call) -> Result<MutexGuard<'_, State>, SandboxError> {
        let mut state = self.state();
        state.calls.push(call);
        self.0.called.notify_waiters();
        match &state.unavailable {
            Some((reason, mend)) => {
                Err(SandboxError::Unavailable { reason: reason.clone(), mend: mend.clone() })
            }
            None => Ok(state),
        }
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    fn kind(&self) -> SandboxKind {
        self.state().kind.unwrap_or(SandboxKind::Fake)
    }

    async fn probe(&self) -> Result<Strength, SandboxError> {
        let state = self.record(Call::Probe)?;
        Ok(Strength {
            description: "a stand-in for tests".to_owned(),
            weaknesses: vec!["there are no walls at all".to_owned()],
            socket: !state.no_socket,
        })
    }

    async fn prepare(&self, _id: &SandboxId, _group: &GroupName) -> Result<bool, SandboxError> {
        let clumsy = std::mem::take(&mut self.state().clumsy);
        assert!(!clumsy, "as the test wishes");
        Ok(false)
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        let mut state = self.record(Call::Start(spec.id.clone()))?;
        let refuse = |why: &str| Err(SandboxError::failed("start the sandbox", why));
        if state.live.contains_key(&spec.id) {
            return refuse("its id was used before");
        }
        let announced = state.announced.get_mut(&spec.group).and_then(VecDeque::pop_front);
        let Some(agent) = announced.or_else(|| state.always.clone()) else {
            return refuse("the test did not announce it");
        };
        let (ended, exit) = watch::channel(None);
        let (bridges, opened) = tokio::sync::mpsc::unbounded_channel();
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let work = agent(Inside { spec: spec.clone(), stop: stop.clone(), bridges: opened });
        let killed = kill.clone();
        self.0.tasks.spawn(async move {
            let exit = tokio::select! {
                exit = work => exit,
                () = killed.cancelled() => Exit::Code(137),
            };
            ended.send_replace(Some(exit));
        });
        let live = Live { group: spec.group.clone(), exit, stop, kill, bridges };
        state.live.insert(spec.id.clone(), live);
        Ok(())
    }

    async fn wait(&self, id: &SandboxId) -> Result<Exit, SandboxError> {
        let Some(mut exit) = self.state().live.get(id).map(|live| live.exit.clone()) else {
            return Ok(Exit::Gone);
        };
        let ended = exit.wait_for(Option::is_some).await;
        Ok(ended.ok().and_then(|exit| *exit).unwrap_or(Exit::Gone))
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), SandboxError> {
        let live = {
            let mut state = self.record(Call::Stop(id.clone(), grace))?;
            if state.stubborn {
                return Err(SandboxError::failed("stop the sandbox", "it lives on"));
            }
            state.live.remove(id)
        };
        let Some(mut live) = live else { return Ok(()) };
        live.stop.cancel();
        // Its end, or the end of its task: either way it does nothing more.
        let ended = tokio::time::timeout(grace, live.exit.wait_for(Option::is_some)).await.is_ok();
        if !ended {
            live.kill.cancel();
            // The sender goes with the task: its end is an end as well.
            live.exit.wait_for(Option::is_some).await.ok();
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<LiveSandbox>, SandboxError> {
        let state = self.record(Call::List)?;
        let live = state.live.iter().map(|(id, live)| LiveSandbox {
            id: id.clone(),
            group: live.group.clone(),
            running: live.exit.borrow().is_none(),
        });
        Ok(live.collect())
    }

    async fn bridge(&self, id: &SandboxId) -> Result<Box<dyn ByteStream>, SandboxError> {
        let state = self.record(Call::Bridge(id.clone()))?;
        let live = state.live.get(id).ok_or_else(|| SandboxError::Unknown(id.clone()))?;
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        live.bridges.send(theirs).map_err(|_ended| SandboxError::Unknown(id.clone()))?;
        Ok(Box::new(ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::contract::{AT_WORK, Act, Stage};
    use crate::sandbox::{Access, Limits, Mount, User};

    struct Theatre {
        fake: FakeSandbox,
        acts: Arc<Mutex<BTreeMap<SandboxId, Act>>>,
        home: tempfile::TempDir,
    }

    impl Theatre {
        fn new() -> Self {
            let (fake, acts) = (FakeSandbox::new(), Arc::<Mutex<BTreeMap<_, _>>>::default());
            let known = acts.clone();
            fake.always(move |inside| {
                let act = known.lock().unwrap().remove(&inside.spec.id).unwrap();
                play(inside, act)
            });
            Self { fake, acts, home: tempfile::tempdir().unwrap() }
        }
    }

    async fn play(inside: Inside, act: Act) -> Exit {
        if let Act::End(code) = act {
            return Exit::Code(code.into());
        }
        std::fs::write(inside.ipc().join(AT_WORK), "").unwrap();
        if act == Act::Deaf {
            std::future::pending::<()>().await;
        }
        inside.stop.cancelled().await;
        Exit::Code(0)
    }

    #[async_trait]
    impl Stage for Theatre {
        async fn open(&self) -> Result<Arc<dyn Sandbox>, SandboxError> {
            Ok(Arc::new(self.fake.clone()))
        }

        fn spec(&self, act: Act) -> SandboxSpec {
            let id: SandboxId = format!("s{:016x}", fastrand::u64(..)).parse().unwrap();
            let ipc = self.home.path().join(id.as_str());
            std::fs::create_dir(&ipc).unwrap();
            self.acts.lock().unwrap().insert(id.clone(), act);
            spec(id, ipc)
        }
    }

    fn spec(id: SandboxId, ipc: PathBuf) -> SandboxSpec {
        let ipc = Mount { host: ipc, inside: layout::IPC.into(), access: Access::ReadWrite };
        SandboxSpec {
            id,
            group: "family".parse().unwrap(),
            image: String::new(),
            runner: PathBuf::new(),
            runner_args: Vec::new(),
            user: User { uid: 1000, gid: 1000 },
            mounts: vec![ipc],
            limits: Limits::default(),
            time_zone: "UTC".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_stand_in_keeps_the_contract() {
        contract::holds(&Theatre::new()).await.unwrap();
    }

    #[tokio::test]
    async fn only_what_was_announced_is_started_and_every_call_is_recorded() {
        let fake = FakeSandbox::new();
        let specs = ["a", "b", "c"].map(|id| spec(id.parse().unwrap(), PathBuf::new()));
        let [first, second, third] = &specs;
        fake.start(first).await.unwrap_err();
        for code in [1, 2] {
            fake.expect(&first.group, move |_| std::future::ready(Exit::Code(code)));
        }
        fake.start(first).await.unwrap();
        fake.start(second).await.unwrap();
        fake.start(third).await.unwrap_err();
        assert_eq!(fake.wait(&first.id).await.unwrap(), Exit::Code(1));
        assert_eq!(fake.wait(&second.id).await.unwrap(), Exit::Code(2));
        fake.unavailable(Some(("Docker is gone", "start it")));
        assert!(matches!(fake.list().await, Err(SandboxError::Unavailable { .. })));
        let started = [first, first, second, third].map(|spec| Call::Start(spec.id.clone()));
        assert_eq!(fake.calls(), [&started[..], &[Call::List]].concat());
    }
}
