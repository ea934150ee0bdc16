//! Finding the daemon, and what it says about itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::SystemInfo;
use bollard::{API_DEFAULT_VERSION, Docker};
use tracing::debug;

use crate::sandbox::SandboxError;

/// How long a request may take until the daemon begins to answer, in seconds; only creating containers and removing
/// large ones takes more than a fraction of one.
const REQUEST_SECONDS: u64 = 120;
/// How long a daemon may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);

/// A place where a daemon may listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Socket(PathBuf),
    /// An address on this machine.
    Loopback(String),
}

impl Endpoint {
    /// Reads `DOCKER_HOST`.
    ///
    /// # Errors
    /// When it is neither a Unix socket nor an address on loopback: mounts need the daemon's files to be ours.
    pub fn parse(text: &str) -> Result<Self, SandboxError> {
        if let Some(path) = text.strip_prefix("unix://")
            && Path::new(path).is_absolute()
        {
            return Ok(Self::Socket(path.into()));
        }
        if let Some(address) = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://"))
            && is_loopback(address)
        {
            return Ok(Self::Loopback(format!("tcp://{address}")));
        }
        Err(SandboxError::Unavailable {
            reason: format!("DOCKER_HOST is {text:?}, which is no daemon on this machine"),
            mend: "set DOCKER_HOST to unix:///path/of/docker.sock or tcp://127.0.0.1:port"
                .to_owned(),
        })
    }

    /// Where daemons listen by default: Docker and Podman of the system, then those of the user with this id.
    #[must_use]
    pub fn usual(uid: u32, home: Option<&Path>) -> Vec<Self> {
        let mut sockets: Vec<PathBuf> = vec!["/var/run/docker.sock".into()];
        sockets.extend(home.map(|home| home.join(".docker/run/docker.sock")));
        if uid == 0 {
            sockets.push("/run/podman/podman.sock".into());
        }
        for name in ["docker.sock", "podman/podman.sock"] {
            sockets.push(format!("/run/user/{uid}/{name}").into());
        }
        sockets.into_iter().map(Self::Socket).collect()
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Loopback(address) => address.fmt(f),
        }
    }
}

/// Whether `host:port` is on this machine; a user name before the host is none.
fn is_loopback(address: &str) -> bool {
    let Some((host, port)) = address.trim_end_matches('/').rsplit_once(':') else { return false };
    port.parse::<u16>().is_ok()
        && (host == "localhost"
            || host == "[::1]"
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()))
}

/// What a daemon says about itself, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Where it listens.
    pub(super) endpoint: String,
    /// Its name and version.
    pub(super) version: String,
    /// The processors of its machine, in thousandths.
    pub(super) milli_cpus: i64,
    /// What it can limit.
    pub(super) limits: Controls,
    /// Whether `SELinux` labels its containers.
    pub(super) selinux: bool,
    /// The user namespace that leaves our user's id as it is.
    pub(super) user_namespace: Option<&'static str>,
    /// What it cannot enforce.
    pub(super) weaknesses: Vec<String>,
}

/// What a daemon can limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Controls {
    /// Memory.
    pub(super) memory: bool,
    /// Processors.
    pub(super) cpus: bool,
    /// Processes.
    pub(super) pids: bool,
}

/// Connects to the first endpoint that answers.
///
/// # Errors
/// When none does, or the one that does cannot be used.
pub(super) async fn connect(endpoints: &[Endpoint]) -> Result<(Docker, Facts), SandboxError> {
    for endpoint in endpoints {
        match greet(endpoint).await {
            Ok((docker, info)) => {
                let facts = facts(endpoint, info)?;
                return Ok((docker, facts));
            }
            Err(error) => debug!(%endpoint, error, "no daemon answers here"),
        }
    }
    let tried = endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(", ");
    Err(gone(&tried))
}

/// Nobody answers there.
pub(super) fn gone(tried: &str) -> SandboxError {
    SandboxError::Unavailable {
        reason: format!("no Docker or Podman answers at {tried}"),
        mend: if cfg!(target_os = "macos") {
            "start Docker Desktop (open -a Docker), or install it from https://docs.docker.com/get-docker/"
        } else {
            "start it (systemctl start docker), or install it (apt-get install docker.io); your user must be \
             in the group docker"
        }
        .to_owned(),
    }
}

/// A daemon answers, and a container of it does not work.
pub(super) fn unusable(why: &dyn std::error::Error) -> SandboxError {
    SandboxError::Unavailable {
        reason: format!("a container does not work here: {why}"),
        mend: "see what Docker logs (journalctl -u docker), or use SANDBOX=bubblewrap".to_owned(),
    }
}

/// Asks a daemon who it is.
async fn greet(endpoint: &Endpoint) -> Result<(Docker, SystemInfo), String> {
    let docker = match endpoint {
        Endpoint::Socket(path) => {
            let path = path.to_str().ok_or("the path is not text")?;
            Docker::connect_with_unix(path, REQUEST_SECONDS, API_DEFAULT_VERSION)
        }
        Endpoint::Loopback(address) => {
            Docker::connect_with_http(address, REQUEST_SECONDS, API_DEFAULT_VERSION)
        }
    }
    .map_err(|error| error.to_string())?;
    let greeting = async {
        let docker = docker.negotiate_version().await?;
        let info = docker.info().await?;
        Ok::<_, bollard::errors::Error>((docker, info))
    };
    match tokio::time::timeout(GREETING, greeting).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_elapsed) => Err("it takes too long".to_owned()),
    }
}

/// Judges what a daemon says about itself.
///
/// # Errors
/// When an unprivileged agent could not write its own files in its containers.
fn facts(endpoint: &Endpoint, info: SystemInfo) -> Result<Facts, SandboxError> {
    let options = info.security_options.unwrap_or_default();
    let has = |name: &str| {
        let wanted = format!("name={name}");
        options.iter().any(|option| option.split(',').any(|part| part == wanted))
    };
    // Podman answers as itself in the version's components only; its sockets and its info tell it apart here.
    let podman = endpoint.to_string().contains("podman");
    if has("rootless") && !podman {
        return Err(SandboxError::Unavailable {
            reason:
                "this Docker runs rootless, where an agent that is not root cannot own its files"
                    .to_owned(),
            mend: "use SANDBOX=bubblewrap, Podman, or a Docker that runs as root".to_owned(),
        });
    }
    let user_namespace = match (has("rootless"), has("userns")) {
        (true, _) => Some("keep-id"),
        (false, true) => Some("host"),
        (false, false) => None,
    };
    let mut facts = Facts {
        endpoint: endpoint.to_string(),
        version: format!(
            "{} {}",
            if podman { "Podman" } else { "Docker" },
            info.server_version.as_deref().unwrap_or("of an unknown version")
        ),
        milli_cpus: info.ncpu.unwrap_or(1).saturating_mul(1000),
        limits: Controls {
            memory: info.memory_limit.unwrap_or(false),
            cpus: info.cpu_cfs_quota.unwrap_or(false),
            pids: info.pids_limit.unwrap_or(false),
        },
        selinux: has("selinux"),
        user_namespace,
        weaknesses: Vec::new(),
    };
    for (there, weakness) in [
        (
            facts.limits.memory,
            "memory is not limited: the kernel of the daemon has no memory cgroup",
        ),
        (
            facts.limits.cpus,
            "processor time is not limited: the kernel of the daemon has no CPU quota",
        ),
        (
            facts.limits.pids,
            "the number of processes is not limited: the daemon has no pids cgroup",
        ),
        (
            !facts.selinux,
            "SELinux labels are off for sandboxes, because they would lock the mounts",
        ),
        (
            has("seccomp"),
            "the daemon filters no system calls; the agent-runner's own filter stands alone",
        ),
    ] {
        if !there {
            facts.weaknesses.push(weakness.to_owned());
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_daemons_of_this_machine_are_taken() {
        for (text, expected) in [
            ("unix:///run/docker.sock", Some("/run/docker.sock")),
            ("tcp://127.0.0.1:2375", Some("tcp://127.0.0.1:2375")),
            ("tcp://localhost:2375", Some("tcp://localhost:2375")),
            ("tcp://[::1]:2375", Some("tcp://[::1]:2375")),
            ("http://127.0.0.2:1", Some("tcp://127.0.0.2:1")),
            ("unix://docker.sock", None),
            ("tcp://10.0.0.1:2375", None),
            ("tcp://127.0.0.1", None),
            ("tcp://127.0.0.1.example.org:2375", None),
            ("tcp://me@127.0.0.1:2375", None),
            ("ssh://me@host", None),
            ("", None),
        ] {
            let parsed = Endpoint::parse(text).ok().map(|endpoint| endpoint.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_daemon_cannot_enforce_is_said() {
        let strong = SystemInfo {
            server_version: Some("27.1".to_owned()),
            ncpu: Some(4),
            memory_limit: Some(true),
            cpu_cfs_quota: Some(true),
            pids_limit: Some(true),
            security_options: Some(vec!["name=seccomp,profile=default".to_owned()]),
            ..SystemInfo::default()
        };
        let endpoint = Endpoint::Socket("/var/run/docker.sock".into());
        let facts_of = |info| facts(&endpoint, info);
        let known = facts_of(strong.clone()).unwrap();
        assert_eq!((known.version.as_str(), known.milli_cpus), ("Docker 27.1", 4_000));
        assert_eq!(known.weaknesses, Vec::<String>::new());
        let weak = facts_of(SystemInfo { memory_limit: Some(false), ..strong.clone() }).unwrap();
        assert_eq!(weak.weaknesses.len(), 1);
        let rootless = SystemInfo {
            security_options: Some(vec!["name=seccomp".to_owned(), "name=rootless".to_owned()]),
            ..strong
        };
        assert!(matches!(facts_of(rootless), Err(SandboxError::Unavailable { .. })));
    }
}
