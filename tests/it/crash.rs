//! The crash matrix: the real binary killed with SIGKILL at every step between receipt and sent answer.
//!
//! A thousand messages over fifty conversations, with kills at every named point and at its first, a later and a much
//! later hit. Every message is answered exactly once, and in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::support::gateway::{Home, PATIENCE};
use crate::support::terminal::Terminal;

const CONVERSATIONS: usize = 50;
const MESSAGES_EACH: usize = 20;

/// Every step between receipt and sent answer, in the order of a message's way.
const POINTS: [&str; 23] = [
    "intake.received",
    "store.keep.before_commit",
    "store.keep.after_commit",
    "intake.kept",
    "store.mark_seen.before_commit",
    "store.mark_seen.after_commit",
    "store.claim_run.before_commit",
    "store.claim_run.after_commit",
    "run.claimed",
    "run.prompted",
    "store.run_started.before_commit",
    "store.run_started.after_commit",
    "run.ended",
    "store.finish_run.before_commit",
    "store.finish_run.after_commit",
    "run.committed",
    "store.outbox_sending.before_commit",
    "store.outbox_sending.after_commit",
    "outbox.marked",
    "outbox.taken",
    "store.outbox_sent.before_commit",
    "store.outbox_sent.after_commit",
    "outbox.confirmed",
];

/// At which hits of a point the process is killed.
const HITS: [usize; 3] = [0, 3, 11];

/// One conversation, as the person in it sees it.
struct Person {
    thread: String,
    sent: usize,
    kept: usize,
    seen: Option<u64>,
    answered: Vec<usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_answered_once_and_in_order_whatever_dies() {
    let home = Arc::new(Home::new().with("AGENT_ENGINE", "instant").with("LOG_LEVEL", "warn"));
    let people: Vec<Arc<Mutex<Person>>> =
        (0..CONVERSATIONS).map(|i| Arc::new(Mutex::new(Person::new(i)))).collect();
    let allowed = Arc::new(AtomicUsize::new(0));
    let kills: Vec<String> = POINTS
        .iter()
        .flat_map(|point| HITS.iter().map(move |hit| format!("{point}={hit}*off->return")))
        .collect();

    let mut killed = HashMap::new();
    for (round, kill) in kills.iter().enumerate() {
        // Each round lets people say a little more, so that there is traffic at every kill.
        allowed.store((round + 1) * MESSAGES_EACH / kills.len() + 1, Ordering::Relaxed);
        let Some(mut gateway) = home.start(Some(kill)).await else {
            *killed.entry(point(kill)).or_insert(0) += 1;
            continue;
        };
        let talk = talk(&home, &people, &allowed);
        let ended = tokio::select! {
            ended = tokio::time::timeout(PATIENCE, gateway.ended()) => ended.is_ok(),
            () = talk => false,
        };
        if ended {
            *killed.entry(point(kill)).or_insert(0) += 1;
        } else {
            gateway.kill().await;
        }
    }
    allowed.store(MESSAGES_EACH, Ordering::Relaxed);
    let gateway = home.start(None).await.expect("nothing kills the last one");
    tokio::time::timeout(PATIENCE, talk(&home, &people, &allowed))
        .await
        .unwrap_or_else(|_| panic!("not everything was answered:\n{}", home.read_log()));
    assert!(gateway.terminate().await.success());

    let mut answered = 0;
    for person in &people {
        let person = person.lock().await;
        let expected: Vec<usize> = (0..MESSAGES_EACH).collect();
        assert_eq!(person.answered, expected, "{}", person.thread);
        answered += person.answered.len();
    }
    let total: usize = killed.values().sum();
    println!(
        "crash matrix: {answered} messages over {CONVERSATIONS} conversations, each answered once and in order;"
    );
    println!("{total} kills at {} of {} points", killed.len(), POINTS.len());
    let missed: Vec<_> = POINTS.iter().filter(|point| !killed.contains_key(**point)).collect();
    assert!(missed.is_empty(), "no kill happened at {missed:?}");
}

fn point(kill: &str) -> &str {
    kill.split('=').next().unwrap_or(kill)
}

/// Lets everybody talk until all they may say is answered, or the gateway is gone for good.
async fn talk(home: &Arc<Home>, people: &[Arc<Mutex<Person>>], allowed: &Arc<AtomicUsize>) {
    let mut talking = JoinSet::new();
    for person in people {
        let (person, home, allowed) = (person.clone(), home.clone(), allowed.clone());
        talking.spawn(async move {
            let mut person = person.lock().await;
            let upto = allowed.load(Ordering::Relaxed).min(MESSAGES_EACH);
            person.talk(&home, upto).await;
        });
    }
    let mut complete = true;
    while let Some(done) = talking.join_next().await {
        complete &= done.is_ok();
    }
    assert!(complete, "a person met something that must not be");
}

impl Person {
    fn new(number: usize) -> Self {
        Self { thread: format!("t{number}"), sent: 0, kept: 0, seen: None, answered: Vec::new() }
    }

    /// Talks until `upto` messages are answered; returns early when the gateway is gone.
    async fn talk(&mut self, home: &Home, upto: usize) {
        if self.answered.len() >= upto {
            return;
        }
        let connected =
            Terminal::connect(&home.socket(), "main", Some(&self.thread), self.seen).await;
        let Ok(mut terminal) = connected else { return };
        // What was not confirmed is said again, under the same ids and in the same order.
        self.sent = self.kept;
        while self.answered.len() < upto {
            while self.sent < upto && self.sent < self.kept + 3 {
                let id = format!("{}-{}", self.thread, self.sent);
                if terminal.say(&id, &format!("[[id:{}]]", self.sent)).await.is_err() {
                    return;
                }
                self.sent += 1;
            }
            let Some(frame) = terminal.next().await else { return };
            match frame["type"].as_str() {
                Some("kept") => self.kept += 1,
                Some("answer") => {
                    let outbox = frame["outbox"].as_u64().unwrap();
                    assert!(self.seen.is_none_or(|seen| outbox > seen), "an answer came twice");
                    self.seen = Some(outbox);
                    self.answered.extend(ids(frame["text"].as_str().unwrap()));
                    if terminal.ack(outbox).await.is_err() {
                        return;
                    }
                }
                _ => {}
            }
        }
    }
}

fn ids(answer: &str) -> Vec<usize> {
    answer.split("[[id:").skip(1).filter_map(|rest| rest.split(']').next()?.parse().ok()).collect()
}
