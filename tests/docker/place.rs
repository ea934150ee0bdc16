//! A home in a temporary folder, the kinds of sandbox on it, and what a sandbox of a test is made from.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hermitcrab::model::SandboxId;
use hermitcrab::sandbox::bubblewrap::BubblewrapSandbox;
use hermitcrab::sandbox::contract::{AT_WORK, Act, Stage, host};
use hermitcrab::sandbox::docker::{DockerSandbox, Endpoint};
use hermitcrab::sandbox::install::Install;
use hermitcrab::sandbox::{
    Access, Exit, Limits, Mount, Sandbox, SandboxError, SandboxKind, SandboxSpec, spec,
};
use protocol::layout;

/// The default image.
pub(crate) const IMAGE: &str = "hermitcrab-agent:latest";

/// A home with one kind of sandbox on it.
pub(crate) struct Place {
    pub(crate) kind: SandboxKind,
    pub(crate) image: String,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) limits: Limits,
    home: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(kind: SandboxKind) -> Self {
        let endpoints = Endpoint::usual(rustix::process::geteuid().as_raw(), None);
        let home = tempfile::Builder::new().prefix("hermitcrab-").tempdir().unwrap();
        Self { kind, image: IMAGE.to_owned(), endpoints, limits: Limits::default(), home }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn install(&self) -> Install {
        Install::open(&self.home().join("store")).unwrap()
    }

    /// A sandbox that runs this program under its agent-runner.
    pub(crate) fn running(&self, program: &[&str]) -> SandboxSpec {
        let id: SandboxId = format!("s{:016x}", fastrand::u64(..)).parse().unwrap();
        let store = self.home().join("store");
        let mount = |host: PathBuf, inside: &str, access| {
            self.folder(&host);
            Mount { host, inside: inside.into(), access }
        };
        let mounts = vec![
            mount(self.home().join("groups/family"), layout::GROUP, Access::ReadWrite),
            mount(self.home().join("groups/global"), layout::GLOBAL, Access::ReadOnly),
            mount(store.join("ipc/family").join(id.as_str()), layout::IPC, Access::ReadWrite),
            mount(store.join("sessions/family"), layout::HOME, Access::ReadWrite),
            mount(store.join("broker").join(id.as_str()), layout::BROKER_DIR, Access::ReadOnly),
        ];
        let arguments = ["--"].iter().chain(program).map(|word| (*word).to_owned());
        SandboxSpec {
            id,
            group: "family".parse().unwrap(),
            image: self.image.clone(),
            runner: self.install().runner,
            runner_args: arguments.collect(),
            user: spec::user(),
            mounts,
            limits: self.limits,
            time_zone: "Europe/Lisbon".to_owned(),
        }
    }

    /// A folder that belongs to the agent, and is closed to everybody else.
    pub(crate) fn folder(&self, path: &Path) {
        std::fs::create_dir_all(path).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
        self.give(path);
    }

    pub(crate) fn give(&self, path: &Path) {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(spec::user().uid), Some(spec::user().gid)).unwrap();
        }
    }

    /// Runs a script of bash in a fresh sandbox to its end.
    pub(crate) async fn run(&self, script: &str) -> (SandboxSpec, Exit) {
        let sandbox = self.open().await.unwrap();
        let spec = self.running(&["bash", "-c", script]);
        sandbox.start(&spec).await.unwrap();
        let exit = tokio::time::timeout(Duration::from_secs(120), sandbox.wait(&spec.id)).await;
        sandbox.stop(&spec.id, Duration::ZERO).await.unwrap();
        (spec, exit.expect("the script ends in time").unwrap())
    }

    /// What a script left in the ipc directory under this name.
    pub(crate) fn left(&self, spec: &SandboxSpec, name: &str) -> String {
        std::fs::read_to_string(host(spec, layout::IPC).join(name)).unwrap()
    }
}

#[async_trait]
impl Stage for Place {
    async fn open(&self) -> Result<Arc<dyn Sandbox>, SandboxError> {
        let install = self.install();
        Ok(match self.kind {
            SandboxKind::Docker => {
                Arc::new(DockerSandbox::connect(&self.endpoints, install, &self.image).await?)
            }
            SandboxKind::Bubblewrap => Arc::new(BubblewrapSandbox::open(install).await?),
            SandboxKind::Fake => panic!("the stand-in has its own stage"),
        })
    }

    fn spec(&self, act: Act) -> SandboxSpec {
        let sign = format!("touch {}/{AT_WORK}", layout::IPC);
        let script = match act {
            Act::End(code) => format!("exit {code}"),
            Act::Work => format!("trap 'exit 0' TERM; {sign}; while :; do sleep 0.05; done"),
            Act::Deaf => format!("trap '' TERM; {sign}; while :; do sleep 0.05; done"),
        };
        self.running(&["bash", "-c", &script])
    }
}
