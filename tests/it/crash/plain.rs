//! The short way: an engine that answers at once, and a thousand messages with a kill at the first, a later and a much
//! later hit of every fail point on it.

use super::people::Crowd;
use super::places::Place::{At, Commit};
use super::places::{Place, points};
use super::rounds::Matrix;
use crate::support::gateway::Home;

const MESSAGES: usize = 1_000;

/// Every step between receipt and sent answer, in the order of a message's way.
pub(super) const WAY: [Place; 18] = [
    At("intake.received"),
    Commit("keep"),
    At("intake.kept"),
    Commit("mark_seen"),
    Commit("claim_run"),
    At("run.claimed"),
    At("run.opened"),
    At("run.prompted"),
    Commit("run_started"),
    At("run.ended"),
    Commit("finish_run"),
    At("run.committed"),
    Commit("outbox_sending"),
    At("outbox.marked"),
    At("outbox.taken"),
    Commit("outbox_sent"),
    At("outbox.confirmed"),
    Commit("outbox_arrived"),
];

/// At which hits of a point the process is killed.
const HITS: [usize; 3] = [0, 3, 9];

/// What a gateway comes by when it starts after a kill, each after the kills before it: the run that was only claimed is
/// put back, and the one that had its prompt is taken up.
const RESTARTS: [&str; 5] = [
    "run.claimed",
    "store.release_run.before_commit",
    "store.release_run.after_commit",
    "run.prompted",
    "run.taken_up",
];

/// Where this matrix kills.
pub(super) fn places() -> Vec<Place> {
    WAY.into_iter().chain([Commit("release_run"), At("run.taken_up")]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_answered_once_and_in_order_whatever_dies() {
    let home = Home::new().with("AGENT_ENGINE", "instant").with("LOG_LEVEL", "warn");
    let mut matrix = Matrix::new("the short way", home, Crowd::new(MESSAGES, false)).await;
    for point in RESTARTS {
        matrix.kill_at(point, 0).await;
    }
    for hit in HITS {
        for point in points(&WAY) {
            matrix.kill_at(&point, hit).await;
        }
    }
    println!("{}", matrix.finish().await);
}
