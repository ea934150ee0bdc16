//! The crash matrix of Slack: five hundred mentions, and the real binary killed at every step of their way and at
//! random moments, while sockets break, acks are lost and calls fail.
//!
//! What is said while nobody is connected is not delivered, as with Slack itself: it has to be caught up with.

use std::time::{Duration, Instant};

use test_servers::slack::{Fault, Slack};

use crate::crash::places::Place::{At, Commit};
use crate::crash::places::{Place, points};

mod growing;
mod mortal;
mod town;

use town::{MAIN, MENTIONS, TEAM, Town};

/// Every step of a mention's way, between its receipt and the record of its answer.
const WAY: [Place; 13] = [
    At("intake.received"),
    Commit("keep"),
    At("intake.kept"),
    Commit("claim_run"),
    At("run.prompted"),
    At("run.committed"),
    Commit("finish_run"),
    Commit("outbox_sending"),
    At("outbox.marked"),
    At("outbox.taken"),
    Commit("outbox_sent"),
    At("outbox.confirmed"),
    Commit("mark_seen"),
];
/// At which hits of a step of the way the process is killed.
const HITS: [usize; 2] = [0, 3];
/// How often it is killed at a moment that nobody has chosen.
const RANDOM: usize = 24;

/// What only a channel comes by that people also use when we are away, that changes what was said, and that may
/// take a message later, never, or nobody knows.
const OWN: [Place; 8] = [
    Commit("marks"),
    Commit("caught_up"),
    Commit("outbox_returned"),
    Commit("amend"),
    Commit("retract"),
    Commit("outbox_doubtful"),
    Commit("outbox_later"),
    Commit("outbox_failed"),
];

/// Where the matrices of Slack kill, besides all places that others come by.
pub(crate) fn places() -> Vec<Place> {
    [&OWN[..], &growing::OWN].concat()
}

/// Something that goes wrong at Slack's, or on the way there.
pub(super) type Trouble = fn(&Slack);

const TROUBLES: [Trouble; 8] = [
    |slack| slack.abort_sockets(),
    |slack| slack.disconnect("refresh_requested", Duration::from_millis(100)),
    |slack| slack.ignore_acks(6),
    |slack| slack.fault(Fault::rate_limited(1).on("chat.postMessage").first(2)),
    |slack| slack.fault(Fault::drop_after().on("chat.postMessage").first(2)),
    |slack| slack.fault(Fault::status(503).on("chat.postMessage").first(2)),
    |slack| slack.fault(Fault::rate_limited(1).on("conversations.replies").first(1)),
    |slack| slack.fault(Fault::drop().first(3)),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mention_is_answered_once_in_its_thread_whatever_dies() {
    let begun = Instant::now();
    let mut town = Town::found().await;
    town.begin().await;
    for round in 0..RANDOM / 2 {
        town.kill_amid(TROUBLES[round % TROUBLES.len()]).await;
    }
    for hit in HITS {
        for point in points(&WAY) {
            town.kill_at(&point, hit).await;
        }
    }
    for point in points(&[Commit("marks"), Commit("caught_up"), Commit("outbox_returned")]) {
        town.kill_at(&point, 0).await;
    }
    for point in points(&[Commit("outbox_doubtful")]) {
        town.mortal.slack.fault(Fault::drop_after().on("chat.postMessage").first(1));
        town.kill_at(&point, 0).await;
    }
    for point in points(&[Commit("outbox_later")]) {
        town.mortal.slack.fault(Fault::rate_limited(1).on("chat.postMessage").first(1));
        town.kill_at(&point, 0).await;
    }
    town.kill_at_change("amend", |slack, ts| assert!(slack.edit(MAIN[0], ts, "changed"))).await;
    town.kill_at_change("retract", |slack, ts| assert!(slack.delete(MAIN[0], ts))).await;
    for point in points(&[Commit("outbox_failed")]) {
        town.kill_at_refusal(&point).await;
    }
    for round in RANDOM / 2..RANDOM {
        town.kill_amid(TROUBLES[round % TROUBLES.len()]).await;
    }
    let before = town.mortal.slack.look(|world| town.answered(world));
    town.finish().await;
    town.everybody_is_content();
    town.the_store_is_whole();
    let (kills, points) = (town.kills.values().sum::<usize>(), town.kills.len() - 1);
    println!(
        "crash matrix, Slack: {MENTIONS} mentions in {} channels, each answered once in its thread, {before} of them \
         before the last kill; {kills} kills, at {points} points and {RANDOM} random moments; {} redeliveries; {:.1} s",
        MAIN.len() + TEAM.len(),
        town.mortal.slack.look(|world| world
            .deliveries()
            .iter()
            .filter(|it| it.attempt > 0 && it.socket.is_some())
            .count()),
        begun.elapsed().as_secs_f64()
    );
    town.mortal.slack.stop().await;
}
