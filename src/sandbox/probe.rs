//! Trying a sandbox for real: one is started with `agent-runner probe` in it, and what that finds is judged.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use protocol::{Probe, layout};
use rustix::fs::{CWD, Mode, OFlags};
use tracing::debug;

use super::install::Install;
use super::{Access, Exit, Limits, Mount, Sandbox, SandboxError, SandboxSpec, User, folders, spec};
use crate::model::{GroupName, SandboxId};

/// How long a sandbox may take to be tried, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most bytes of a verdict.
const MOST_BYTES: usize = 64 * 1024;

/// A kind that can tell what was said in a sandbox that failed.
#[async_trait]
pub(super) trait Telling: Sandbox {
    /// The end of what the agent-runner said on its standard error, on one line.
    async fn last_words(&self, id: &SandboxId) -> String;
}

/// Tries a sandbox; returns what it enforces beyond what a kind knows by itself, and whether sockets can be mounted.
///
/// # Errors
/// When it cannot be had, cannot be used by an agent, or is weaker than it must be.
pub(super) async fn run<S: Telling>(
    sandbox: &S,
    install: &Install,
    image: &str,
) -> Result<(bool, Vec<String>), SandboxError> {
    let site = Site::new(&install.store, spec::user())?;
    let spec = site.spec(install, image)?;
    sandbox.start(&spec).await?;
    let exit = tokio::time::timeout(PATIENCE, sandbox.wait(&spec.id)).await;
    let words = sandbox.last_words(&spec.id).await;
    sandbox.stop(&spec.id, Duration::ZERO).await?;
    let failed = |what: String| {
        let words = if words.is_empty() { what } else { format!("{what}: {words}") };
        SandboxError::failed("try a sandbox", words)
    };
    match exit {
        Ok(Ok(Exit::Code(0))) => judge(&site.verdict()?, spec.limits.tmp_bytes),
        Ok(Ok(exit)) => Err(failed(format!("its program ended with {exit:?}"))),
        Ok(Err(error)) => Err(error),
        Err(_elapsed) => Err(failed(format!("it took more than {} seconds", PATIENCE.as_secs()))),
    }
}

/// Sorts what was found into what forbids the use, and what is only to be said.
fn judge(probe: &Probe, tmp_bytes: u64) -> Result<(bool, Vec<String>), SandboxError> {
    let mut open = probe.open.clone();
    if probe.tmp_bytes == 0 || probe.tmp_bytes > tmp_bytes {
        open.push("the size of /tmp is not limited".to_owned());
    }
    if !open.is_empty() {
        return Err(SandboxError::Weak { what: open.join("; ") });
    }
    if !probe.broken.is_empty() {
        return Err(SandboxError::Unavailable {
            reason: format!(
                "an agent could not work in this sandbox: it cannot {}",
                probe.broken.join("; ")
            ),
            mend: "use another kind of sandbox (SANDBOX=docker or SANDBOX=bubblewrap)".to_owned(),
        });
    }
    let mut weaknesses = Vec::new();
    if !probe.landlock {
        weaknesses.push(
            "this kernel has no Landlock: what an agent may leave in its ipc directory is checked by the reader alone"
                .to_owned(),
        );
    }
    Ok((probe.socket, weaknesses))
}

/// A place in the store that holds what one probe mounts; removed when dropped.
struct Site {
    root: PathBuf,
    id: SandboxId,
    user: User,
    _listener: Option<UnixListener>,
}

impl Site {
    fn new(store: &Path, user: User) -> Result<Self, SandboxError> {
        let name = format!("p{:016x}", fastrand::u64(..));
        let id = name.parse().map_err(|error| SandboxError::failed("name a sandbox", error))?;
        let mut site = Self { root: store.join("probe").join(name), id, user, _listener: None };
        let failed = |source| SandboxError::failed("prepare a place for a trial", source);
        for (folder, ..) in FOLDERS {
            folders::own(&site.root.join(folder), user).map_err(failed)?;
        }
        site._listener = listen(&site.root.join("broker"), user)
            .inspect_err(|error| debug!(%error, "no socket can be tried"))
            .ok();
        Ok(site)
    }

    fn spec(&self, install: &Install, image: &str) -> Result<SandboxSpec, SandboxError> {
        let mounts = FOLDERS.map(|(folder, inside, access)| Mount {
            host: self.root.join(folder),
            inside: inside.into(),
            access,
        });
        Ok(SandboxSpec {
            id: self.id.clone(),
            group: GroupName::main(),
            image: image.to_owned(),
            runner: install.runner.clone(),
            runner_args: ["--", layout::RUNNER, "probe"].map(str::to_owned).to_vec(),
            user: self.user,
            mounts: mounts.to_vec(),
            limits: Limits::default(),
            time_zone: "UTC".to_owned(),
        })
    }

    /// Reads what the probe left. Nothing runs there any more, and nothing but our own program ever did.
    fn verdict(&self) -> Result<Probe, SandboxError> {
        let failed = |source| SandboxError::failed("read what a trial found", source);
        let text = std::fs::read(self.root.join("ipc").join(protocol::probe::PROBE))
            .map_err(|error| SandboxError::failed("read what a trial found", error))?;
        let text = text.get(..MOST_BYTES.min(text.len())).unwrap_or_default();
        serde_json::from_slice(text).map_err(failed)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            debug!(%error, "the place of a trial is left behind");
        }
    }
}

/// The mounts that every sandbox has, with their folders in a [`Site`].
const FOLDERS: [(&str, &str, Access); 5] = [
    ("group", layout::GROUP, Access::ReadWrite),
    ("global", layout::GLOBAL, Access::ReadOnly),
    ("ipc", layout::IPC, Access::ReadWrite),
    ("home", layout::HOME, Access::ReadWrite),
    ("broker", layout::BROKER_DIR, Access::ReadOnly),
];

/// Listens as the broker does. Nobody answers, but a connection can be made.
fn listen(folder: &Path, user: User) -> std::io::Result<UnixListener> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
    // The path of a socket may have 107 bytes; that of the store may be longer, and this name of it is not.
    let short = format!("/proc/self/fd/{}/{}", open.as_raw_fd(), layout::BROKER_SOCKET);
    let path =
        if cfg!(target_os = "linux") { short.into() } else { folder.join(layout::BROKER_SOCKET) };
    let listener = UnixListener::bind(&path)?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))?;
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_decides_about_the_use() {
        let good = Probe { socket: true, landlock: true, tmp_bytes: 8, ..Probe::default() };
        assert_eq!(judge(&good, 8).unwrap(), (true, Vec::new()));
        let (socket, weaknesses) =
            judge(&Probe { socket: false, landlock: false, ..good.clone() }, 8).unwrap();
        assert_eq!((socket, weaknesses.len()), (false, 1));
        for weak in [
            Probe { open: vec!["the root can be written".to_owned()], ..good.clone() },
            Probe { tmp_bytes: 9, ..good.clone() },
            Probe { tmp_bytes: 0, ..good.clone() },
        ] {
            assert!(matches!(judge(&weak, 8), Err(SandboxError::Weak { .. })), "{weak:?}");
        }
        let broken = Probe { broken: vec!["write in /workspace/group".to_owned()], ..good };
        assert!(matches!(judge(&broken, 8), Err(SandboxError::Unavailable { .. })));
    }
}
