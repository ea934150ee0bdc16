//! Which kind of sandbox is used.

use std::sync::Arc;

use super::docker::{DockerSandbox, Endpoint};
use super::{Sandbox, SandboxError, Strength};
use crate::config::Settings;

/// Finds a kind of sandbox that can be used now, and probes it.
///
/// # Errors
/// When there is none, with what mends it.
pub(crate) async fn choose(
    settings: &Settings,
) -> Result<(Arc<dyn Sandbox>, Strength), SandboxError> {
    let endpoints = Endpoint::usual(rustix::process::geteuid().as_raw(), None);
    let docker = DockerSandbox::connect(&endpoints, "dev", &settings.sandbox.image).await?;
    docker.ensure_image().await?;
    let strength = docker.probe().await?;
    Ok((Arc::new(docker), strength))
}
