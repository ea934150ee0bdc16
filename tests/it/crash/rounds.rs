//! A crash matrix at work: round after round people say a little more, until the gateway is killed at the chosen hit of
//! the chosen fail point.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;

use super::people::{Crowd, GROUPS};
use crate::support::gateway::{Home, PATIENCE};

/// A matrix: a home, its people, and what was killed so far.
pub(super) struct Matrix {
    name: &'static str,
    home: Arc<Home>,
    crowd: Crowd,
    kills: BTreeMap<String, usize>,
    begun: Instant,
}

impl Matrix {
    /// A matrix in this home, with these people.
    pub(super) async fn new(name: &'static str, home: Home, crowd: Crowd) -> Self {
        for group in GROUPS.iter().filter(|group| **group != "main") {
            let trigger = if *group == "called" { "--trigger=@Andy" } else { "--no-trigger" };
            let args = ["group", "add", group, trigger, "--json"];
            let output = home.command(&args).output().await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let (home, kills, begun) = (Arc::new(home), BTreeMap::new(), Instant::now());
        Self { name, home, crowd, kills, begun }
    }

    /// Lets people talk until the gateway is killed at this hit of this fail point, from 0.
    pub(super) async fn kill_at(&mut self, point: &str, hit: usize) {
        let failpoints = format!("{point}={hit}*off->return");
        let mut gateway = match self.home.start(Some(&failpoints)).await {
            Ok(gateway) => gateway,
            Err(status) => return self.count(point, status),
        };
        let ended = tokio::select! {
            status = timeout(PATIENCE, gateway.ended()) => status.ok(),
            () = self.crowd.talk(&self.home) => None,
        };
        let log = || self.home.read_log();
        let status = ended.unwrap_or_else(|| panic!("not killed at {failpoints}:\n{}", log()));
        self.count(point, status);
    }

    /// Lets people talk undisturbed until all that was said is answered and nothing is left open.
    pub(super) async fn settle(&self) {
        self.undisturbed(self.crowd.fall_silent(&self.home)).await;
    }

    /// Has sandboxes killed in the middle of their work from now on, until it were so many.
    pub(super) fn storm(&self, strikes: usize) {
        self.crowd.storm(strikes);
    }

    /// Lets people say the rest, and checks what everybody got; returns the figures in a line.
    pub(super) async fn finish(self) -> String {
        self.undisturbed(self.crowd.talk(&self.home)).await;
        self.crowd.is_content().await;
        let kills: usize = self.kills.values().sum();
        format!(
            "crash matrix, {}: {} messages over {} conversations in {} chats, each answered once and in order; \
             {kills} kills at {} points, and of {} sandboxes; {:.1} s",
            self.name,
            self.crowd.messages(),
            self.crowd.conversations(),
            GROUPS.len(),
            self.kills.len(),
            self.crowd.struck(),
            self.begun.elapsed().as_secs_f64(),
        )
    }

    /// Starts a gateway that nothing kills, waits until people have talked, and ends it in peace.
    async fn undisturbed(&self, talk: impl Future<Output = ()>) {
        let gateway = self.home.start(None).await.expect("nothing kills it");
        let talked = timeout(PATIENCE, talk).await;
        talked.unwrap_or_else(|_| panic!("silence:\n{}", self.home.read_log()));
        assert!(gateway.terminate().await.success());
    }

    fn count(&mut self, point: &str, status: ExitStatus) {
        assert_eq!(status.signal(), Some(9), "{point}: {status}:\n{}", self.home.read_log());
        *self.kills.entry(point.to_owned()).or_insert(0) += 1;
    }
}
