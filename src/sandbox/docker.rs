//! Sandboxes in Docker or Podman, through the Engine API.
//!
//! A container's name and labels carry the install's id, so that a gateway finds its own after a restart and never
//! touches another's. A daemon that goes away is no proof of anything: only the daemon's word that a container has
//! ended, or that there is none, ends a [`Sandbox::wait`].

mod connect;
mod container;
mod image;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerState, ContainerStateStatusEnum, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use protocol::layout;
use tokio_util::io::StreamReader;
use tracing::debug;

pub use connect::Endpoint;
use connect::Facts;

use super::install::Install;
use super::probe::{self, Telling};
use super::{
    ByteStream, Exit, LiveSandbox, Sandbox, SandboxError, SandboxKind, SandboxSpec, Strength,
};
use crate::model::{GroupName, SandboxId};
use crate::text::one_line;

/// The first pause before a daemon that did not answer is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one wait request is believed to be alive; then the container is looked at.
const WAIT_SLICE: Duration = Duration::from_secs(30);
/// The most characters that are told of what a sandbox said.
const LAST_WORDS: usize = 400;
/// How often a container that another request is removing is looked for again.
const REMOVAL_LOOKS: u32 = 50;

/// Docker or Podman.
pub struct DockerSandbox {
    docker: Docker,
    facts: Facts,
    install: Install,
    image: String,
}

impl DockerSandbox {
    /// Connects to the first of these endpoints that answers.
    ///
    /// # Errors
    /// When none answers, or the one that does cannot be used by an unprivileged agent.
    pub async fn connect(
        endpoints: &[Endpoint],
        install: Install,
        image: &str,
    ) -> Result<Self, SandboxError> {
        let (docker, facts) = connect::connect(endpoints).await?;
        Ok(Self { docker, facts, install, image: image.to_owned() })
    }

    /// Makes sure that the image is there: pulls it, or builds it where it is the default one.
    ///
    /// # Errors
    /// When it is not there afterwards, with the command that mends it.
    pub async fn ensure_image(&self) -> Result<(), SandboxError> {
        image::ensure(&self.docker, &self.image).await
    }

    /// The container of a sandbox.
    fn name(&self, id: &SandboxId) -> String {
        container::name(&self.install.id, id)
    }

    /// What the daemon knows of a container; `None` when there is none.
    async fn look(&self, name: &str) -> Result<Option<ContainerState>, Error> {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(found) => Ok(Some(found.state.unwrap_or_default())),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns when the daemon has said something about the end of a container, or can say no more.
    async fn await_word(&self, name: &str) {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut words = std::pin::pin!(self.docker.wait_container(name, Some(options)));
        // What it says is not used: the container is looked at, and that look alone is believed.
        if let Ok(Some(Err(error))) = tokio::time::timeout(WAIT_SLICE, words.next()).await {
            debug!(%error, container = name, "the wait for a container ended");
        }
    }

    /// Removes a container, whether it runs or not, with its anonymous volumes.
    async fn remove(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(name, Some(options)).await {
            Err(error) if status(&error) == Some(404) => Ok(()),
            Err(error) if status(&error) == Some(409) => self.await_removal(name, error).await,
            other => other,
        }
    }

    /// Waits until a container that is being removed already is gone.
    async fn await_removal(&self, name: &str, conflict: Error) -> Result<(), Error> {
        for _ in 0..REMOVAL_LOOKS {
            if self.look(name).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        Err(conflict)
    }

    /// Sorts a failure by what can be done about it.
    fn failure(&self, doing: &str, error: Error) -> SandboxError {
        if status(&error).is_some() {
            return SandboxError::failed(doing, error);
        }
        match error {
            Error::HttpClientError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::IOError { .. }
            | Error::RequestTimeoutError
            | Error::SocketNotFoundError(_) => connect::gone(&self.facts.endpoint),
            other => SandboxError::failed(doing, other),
        }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn kind(&self) -> SandboxKind {
        SandboxKind::Docker
    }

    async fn probe(&self) -> Result<Strength, SandboxError> {
        let (socket, found) = match probe::run(self, &self.install, &self.image).await {
            Err(SandboxError::Failed { source, .. }) => return Err(connect::unusable(&*source)),
            other => other?,
        };
        let mut weaknesses = self.facts.weaknesses.clone();
        weaknesses.extend(found);
        let description = format!("{}, image {}", self.facts.version, self.image);
        Ok(Strength { description, weaknesses, socket })
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        let name = self.name(&spec.id);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = container::body(spec, &self.install.id, &self.facts)?;
        match self.docker.create_container(Some(options), body).await {
            Ok(created) => {
                for warning in &created.warnings {
                    debug!(warning, sandbox.id = %spec.id, "the daemon warns");
                }
            }
            Err(error) if status(&error) == Some(404) => {
                return Err(image::missing(&spec.image, &error));
            }
            Err(error) => return Err(self.failure("create the container", error)),
        }
        let started = self.docker.start_container(&name, None::<StartContainerOptions>).await;
        if let Err(error) = started {
            if let Err(error) = self.remove(&name).await {
                debug!(%error, sandbox.id = %spec.id, "a container that did not start is left behind");
            }
            return Err(self.failure("start the container", error));
        }
        Ok(())
    }

    async fn wait(&self, id: &SandboxId) -> Result<Exit, SandboxError> {
        let name = self.name(id);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.look(&name).await {
                Ok(None) => return Ok(Exit::Gone),
                Ok(Some(state)) => {
                    if let Some(exit) = exit(&state) {
                        return Ok(exit);
                    }
                    let asked = std::time::Instant::now();
                    self.await_word(&name).await;
                    if asked.elapsed() > FIRST_PAUSE {
                        pause = FIRST_PAUSE;
                        continue;
                    }
                }
                Err(error) => {
                    debug!(%error, sandbox.id = %id, "the daemon cannot tell about a sandbox now");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), SandboxError> {
        let name = self.name(id);
        if !grace.is_zero() {
            let seconds = grace.as_millis().div_ceil(1000);
            let options = StopContainerOptionsBuilder::default()
                .t(i32::try_from(seconds).unwrap_or(i32::MAX))
                .build();
            match self.docker.stop_container(&name, Some(options)).await {
                Ok(()) => {}
                Err(error) if matches!(status(&error), Some(304 | 404)) => {}
                Err(error) => debug!(%error, sandbox.id = %id, "a sandbox did not stop politely"),
            }
        }
        self.remove(&name).await.map_err(|error| self.failure("remove the container", error))
    }

    async fn list(&self) -> Result<Vec<LiveSandbox>, SandboxError> {
        let ours = format!("{}={}", container::INSTALL, self.install.id);
        let filters = HashMap::from([("label", vec![ours])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| self.failure("list the containers", error))?;
        let live = |labels: &HashMap<String, String>, running| {
            let id = labels.get(container::SANDBOX)?.parse::<SandboxId>().ok()?;
            let group = labels.get(container::GROUP)?.parse::<GroupName>().ok()?;
            Some(LiveSandbox { id, group, running })
        };
        Ok(found
            .into_iter()
            .filter_map(|summary| {
                let running = matches!(
                    summary.state,
                    Some(
                        ContainerSummaryStateEnum::RUNNING
                            | ContainerSummaryStateEnum::PAUSED
                            | ContainerSummaryStateEnum::STOPPING
                    )
                );
                live(&summary.labels?, running)
            })
            .collect())
    }

    async fn bridge(&self, id: &SandboxId) -> Result<Box<dyn ByteStream>, SandboxError> {
        let failed = |error| self.failure("open a bridge into the container", error);
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(vec![layout::RUNNER, "bridge"]),
            ..CreateExecOptions::default()
        };
        let exec = match self.docker.create_exec(&self.name(id), options).await {
            Err(error) if status(&error) == Some(404) => {
                return Err(SandboxError::Unknown(id.clone()));
            }
            other => other.map_err(failed)?,
        };
        match self.docker.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(failed)? {
            StartExecResults::Attached { output, input } => {
                // Its standard error is words for people; only its standard output is the stream.
                let output = output.filter_map(async |piece| match piece {
                    Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
                    Ok(_) => None,
                    Err(error) => Some(Err(std::io::Error::other(error))),
                });
                Ok(Box::new(tokio::io::join(StreamReader::new(Box::pin(output)), input)))
            }
            StartExecResults::Detached => {
                Err(SandboxError::Unsupported("attach to what runs inside"))
            }
        }
    }
}

#[async_trait]
impl Telling for DockerSandbox {
    async fn last_words(&self, id: &SandboxId) -> String {
        let options = LogsOptionsBuilder::default().stderr(true).tail("5").build();
        let mut lines = std::pin::pin!(self.docker.logs(&self.name(id), Some(options)));
        let mut words = String::new();
        while let Some(Ok(line)) = lines.next().await {
            words.push_str(&line.to_string());
        }
        one_line(&words, LAST_WORDS)
    }
}

/// How a container ended; `None` while it may still live.
fn exit(state: &ContainerState) -> Option<Exit> {
    match state.status {
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {}
        _ => return None,
    }
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    Some(match code {
        // A tool that ran out of memory while the agent-runner lived on is the agent's business.
        Some(0) => Exit::Code(0),
        _ if state.oom_killed == Some(true) => Exit::OutOfMemory,
        Some(code) => Exit::Code(code),
        None => Exit::Gone,
    })
}

/// The status of the daemon's answer, when it gave one.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_that_the_daemon_states_is_one() {
        use ContainerStateStatusEnum as Status;
        let state = |status, code, oom| ContainerState {
            status: Some(status),
            exit_code: Some(code),
            oom_killed: Some(oom),
            ..ContainerState::default()
        };
        for (state, expected) in [
            (state(Status::CREATED, 0, false), None),
            (state(Status::RUNNING, 0, true), None),
            (state(Status::PAUSED, 0, false), None),
            (state(Status::REMOVING, 137, false), None),
            (state(Status::EXITED, 0, false), Some(Exit::Code(0))),
            (state(Status::EXITED, 0, true), Some(Exit::Code(0))),
            (state(Status::EXITED, 71, false), Some(Exit::Code(71))),
            (state(Status::EXITED, 137, false), Some(Exit::Code(137))),
            (state(Status::EXITED, 137, true), Some(Exit::OutOfMemory)),
            (state(Status::DEAD, 137, false), Some(Exit::Code(137))),
            (ContainerState::default(), None),
        ] {
            assert_eq!(exit(&state), expected, "{state:?}");
        }
    }
}
