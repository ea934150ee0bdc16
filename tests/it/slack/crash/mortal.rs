//! A gateway in a workspace that is killed again and again, the real binary.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use test_servers::slack::{Slack, World};
use tokio::time::timeout;

use crate::slack::real::{self, json};
use crate::support::gateway::{Gateway, Home, PATIENCE};

/// A workspace, and the home of the gateway that dies in it.
pub(super) struct Mortal {
    /// The workspace.
    pub(super) slack: Slack,
    /// The home.
    pub(super) home: Home,
}

impl Mortal {
    /// Starts a gateway that dies at `failpoints`, and waits until it is connected unless it dies before that.
    pub(super) async fn start(&self, failpoints: Option<&str>) -> Result<Gateway, ExitStatus> {
        let opened = self.slack.look(World::sockets_opened);
        let mut gateway = self.home.start(failpoints).await?;
        tokio::select! {
            () = self.slack.wait_for(|world| world.sockets_opened() > opened) => Ok(gateway),
            status = gateway.ended() => Err(status),
        }
    }

    /// The gateway is killed at this hit of this step, from 0, while something happens.
    pub(super) async fn kill_while(
        &self,
        point: &str,
        hit: usize,
        what: impl Future<Output = ()>,
    ) -> Kill {
        let failpoints = format!("{point}={hit}*off->return");
        let status = match self.start(Some(&failpoints)).await {
            Err(status) => status,
            Ok(mut gateway) => {
                let ended = tokio::select! {
                    status = timeout(PATIENCE, gateway.ended()) => status.ok(),
                    () = what => None,
                };
                let log = || self.home.read_log();
                ended.unwrap_or_else(|| panic!("not killed at {failpoints}:\n{}", log()))
            }
        };
        assert_eq!(status.signal(), Some(9), "{point}: {status}:\n{}", self.home.read_log());
        Kill::at(point)
    }

    /// Waits until the gateway has nothing left to do.
    pub(super) async fn settled(&self) {
        let settled = async {
            loop {
                let status = json(&self.home, &["status", "--json"]).await;
                let (live, store) = (&status["live"], &status["store"]);
                let idle = live["runs"].as_array().unwrap().is_empty();
                if idle && store["outbox_pending"] == 0 && store["waiting_conversations"] == 0 {
                    return;
                }
            }
        };
        let settled = timeout(PATIENCE, settled).await;
        settled.unwrap_or_else(|_| panic!("it does not settle:\n{}", self.home.read_log()));
    }

    /// The first column of what is in the store, as text.
    pub(super) fn column(&self, sql: &str) -> Vec<String> {
        real::column(&self.home, sql)
    }
}

/// A kill that was come by.
#[must_use]
pub(super) struct Kill(String);

impl Kill {
    /// One at this point.
    pub(super) fn at(point: &str) -> Self {
        Self(point.to_owned())
    }

    /// Counts it.
    pub(super) fn count(self, kills: &mut BTreeMap<String, usize>) {
        *kills.entry(self.0).or_default() += 1;
    }
}
