//! Which kind of sandbox there is here: the one that is asked for, or the first that works.

use std::sync::Arc;

use tracing::info;

use super::docker::{DockerSandbox, Endpoint};
use super::install::Install;
use super::{Sandbox, SandboxError, SandboxKind, Strength, mounts};
use crate::config::{BrokerTransport, SandboxChoice, Settings};

/// A kind of sandbox, and what it enforces.
type Chosen = (Arc<dyn Sandbox>, Strength);

/// Finds the kind that the settings ask for, makes it ready, and tries it.
///
/// # Errors
/// When none can be had, with what mends it.
pub async fn choose(settings: &Settings) -> Result<Chosen, SandboxError> {
    let install = Install::open(&settings.store_dir())
        .map_err(|source| SandboxError::failed("prepare the store for sandboxes", source))?;
    match settings.sandbox.choice {
        SandboxChoice::Docker => docker(settings, install).await,
        SandboxChoice::Bubblewrap => bubblewrap(settings, install).await,
        SandboxChoice::Auto => {
            let no_docker = match docker(settings, install.clone()).await {
                Ok(chosen) => return Ok(chosen),
                Err(error) => error,
            };
            match bubblewrap(settings, install).await {
                Ok((sandbox, mut strength)) => {
                    info!(reason = %no_docker, "Docker is not used");
                    // Whoever has a Docker that answers expects it to be used.
                    if let SandboxError::NoImage { mend, .. } = &no_docker {
                        let said = format!(
                            "Docker answers but is not used: {no_docker} (mend it by: {mend})"
                        );
                        strength.weaknesses.push(said);
                    }
                    Ok((sandbox, strength))
                }
                Err(no_bubblewrap) => Err(neither(&no_docker, &no_bubblewrap)),
            }
        }
    }
}

/// Reaches a kind that made sandboxes before, whether it is the one that is asked for now or not. Nothing is made
/// ready in it: it is only asked about what it made.
///
/// # Errors
/// When it is not to be had.
pub async fn reach(
    settings: &Settings,
    kind: SandboxKind,
) -> Result<Arc<dyn Sandbox>, SandboxError> {
    let install = Install::open(&settings.store_dir())
        .map_err(|source| SandboxError::failed("prepare the store for sandboxes", source))?;
    match kind {
        SandboxKind::Docker => {
            let image = &settings.sandbox.image;
            Ok(Arc::new(DockerSandbox::connect(&endpoints(settings)?, install, image).await?))
        }
        #[cfg(target_os = "linux")]
        SandboxKind::Bubblewrap => {
            Ok(Arc::new(super::bubblewrap::BubblewrapSandbox::open(install).await?))
        }
        _ => Err(SandboxError::Unsupported("be had on this machine")),
    }
}

/// How to install the kind that needs no daemon: a program and its arguments; `None` where it cannot be had.
#[must_use]
pub fn install_command() -> Option<Vec<&'static str>> {
    #[cfg(target_os = "linux")]
    {
        super::bubblewrap::install_command()
    }
    #[cfg(not(target_os = "linux"))]
    {
        None
    }
}

/// Where Docker is looked for.
fn endpoints(settings: &Settings) -> Result<Vec<Endpoint>, SandboxError> {
    match &settings.sandbox.docker_host {
        Some(host) => Ok(vec![Endpoint::parse(host)?]),
        None => Ok(Endpoint::usual(
            rustix::process::geteuid().as_raw(),
            mounts::owner_home(&settings.sandbox.mount_allowlist),
        )),
    }
}

async fn docker(settings: &Settings, install: Install) -> Result<Chosen, SandboxError> {
    let image = &settings.sandbox.image;
    let sandbox = DockerSandbox::connect(&endpoints(settings)?, install, image).await?;
    sandbox.ensure_image().await?;
    let mut strength = sandbox.probe().await?;
    match settings.sandbox.broker {
        BrokerTransport::Auto => {}
        BrokerTransport::Exec => strength.socket = false,
        BrokerTransport::Socket if strength.socket => {}
        BrokerTransport::Socket => {
            return Err(SandboxError::Unavailable {
                reason: "a socket of this machine cannot be reached from a container".to_owned(),
                mend: "set SANDBOX_BROKER=auto".to_owned(),
            });
        }
    }
    Ok((Arc::new(sandbox), strength))
}

#[cfg(target_os = "linux")]
async fn bubblewrap(settings: &Settings, install: Install) -> Result<Chosen, SandboxError> {
    if settings.sandbox.broker == BrokerTransport::Exec {
        return Err(SandboxError::Unavailable {
            reason: "bubblewrap cannot carry the broker through an exec".to_owned(),
            mend: "set SANDBOX_BROKER=auto".to_owned(),
        });
    }
    let sandbox = super::bubblewrap::BubblewrapSandbox::open(install).await?;
    let strength = sandbox.probe().await?;
    Ok((Arc::new(sandbox), strength))
}

#[cfg(not(target_os = "linux"))]
async fn bubblewrap(_: &Settings, _: Install) -> Result<Chosen, SandboxError> {
    std::future::ready(Err(SandboxError::Unavailable {
        reason: "bubblewrap is there on Linux only".to_owned(),
        mend: "use SANDBOX=docker".to_owned(),
    }))
    .await
}

/// Neither kind can be had: both reasons, and what mends the one that needs no daemon, where there is such a thing.
fn neither(docker: &SandboxError, bubblewrap: &SandboxError) -> SandboxError {
    let sentence = |error: &SandboxError| match (error, error.remedy()) {
        (_, Some((reason, _mend))) => reason,
        (SandboxError::Failed { source, .. }, None) => format!("{error}: {source}"),
        (other, None) => other.to_string(),
    };
    let mend = |error: &SandboxError| Some(error.remedy()?.1.to_owned());
    let mends: Vec<_> =
        if cfg!(target_os = "linux") { vec![bubblewrap, docker] } else { vec![docker] };
    SandboxError::Unavailable {
        reason: format!("{}; {}", sentence(docker), sentence(bubblewrap)),
        mend: mends.into_iter().filter_map(mend).collect::<Vec<_>>().join("; or "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_there_is_neither_both_are_named_with_what_mends_them() {
        let docker = SandboxError::NoImage {
            image: "i".to_owned(),
            reason: "no network".to_owned(),
            mend: "docker build".to_owned(),
        };
        let bubblewrap = SandboxError::Unavailable {
            reason: "bubblewrap is not installed".to_owned(),
            mend: "apt-get install -y bubblewrap".to_owned(),
        };
        let (sentence, mend) = docker.remedy().unwrap();
        assert_eq!((&*sentence, mend), ("the image i is missing: no network", "docker build"));
        let SandboxError::Unavailable { reason, mend } = neither(&docker, &bubblewrap) else {
            panic!("another error");
        };
        assert_eq!(reason, "the image i is missing: no network; bubblewrap is not installed");
        if cfg!(target_os = "linux") {
            assert_eq!(mend, "apt-get install -y bubblewrap; or docker build");
        }
    }
}
