//! A sandbox made without the gateway, the same as one that the gateway has made, but for its ipc directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use protocol::{Input, Prompt, layout};
use rustix::fs::{Gid, Uid};

use crate::home::{Home, told};
use crate::measure::{millis, now};

mod limits;

/// How long an agent-runner may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// What is made again.
pub(super) struct Bare {
    id: String,
    /// The ipc directory of the gateway's sandbox.
    theirs: PathBuf,
    /// That of ours, with a prompt in it.
    ours: PathBuf,
}

impl Bare {
    /// Finds the one sandbox of a group, and prepares an ipc directory like its own.
    pub(super) fn after(home: &Home, group: &str) -> anyhow::Result<Self> {
        let parent = home.path().join("store/ipc").join(group);
        let theirs = fs::read_dir(&parent)?.next().context("the group has no sandbox")??;
        let id = theirs.file_name().to_string_lossy().into_owned();
        let ours = home.path().join("bare").join(group);
        fs::create_dir_all(&ours)?;
        let user = hermitcrab::sandbox::spec::user();
        for name in layout::DIRECTORIES {
            fs::create_dir(ours.join(name))?;
            give(&ours.join(name), user)?;
        }
        give(&ours, user)?;
        let prompt = Input::Prompt(Box::new(prompt()));
        fs::write(ours.join(layout::INPUT).join("1.json"), serde_json::to_vec(&prompt)?)?;
        Ok(Self { id, theirs: theirs.path(), ours })
    }

    /// Makes it with bubblewrap's own arguments, in a cgroup with the same limits; returns the milliseconds to the main
    /// function.
    pub(super) async fn bubblewrap(&self) -> anyhow::Result<f64> {
        let mut arguments = self.arguments()?;
        let limits = limits::of(&self.id)?;
        // The gateway holds the agent-runner back until it is in its cgroup; the bare tool has nobody to do so.
        if let Some(gate) = arguments.iter().position(|argument| argument == "--gate") {
            arguments.drain(gate..gate + 2);
        }
        let (program, arguments) = arguments.split_first().context("no program")?;
        let begun = now();
        for limit in &limits {
            limit.make()?;
        }
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let runtime = tokio::runtime::Handle::current();
        let mut child = limits::start_inside(&limits, move || {
            let _entered = runtime.enter();
            command.spawn()
        })?;
        let main = self.main().await?;
        fs::write(self.ours.join("input/2.json"), serde_json::to_vec(&Input::Close)?)?;
        tokio::time::timeout(PATIENCE, child.wait()).await??;
        for limit in &limits {
            limit.remove().await?;
        }
        Ok(millis(begun, main))
    }

    /// Makes it as a container through the Engine API; returns the milliseconds to the main function.
    pub(super) async fn docker(&self) -> anyhow::Result<f64> {
        let docker = Docker::connect_with_defaults()?;
        let body = self.body(&docker).await?;
        let begun = now();
        let id = docker.create_container(None, body).await?.id;
        docker.start_container(&id, None::<StartContainerOptions>).await?;
        let main = self.main().await;
        let force = RemoveContainerOptionsBuilder::default().force(true).build();
        docker.remove_container(&id, Some(force)).await?;
        Ok(millis(begun, main?))
    }

    /// The arguments of the bubblewrap that made the gateway's sandbox.
    fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let (theirs, ours) = (self.theirs.to_string_lossy(), self.ours.to_string_lossy());
        for process in fs::read_dir("/proc")? {
            // Most entries are no processes, and some have just ended.
            let Ok(line) = fs::read(process?.path().join("cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<_> = line.split_terminator('\0').collect();
            let is_bubblewrap = words.first().is_some_and(|program| program.ends_with("bwrap"));
            if is_bubblewrap && words.contains(&&*theirs) {
                return Ok(words.iter().map(|word| word.replace(&*theirs, &ours)).collect());
            }
        }
        anyhow::bail!("the bubblewrap of sandbox {} is gone", self.id)
    }

    /// What the container of the gateway's sandbox was made from.
    async fn body(&self, docker: &Docker) -> anyhow::Result<ContainerCreateBody> {
        let filter = [("label".to_owned(), vec![format!("hermitcrab.sandbox={}", self.id)])].into();
        let options = bollard::query_parameters::ListContainersOptionsBuilder::default()
            .filters(&filter)
            .build();
        let found = docker.list_containers(Some(options)).await?;
        ensure!(found.len() == 1, "there are {} containers of sandbox {}", found.len(), self.id);
        let name = found.into_iter().next().and_then(|found| found.id).context("no id")?;
        let made = docker.inspect_container(&name, None::<InspectContainerOptions>).await?;
        let mut body = serde_json::to_value(made.config.context("no config")?)?;
        let mut host = serde_json::to_string(&made.host_config.context("no host config")?)?;
        host = host.replace(&*self.theirs.to_string_lossy(), &self.ours.to_string_lossy());
        let fields = body.as_object_mut().context("a config is an object")?;
        fields.insert("HostConfig".to_owned(), serde_json::from_str(&host)?);
        // Not one of the gateway's own, or it would clear it away.
        fields.remove("Labels");
        Ok(serde_json::from_value(body)?)
    }

    /// When the main function was entered, as the answer to the prompt says.
    async fn main(&self) -> anyhow::Result<u64> {
        let done = self.ours.join(layout::DONE);
        let answer = async {
            loop {
                if let Ok(text) = fs::read_to_string(&done) {
                    return told(&text, "main");
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.context("the bare sandbox does not answer")?
    }
}

/// Gives a folder to the agent.
pub(super) fn give(path: &Path, user: hermitcrab::sandbox::User) -> anyhow::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    Ok(rustix::fs::chown(path, Some(uid), Some(gid))?)
}

fn prompt() -> Prompt {
    Prompt {
        version: protocol::VERSION,
        run: 1,
        conversation: "bare".to_owned(),
        session: None,
        from: 1,
        through: 1,
        text: "[[clock]]".to_owned(),
        system: String::new(),
        main: false,
        engine: "instant".to_owned(),
        model: String::new(),
        max_output_bytes: 1024,
    }
}
