//! A Docker daemon that restarts in the middle of a run, with and without live-restore.
//!
//! The daemon is one of the test's own, in a network namespace of its own: a second daemon beside the machine's would
//! take its bridge away.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use test_servers::model::{Fault, Script, Server};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::gateway::{Home, PATIENCE};
use crate::support::terminal::Terminal;

const IMAGE: &str = "hermitcrab-agent:latest";

/// A Docker daemon of the test's own.
struct Daemon {
    dir: tempfile::TempDir,
    live_restore: bool,
    child: Option<Child>,
}

impl Daemon {
    async fn start(live_restore: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("hcd").tempdir().unwrap();
        let mut daemon = Self { dir, live_restore, child: None };
        daemon.up().await;
        daemon
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn up(&mut self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "dockerd",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]);
        command.arg("--host").arg(self.host());
        command.arg("--data-root").arg(self.path("data")).arg("--exec-root").arg(self.path("exec"));
        command.arg("--pidfile").arg(self.path("pid"));
        if self.live_restore {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("dockerd is installed by tests/run"));
        let answers = async {
            while !self.docker(&["info"]).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let up = timeout(PATIENCE, answers).await;
        assert!(up.is_ok(), "{}", std::fs::read_to_string(self.path("log")).unwrap());
    }

    async fn down(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::TERM).unwrap();
        child.wait().await.unwrap();
    }

    async fn docker(&self, args: &[&str]) -> bool {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.unwrap().success()
    }

    /// Brings the agent's image over from the machine's daemon.
    async fn load_image(&self) {
        let archive = self.path("image.tar");
        let archive = archive.to_str().unwrap();
        let saved = Command::new("docker").args(["save", "-o", archive, IMAGE]).status().await;
        assert!(saved.unwrap().success(), "tests/run makes the image {IMAGE}");
        assert!(self.docker(&["load", "-i", archive]).await);
    }

    async fn end(mut self) {
        for id in self.containers().await {
            self.docker(&["rm", "-f", &id]).await;
        }
        self.down().await;
    }

    async fn containers(&self) -> Vec<String> {
        let host = self.host();
        let output = Command::new("docker").args(["--host", &host, "ps", "-aq"]).output().await;
        let ids = String::from_utf8(output.unwrap().stdout).unwrap();
        ids.lines().map(str::to_owned).collect()
    }
}

async fn restarted_in_the_middle(live_restore: bool) {
    let mut daemon = Daemon::start(live_restore).await;
    daemon.load_image().await;
    let server = Server::start(Script::echo().fault(Fault::hang("hold").first(1))).await.unwrap();
    let home = Home::new()
        .with("SANDBOX", "docker")
        .with("DOCKER_HOST", &daemon.host())
        .with("ANTHROPIC_API_KEY", "sk-test")
        .with("ANTHROPIC_BASE_URL", &server.url());
    let gateway = home.start(None).await.unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    terminal.say("m1", "[[id:one]]").await.unwrap();
    timeout(PATIENCE, server.gate("hold").arrived(1))
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()));

    daemon.down().await;
    daemon.up().await;
    server.gate("hold").open();
    let answer = timeout(PATIENCE * 2, terminal.answer())
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()))
        .unwrap();
    assert!(answer["text"].as_str().unwrap().contains("[[id:one]]"), "{answer}");

    // Exactly once: the next answer belongs to the next message.
    terminal.say("m2", "[[id:two]]").await.unwrap();
    let answer = timeout(PATIENCE * 2, terminal.answer())
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()))
        .unwrap();
    assert!(answer["text"].as_str().unwrap().contains("[[id:two]]"), "{answer}");
    let output = home.command(&["runs", "--json"]).output().await.unwrap();
    let runs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let finished = runs.as_array().unwrap().iter().filter(|run| run["state"] == "done").count();
    assert_eq!(finished, 2, "{runs}");
    if live_restore {
        assert_eq!(
            runs.as_array().unwrap().len(),
            2,
            "the run survived, so it was not tried again"
        );
    }
    assert!(gateway.terminate().await.success());
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_a_daemon_that_restarts_with_live_restore() {
    restarted_in_the_middle(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_tried_again_when_the_daemon_takes_its_sandbox_down() {
    restarted_in_the_middle(false).await;
}
