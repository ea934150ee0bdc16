//! Docker restarting under us: a daemon of our own is killed and started again, beside the one of the machine.
//!
//! Needs root: only root can start a daemon of the kind that the gateway talks to.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hermitcrab::sandbox::contract::{Stage, host};
use hermitcrab::sandbox::docker::Endpoint;
use hermitcrab::sandbox::{Exit, SandboxError, SandboxKind, SandboxSpec};
use protocol::layout;

use crate::place::Place;

/// How long a daemon may take to answer on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(100);

/// A Docker daemon of our own: its own folders, its own containerd, no network at all.
struct Daemon {
    folder: tempfile::TempDir,
    /// The name of its bridge; containers without a network never see it.
    bridge: String,
    process: Option<Child>,
    live_restore: bool,
}

impl Daemon {
    fn start(live_restore: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("hermitcrab-").tempdir().unwrap();
        let bridge = format!("hct-{:06x}", fastrand::u32(..1 << 24));
        let mut daemon = Self { folder, bridge, process: None, live_restore };
        daemon.up();
        // An empty image is enough: the agent-runner is mounted, and needs nothing.
        let mut import =
            daemon.docker(&["import", "-", "empty:1"]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut import.stdin.take().unwrap(), &[0; 1024]).unwrap();
        assert!(import.wait().unwrap().success());
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut docker = Command::new("docker");
        docker.args(["--host", &self.socket()]).args(arguments).stdout(Stdio::null());
        docker
    }

    fn up(&mut self) {
        // A bridge that exists keeps it from making, or from removing, the one of the machine's own daemon.
        run("ip", &["link", "add", "name", &self.bridge, "type", "bridge"]).ok();
        let folder = |option: &str, name: &str| format!("--{option}={}", self.path(name).display());
        // What an earlier life leaves, and would be taken for a process that lives.
        for file in ["docker.pid", "exec/containerd/containerd.pid"] {
            std::fs::remove_file(self.path(file)).ok();
        }
        let mut command = Command::new("dockerd");
        command
            .args([folder("data-root", "data"), folder("exec-root", "exec")])
            .args([folder("pidfile", "docker.pid"), format!("--host={}", self.socket())])
            .args(["--iptables=false", "--ip-masq=false", &format!("--bridge={}", self.bridge)])
            .stdout(Stdio::null())
            .stderr(File::create(self.path("log")).unwrap());
        if self.live_restore {
            command.arg("--live-restore");
        }
        self.process = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while !self.docker(&["info"]).stderr(Stdio::null()).status().unwrap().success() {
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "the daemon does not answer: {}", log());
            std::thread::yield_now();
        }
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        // With its containerd gone as well nothing is left that answers.
        let pid = std::fs::read_to_string(self.path("exec/containerd/containerd.pid"))
            .unwrap_or_default();
        if !self.live_restore && !pid.is_empty() {
            run("kill", &["-9", pid.trim()]).ok();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let all = self.docker(&["ps", "-aq"]).stdout(Stdio::piped()).output().unwrap();
        for id in String::from_utf8_lossy(&all.stdout).split_whitespace() {
            self.docker(&["rm", "-f", id]).status().ok();
        }
        if let Some(mut process) = self.process.take() {
            run("kill", &["-TERM", &process.id().to_string()]).ok();
            process.wait().ok();
        }
        let containerd = std::fs::read_to_string(self.path("exec/containerd/containerd.pid"));
        if let Ok(pid) = containerd {
            run("kill", &["-TERM", pid.trim()]).ok();
        }
        run("ip", &["link", "delete", &self.bridge]).ok();
        unmount(&self.path("exec"));
        unmount(&self.path("data"));
    }
}

fn run(program: &str, arguments: &[&str]) -> std::io::Result<std::process::ExitStatus> {
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()
}

/// Lets go of what the daemon has mounted, so that its folder can be removed.
fn unmount(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut below: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| Path::new(path).starts_with(folder))
        .collect();
    below.sort_unstable_by_key(|path| std::cmp::Reverse(path.len()));
    for path in below {
        run("umount", &["--lazy", path]).ok();
    }
}

fn place(daemon: &Daemon) -> (Place, SandboxSpec) {
    let mut place = Place::new(SandboxKind::Docker);
    place.endpoints = vec![Endpoint::parse(&daemon.socket()).unwrap()];
    place.image = "empty:1".to_owned();
    // It waits for a prompt that never comes.
    let spec = place.running(&[layout::RUNNER, "serve"]);
    for name in layout::DIRECTORIES {
        place.folder(&host(&spec, layout::IPC).join(name));
    }
    (place, spec)
}

/// Waits for the agent-runner's first sign of life.
async fn started(spec: &SandboxSpec) {
    let signs = host(spec, layout::IPC).join(layout::PROGRESS);
    let begun = Instant::now();
    while std::fs::read_dir(&signs).unwrap().next().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the agent-runner gives no sign");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where the daemon takes its containers along, that is found out once it is there again, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_only_when_the_daemon_is_back() {
    let mut daemon = Daemon::start(false);
    let (place, spec) = place(&daemon);
    let sandbox = place.open().await.unwrap();
    sandbox.start(&spec).await.unwrap();
    let (waiting, id) = (sandbox.clone(), spec.id.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { waiting.wait(&id).await });
    // It has begun to look for prompts, so nothing but the daemon ends it.
    started(&spec).await;
    daemon.kill();
    let refused = sandbox.list().await.unwrap_err();
    assert!(matches!(refused, SandboxError::Unavailable { .. }), "{refused:?}");
    assert!(matches!(sandbox.start(&spec).await, Err(SandboxError::Unavailable { .. })));
    assert!(tasks.try_join_next().is_none(), "nobody knows yet how it ended");
    daemon.up();
    let exit = tokio::time::timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap();
    let exit = exit.unwrap().unwrap();
    assert!(matches!(exit, Exit::Code(code) if code != 0), "{exit:?}");
    sandbox.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(sandbox.list().await.unwrap().is_empty());
}

/// Where the daemon leaves them alone, nothing happens to a sandbox at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_outlives_a_daemon_that_lets_it() {
    let mut daemon = Daemon::start(true);
    let (place, spec) = place(&daemon);
    let sandbox = place.open().await.unwrap();
    sandbox.start(&spec).await.unwrap();
    let (waiting, id) = (sandbox.clone(), spec.id.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { waiting.wait(&id).await });
    started(&spec).await;
    daemon.kill();
    daemon.up();
    let live = sandbox.list().await.unwrap();
    assert!(matches!(&live[..], [live] if live.running && live.id == spec.id), "{live:?}");
    assert!(tasks.try_join_next().is_none());
    sandbox.stop(&spec.id, Duration::from_secs(5)).await.unwrap();
    let exit = tokio::time::timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap();
    exit.unwrap().unwrap();
}
