//! The real binary in a home of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hermitcrab::config::Settings;
use tokio::process::{Child, Command};

/// How long anything that should happen may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A home: `.env`, `groups/`, `store/`.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    /// The gateway's log, outside the home: that may be full.
    log: tempfile::TempPath,
}

/// A gateway that runs.
pub(crate) struct Gateway {
    child: Child,
}

impl Home {
    /// An empty home, in which sandboxes are of the daemonless kind and nobody thinks.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("hc").tempdir().unwrap();
        // Agents run as another user when the tests run as root: they must be able to reach their mounts.
        open_to_all(dir.path());
        let env = [("SANDBOX", "bubblewrap"), ("LOG_LEVEL", "info"), ("TZ", "UTC")];
        let env =
            env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let log = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        Self { dir, env, log }
    }

    /// With this variable in the gateway's environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The terminal's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("store/chat.sock")
    }

    /// A command of the binary in this home, with nothing else in its environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hermitcrab"));
        command.arg("--home").arg(self.path()).args(args).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.path()).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The settings of a gateway of this home in the test's own process.
    pub(crate) fn settings(&self) -> Settings {
        let lines = self.env.iter().map(|(name, value)| format!("{name}={value}\n"));
        let path = self.path().join(".env");
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Settings::load(Some(self.path().to_owned())).unwrap()
    }

    /// Starts the gateway and waits until it takes messages; how it ended when it died before that.
    pub(crate) async fn start(&self, failpoints: Option<&str>) -> Result<Gateway, ExitStatus> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command(&["run"]);
        if let Some(failpoints) = failpoints {
            command.env("FAILPOINTS", failpoints);
        }
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let connected = async {
            loop {
                if tokio::net::UnixStream::connect(self.socket()).await.is_ok() {
                    return Ok(());
                }
                if let Some(status) = child.try_wait().unwrap() {
                    return Err(status);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let up = tokio::time::timeout(PATIENCE, connected).await;
        up.unwrap_or_else(|_| panic!("the gateway does not come up:\n{}", self.read_log()))
            .map(|()| Gateway { child })
    }

    /// What the gateway has logged.
    pub(crate) fn read_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Gateway {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Kills it at once.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, as systemd would, and waits for that.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }
}

fn open_to_all(dir: &Path) {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}
