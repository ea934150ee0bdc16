//! Sandboxes without a daemon, on Linux: bubblewrap with fresh namespaces, and the host's `/usr` read-only as its root.
//!
//! A sandbox does not end with the gateway. What a later gateway must know lies in `store/sandboxes/`: who it works
//! for, and what bubblewrap itself writes there about its process and its end. A process is believed to be a
//! sandbox's only while its PID namespace is the one that was written down in the same boot.
//!
//! A gateway that is root starts bubblewrap as root, so that it can reach the folders of the store, and the
//! agent-runner gives that up before anything else runs; there is no user namespace then. Any other gateway starts it
//! in a user namespace of its own.

mod arguments;
mod cgroup;
mod process;
mod starting;
mod state;
mod tool;

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::arguments::Host;
use self::cgroup::{Cgroup, Cgroups};
use self::process::Process;
use self::starting::Starting;
use self::state::{Record, State, Status};
pub use self::tool::install_command;
use super::install::Install;
use super::probe::{self, Telling};
use super::{
    ByteStream, Exit, LiveSandbox, Sandbox, SandboxError, SandboxKind, SandboxSpec, Strength,
};
use crate::model::{GroupName, SandboxId};
use crate::text::one_line;

/// How long bubblewrap may take until the agent-runner runs.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for meanwhile.
const START_LOOK: Duration = Duration::from_millis(1);
/// How long the status of a sandbox that has ended may take to be written.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
/// How long a sandbox may take to end before it is asked once more.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a sandbox that was killed may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// The room for what is said on standard error, in bytes; what is beyond is lost.
const WORDS_BYTES: u64 = 16 * 1024;
/// The most characters that are told of it.
const WORDS_TOLD: usize = 400;

/// Bubblewrap.
pub struct BubblewrapSandbox {
    program: &'static str,
    version: String,
    install: Install,
    state: State,
    host: Host,
    cgroups: Option<Cgroups>,
    weaknesses: Vec<String>,
    /// What was made for sandboxes that have not been started yet.
    prepared: Mutex<HashMap<SandboxId, File>>,
    /// What the sandboxes that this gateway started say on their standard error.
    words: Mutex<HashMap<SandboxId, File>>,
    /// Waits for the processes that this gateway started.
    tasks: TaskTracker,
}

impl BubblewrapSandbox {
    /// Looks for bubblewrap, and for cgroups that can hold its sandboxes.
    ///
    /// # Errors
    /// When it is not installed, is too old, or the store cannot be written.
    pub async fn open(install: Install) -> Result<Self, SandboxError> {
        let program = tool::find()?;
        let version = tool::version(program).await?;
        let failed = |source| SandboxError::failed("prepare the store for sandboxes", source);
        let state = State::open(&install.store.join("sandboxes")).map_err(failed)?;
        let host = Host::look(state.folder(), super::spec::user()).map_err(failed)?;
        let (cgroups, weaknesses) = cgroup::find(&install.id);
        if let Some(cgroups) = &cgroups {
            // A record is written before its cgroup is made, and removed after it.
            cgroups.tidy(|id| state.record(id).is_ok_and(|record| record.is_none()));
        }
        Ok(Self {
            program,
            version,
            install,
            state,
            host,
            cgroups,
            weaknesses,
            prepared: Mutex::default(),
            words: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Writes down that a sandbox is about to start, and makes its cgroup; returns the file for bubblewrap.
    fn make(&self, id: &SandboxId, group: &GroupName) -> std::io::Result<File> {
        let status = self.state.create(id, group)?;
        if let Some(cgroup) = self.cgroup(id)
            && let Err(error) = cgroup.create()
        {
            cgroup.abandon();
            self.state.remove(id)?;
            return Err(error);
        }
        Ok(status)
    }

    fn prepared(&self) -> MutexGuard<'_, HashMap<SandboxId, File>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn words(&self) -> MutexGuard<'_, HashMap<SandboxId, File>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts bubblewrap, which writes to `status`, and returns once the agent-runner runs in it.
    async fn launch(&self, spec: &SandboxSpec, status: File) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::failed("start bubblewrap", source);
        let cgroup = self.cgroup(&spec.id);
        let words = words_file().map_err(failed)?;
        self.words().insert(spec.id.clone(), words.try_clone().map_err(failed)?);
        if let Some(cgroup) = &cgroup {
            cgroup.limit(&spec.limits).map_err(failed)?;
        }
        let mut command = Command::new(self.program);
        command
            .args(self.host.arguments(spec, cgroup.is_some()))
            .env_clear()
            .current_dir("/")
            .stdin(if cgroup.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(status)
            .stderr(words)
            // What a terminal sends to the gateway is not for its sandboxes.
            .process_group(0);
        let child = match &cgroup {
            Some(cgroup) => {
                let runtime = Handle::current();
                cgroup.start_inside(move || {
                    let _entered = runtime.enter();
                    command.spawn()
                })
            }
            None => command.spawn(),
        };
        let child = child.map_err(failed)?;
        let mut starting = Starting::new(child);
        let child = starting.child();
        let launched = async {
            // Where it could not be started inside it is moved as early as can be.
            if let Some(cgroup) = &cgroup {
                enter(cgroup, child.id()).map_err(failed)?;
            }
            self.see_start(spec, cgroup.as_ref(), child).await
        };
        let launched = tokio::time::timeout(START_PATIENCE, launched);
        let launched = launched.await.unwrap_or_else(|_elapsed| {
            Err(SandboxError::failed("start bubblewrap", "the agent-runner did not start in time"))
        });
        if launched.is_err() {
            // What it has written until then is its last word, by which what it made is found and ended.
            starting.kill().await.map_err(failed)?;
            return launched;
        }
        let (id, mut child) = (spec.id.clone(), starting.done());
        self.tasks.spawn(async move {
            if let Err(error) = child.wait().await {
                debug!(%error, sandbox.id = %id, "the end of bubblewrap was not seen");
            }
        });
        Ok(())
    }

    /// Makes sure that the sandbox is in its cgroup, lets it begin, and returns once the agent-runner runs.
    async fn see_start(
        &self,
        spec: &SandboxSpec,
        cgroup: Option<&Cgroup>,
        child: &mut Child,
    ) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::failed("start bubblewrap", source);
        let mut held_back = cgroup;
        loop {
            // Asked before the status is read, which bubblewrap finishes before it ends.
            let ended = has_ended(child);
            let status = self.state.status(&spec.id).map_err(failed)?;
            if let (Some(cgroup), Some(init)) = (held_back, &status.init)
                && enter(cgroup, u32::try_from(init.pid).ok()).map_err(failed)?
            {
                admit(child.stdin.take()).await.map_err(failed)?;
                held_back = None;
            }
            let runs = status.init.is_some_and(|init| init.runs_agent_runner());
            if held_back.is_none() && (runs || status.exit.is_some()) {
                return Ok(());
            }
            if ended {
                let said = self.last_words(&spec.id).await;
                return Err(SandboxError::failed("start bubblewrap", said));
            }
            tokio::time::sleep(START_LOOK).await;
        }
    }

    /// The process of a sandbox, while it lives.
    fn process(&self, id: &SandboxId, record: &Record) -> Result<Option<Process>, SandboxError> {
        let failed = |source| SandboxError::failed("look for a sandbox", source);
        if record.boot != self.state.boot() {
            return Ok(None);
        }
        match self.state.status(id).map_err(failed)?.init {
            Some(init) => init.open().map_err(failed),
            None => Ok(None),
        }
    }

    /// What bubblewrap wrote about the end of a sandbox that has ended.
    async fn end(&self, id: &SandboxId) -> Result<Status, SandboxError> {
        let written = async {
            loop {
                let status = self.state.status(id);
                let status =
                    status.map_err(|source| SandboxError::failed("look for a sandbox", source))?;
                // Of one that was stopped meanwhile, nothing is left to be read.
                if status.exit.is_some() || self.is_forgotten(id)? {
                    return Ok(status);
                }
                tokio::time::sleep(START_LOOK).await;
            }
        };
        // Without a word of bubblewrap, because it was killed as well, nobody knows how it ended.
        tokio::time::timeout(STATUS_PATIENCE, written)
            .await
            .unwrap_or_else(|_elapsed| Ok(Status::default()))
    }

    fn is_forgotten(&self, id: &SandboxId) -> Result<bool, SandboxError> {
        let record = self.state.record(id);
        let record = record.map_err(|source| SandboxError::failed("look for a sandbox", source))?;
        Ok(record.is_none())
    }

    /// The cgroup of a sandbox.
    fn cgroup(&self, id: &SandboxId) -> Option<Cgroup> {
        self.cgroups.as_ref().map(|cgroups| cgroups.of(id))
    }

    /// Waits until it is written down which process is the sandbox's, or nobody can write it down any more: a gateway
    /// that died in the middle of a start may have left a bubblewrap that goes on with it.
    async fn await_process(&self, id: &SandboxId, record: &Record) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::failed("stop a sandbox", source);
        let deadline = tokio::time::Instant::now() + KILL_PATIENCE;
        while record.boot == self.state.boot() {
            // Asked before the status is read, which bubblewrap writes before it lets go.
            let written_to = self.state.is_written_to(id).map_err(failed)?;
            if !written_to || self.state.status(id).map_err(failed)?.init.is_some() {
                break;
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(SandboxError::failed("stop a sandbox", "it is still being started"));
            }
            tokio::time::sleep(START_LOOK).await;
        }
        Ok(())
    }

    /// Ends the process of a sandbox.
    async fn end_process(&self, process: &Process, grace: Duration) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::failed("stop a sandbox", source);
        let asked = async {
            loop {
                process.signal(Signal::TERM)?;
                // The kernel drops what PID 1 of a namespace does not listen to yet, so one that has only just begun
                // is asked again.
                if let Ok(ended) = tokio::time::timeout(ASK_AGAIN, process.ended()).await {
                    return ended;
                }
            }
        };
        if !grace.is_zero()
            && let Ok(ended) = tokio::time::timeout(grace, asked).await
        {
            return ended.map_err(failed);
        }
        process.signal(Signal::KILL).map_err(failed)?;
        match tokio::time::timeout(KILL_PATIENCE, process.ended()).await {
            Ok(ended) => ended.map_err(failed),
            Err(_elapsed) => {
                Err(SandboxError::failed("stop a sandbox", "it was killed and lives on"))
            }
        }
    }
}

impl Drop for BubblewrapSandbox {
    fn drop(&mut self) {
        if let Some(cgroups) = &self.cgroups {
            cgroups.leave();
        }
    }
}

#[async_trait]
impl Sandbox for BubblewrapSandbox {
    fn kind(&self) -> SandboxKind {
        SandboxKind::Bubblewrap
    }

    async fn probe(&self) -> Result<Strength, SandboxError> {
        let (socket, found) = match probe::run(self, &self.install, "").await {
            Err(SandboxError::Failed { source, .. }) => {
                return Err(tool::unusable(&source.to_string()));
            }
            other => other?,
        };
        let mut weaknesses = self.weaknesses.clone();
        weaknesses.extend(found);
        let description = format!("{}, with the programs of this machine", self.version);
        Ok(Strength { description, weaknesses, socket })
    }

    async fn prepare(&self, id: &SandboxId, group: &GroupName) -> Result<bool, SandboxError> {
        let failed = |source| SandboxError::failed("prepare a sandbox", source);
        let status = self.make(id, group).map_err(failed)?;
        self.prepared().insert(id.clone(), status);
        Ok(true)
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        let prepared = self.prepared().remove(&spec.id);
        let status = prepared.map_or_else(|| self.make(&spec.id, &spec.group), Ok);
        let status = status.map_err(|source| SandboxError::failed("start a sandbox", source))?;
        let started = self.launch(spec, status).await;
        if started.is_err()
            && let Err(error) = self.stop(&spec.id, Duration::ZERO).await
        {
            warn!(%error, sandbox.id = %spec.id, "a sandbox that did not start is left behind");
        }
        started
    }

    async fn wait(&self, id: &SandboxId) -> Result<Exit, SandboxError> {
        let failed = |source| SandboxError::failed("look for a sandbox", source);
        let Some(record) = self.state.record(id).map_err(failed)? else { return Ok(Exit::Gone) };
        if let Some(process) = self.process(id, &record)? {
            process.ended().await.map_err(failed)?;
        } else if self.state.status(id).map_err(failed)?.exit.is_none()
            && !self.state.is_written_to(id).map_err(failed)?
        {
            // It was prepared and never started.
            return Ok(Exit::Gone);
        }
        let exit = if record.boot == self.state.boot() { self.end(id).await?.exit } else { None };
        Ok(match exit {
            Some(0) => Exit::Code(0),
            Some(_) if self.cgroup(id).is_some_and(|cgroup| cgroup.ran_out_of_memory()) => {
                Exit::OutOfMemory
            }
            Some(code) => Exit::Code(code),
            None => Exit::Gone,
        })
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::failed("stop a sandbox", source);
        // From now on nobody but a bubblewrap writes its status.
        self.prepared().remove(id);
        if let Some(record) = self.state.record(id).map_err(failed)? {
            self.await_process(id, &record).await?;
            if let Some(process) = self.process(id, &record)? {
                self.end_process(&process, grace).await?;
            }
        }
        if let Some(cgroup) = self.cgroup(id) {
            cgroup.remove().await.map_err(failed)?;
        }
        self.words().remove(id);
        self.state.remove(id).map_err(failed)
    }

    async fn list(&self) -> Result<Vec<LiveSandbox>, SandboxError> {
        let failed = |source| SandboxError::failed("list the sandboxes", source);
        let mut sandboxes = Vec::new();
        for (id, record) in self.state.list().map_err(failed)? {
            let running = self.process(&id, &record)?.is_some();
            sandboxes.push(LiveSandbox { id, group: record.group, running });
        }
        Ok(sandboxes)
    }

    async fn bridge(&self, _id: &SandboxId) -> Result<Box<dyn ByteStream>, SandboxError> {
        Err(SandboxError::Unsupported("carry a bridge; bubblewrap mounts the broker's socket"))
    }
}

#[async_trait]
impl Telling for BubblewrapSandbox {
    async fn last_words(&self, id: &SandboxId) -> String {
        let mut said = vec![0; usize::try_from(WORDS_BYTES).unwrap_or_default()];
        let read = self.words().get(id).map(|words| words.read_at(&mut said, 0));
        match read {
            Some(Ok(_)) => {
                let said = String::from_utf8_lossy(&said);
                one_line(said.trim_end_matches('\0'), WORDS_TOLD)
            }
            _ => String::new(),
        }
    }
}

/// A place in memory for what is said on standard error, which cannot grow.
fn words_file() -> std::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory: OwnedFd = rustix::fs::memfd_create("hermitcrab-words", flags)?;
    let mut file = File::from(memory);
    file.set_len(WORDS_BYTES)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    file.rewind()?;
    Ok(file)
}

/// Puts a process into a cgroup; `false` when it has ended, which bubblewrap will say more about.
fn enter(cgroup: &Cgroup, pid: Option<u32>) -> std::io::Result<bool> {
    let Some(pid) = pid else { return Ok(false) };
    match cgroup.enter(pid) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets an agent-runner begin that waits at the gate.
async fn admit(gate: Option<ChildStdin>) -> std::io::Result<()> {
    let Some(mut gate) = gate else { return Ok(()) };
    match gate.write_all(b"\n").await {
        // It has ended already; how, is found out by looking.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Whether bubblewrap itself has ended.
fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_sandbox_that_somebody_still_starts_is_not_taken_for_gone() {
        let home = tempfile::tempdir().unwrap();
        let install = Install::open(home.path()).unwrap();
        let sandbox = BubblewrapSandbox::open(install).await.unwrap();
        let id: SandboxId = "s1".parse().unwrap();
        let status = sandbox.state.create(&id, &"family".parse().unwrap()).unwrap();
        {
            let mut stop = std::pin::pin!(sandbox.stop(&id, Duration::ZERO));
            assert!(poll!(&mut stop).is_pending());
            assert!(sandbox.state.record(&id).unwrap().is_some());
            // As when a bubblewrap ends that an earlier gateway left.
            drop(status);
            stop.await.unwrap();
        }
        assert!(sandbox.state.record(&id).unwrap().is_none());
    }
}
