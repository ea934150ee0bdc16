//! Homes for the gateways that are measured: in this process, or as the real binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hermitcrab::config::{SandboxChoice, Settings};
use hermitcrab::gateway::{Gateway, Options};
use hermitcrab::model::ChatId;
use rusqlite::Connection;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::Place;
use crate::line::{Line, NAME};
use hermitcrab::channel::Parcel;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A home that is removed at the end.
pub(crate) struct Home {
    dir: TempDir,
}

/// A gateway in this process, and the channel to it.
pub(crate) struct Running {
    gateway: Gateway,
    /// Where messages go in.
    pub(crate) line: std::sync::Arc<Line>,
    answers: mpsc::UnboundedReceiver<Parcel>,
}

impl Home {
    /// A home with an empty store.
    pub(crate) async fn new(place: &Place) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("home-").tempdir_in(&place.folder)?;
        let home = Self { dir };
        Gateway::start(home.settings()?).await?.stop().await;
        Ok(home)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("store/messages.db")
    }

    /// Settings for this home: the engine that answers at once, in bubblewrap.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = Settings::load(Some(self.path().to_owned()))?;
        settings.engine = "instant".to_owned();
        settings.sandbox.choice = SandboxChoice::Bubblewrap;
        settings.runs.idle_timeout = PATIENCE;
        settings.model.anthropic = None;
        settings.model.bedrock = None;
        Ok(settings)
    }

    /// Makes a group, which must be addressed when `trigger`, and its chat on the benchmark's channel.
    pub(crate) fn add_chats(
        &self,
        chats: impl IntoIterator<Item = (String, String)>,
        trigger: bool,
    ) -> anyhow::Result<()> {
        self.add_chats_on(NAME, chats, trigger)
    }

    /// The same on another channel.
    pub(crate) fn add_chats_on(
        &self,
        channel: &str,
        chats: impl IntoIterator<Item = (String, String)>,
        trigger: bool,
    ) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.database())?;
        let transaction = connection.transaction()?;
        for (group, chat) in chats {
            let sql = "INSERT OR IGNORE INTO registered_groups VALUES (?1, NULL, ?2, '{}', 0)";
            transaction.prepare_cached(sql)?.execute((&group, trigger))?;
            let sql = "INSERT INTO chats (chat_id, group_name) VALUES (?1, ?2)";
            transaction.prepare_cached(sql)?.execute((format!("{channel}:{chat}"), &group))?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Starts a gateway in this process.
    pub(crate) async fn start(&self, settings: Settings) -> anyhow::Result<Running> {
        let (line, answers) = Line::new()?;
        let options = Options { channels: vec![line.clone()], ..Options::default() };
        let gateway = Gateway::start_with(settings, options).await?;
        Ok(Running { gateway, line, answers })
    }

    /// Starts the real binary; returns it with the time that it took until its socket accepted.
    pub(crate) fn spawn(&self, place: &Place) -> anyhow::Result<(Process, Duration)> {
        let begun = Instant::now();
        let child = Command::new(&place.binary)
            .args(["run", "--home"])
            .arg(self.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path())
            .env("AGENT_ENGINE", "instant")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path().join("log"))?)
            .spawn()?;
        let mut process = Process(child);
        let socket = self.path().join("store/chat.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("the gateway ended with {status}");
            }
            if begun.elapsed() > PATIENCE {
                bail!("the gateway did not get ready");
            }
            pause(Duration::from_micros(200));
        }
        Ok((process, begun.elapsed()))
    }
}

/// The real binary at work.
pub(crate) struct Process(Child);

impl Process {
    /// Its number.
    pub(crate) fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Asks it to end, and waits for it.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.0);
        rustix::process::kill_process(pid, Signal::TERM)?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { bail!("the gateway ended with {status}") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless a measurement failed.
        self.0.kill().and_then(|()| self.0.wait().map(drop)).ok();
    }
}

impl Running {
    /// The next answer: from which chat, and what.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<(ChatId, String)> {
        let parcel = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        let parcel = parcel.context("no answer came")?.context("the gateway has stopped")?;
        Ok((parcel.conversation.chat, parcel.content.to_string()))
    }

    /// Stops it.
    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
    }
}

/// The number in `[[name:…]]` of an answer.
pub(crate) fn told(answer: &str, name: &str) -> anyhow::Result<u64> {
    let (_, rest) = answer.split_once(&format!("[[{name}:")).context("the answer has no clock")?;
    let (number, _) = rest.split_once("]]").context("the answer is cut")?;
    Ok(number.parse()?)
}

/// Waits in a thread that has nothing else to do.
#[expect(clippy::disallowed_methods, reason = "nothing else runs in this process meanwhile")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
