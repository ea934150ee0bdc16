//! The people of a crash matrix: each talks in a conversation of their own, and holds the gateway to what it owes.
//!
//! A person says numbered messages. What was not confirmed is said again under the same id, as the product's own
//! terminal does. Every number must come back once in an answer, and, where the agent sends a message about each, once
//! in such a note; the first that comes twice, too early or not at all fails the test.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::storm;
use crate::support::gateway::Home;
use crate::support::terminal::Terminal;

/// The groups; in the last one the assistant wants to be called.
pub(super) const GROUPS: [&str; 5] = ["main", "family", "work", "club", "called"];
/// Conversations of each group: its chat, and threads of it.
const EACH: usize = 10;
/// How many messages one person says before the next one has a turn.
const BURST: usize = 4;
/// How many messages may be unanswered at a time, of everybody together.
const OPEN: usize = 20;
/// The pause before somebody who was hung up on comes again.
const AGAIN: Duration = Duration::from_millis(10);

/// Everybody.
pub(super) struct Crowd {
    people: Vec<Arc<Mutex<Person>>>,
    count: watch::Sender<Count>,
    /// How many messages are said in all.
    messages: usize,
    /// Whether the agent sends a note about each message.
    noted: bool,
}

/// How far everybody is together.
#[derive(Clone, Copy, Default)]
struct Count {
    /// How many messages may be said so far.
    said: usize,
    answered: usize,
    /// How far `said` may rise as more are answered.
    limit: usize,
    /// How many sandboxes are still to be killed in the middle of their work, and how many were.
    strikes: usize,
    struck: usize,
}

/// One person.
struct Person {
    number: usize,
    group: &'static str,
    thread: Option<String>,
    /// How many messages may wait for their answer, or for the note about them.
    ahead: usize,
    sent: usize,
    kept: usize,
    /// The last row of the outbox that was shown.
    seen: Option<u64>,
    answered: usize,
    noted: usize,
}

impl Crowd {
    /// People in fifty conversations; `noted` when the agent sends a note about each message.
    pub(super) fn new(messages: usize, noted: bool) -> Self {
        let conversations = (0..EACH).flat_map(|thread| GROUPS.map(|group| (group, thread)));
        let person = |(number, (group, thread)): (usize, (&'static str, usize))| {
            let thread = (thread > 0).then(|| format!("t{thread}"));
            // Who waits for the note says the next message while the agent is at work.
            let ahead = if noted { 2 } else { 3 };
            let (sent, kept, seen, answered, noted) = (0, 0, None, 0, 0);
            let person = Person { number, group, thread, ahead, sent, kept, seen, answered, noted };
            Arc::new(Mutex::new(person))
        };
        let people = conversations.enumerate().map(person).collect();
        Self { people, count: watch::Sender::default(), messages, noted }
    }

    /// How many conversations there are.
    pub(super) fn conversations(&self) -> usize {
        self.people.len()
    }

    /// How many messages are said in all.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Lets people talk, each time one is answered about another, until everything is said and answered.
    pub(super) async fn talk(&self, home: &Arc<Home>) {
        self.talk_up_to(home, self.messages).await;
    }

    /// Lets people talk until what was said is answered.
    pub(super) async fn fall_silent(&self, home: &Arc<Home>) {
        let said = self.count.borrow().said;
        self.talk_up_to(home, said).await;
    }

    async fn talk_up_to(&self, home: &Arc<Home>, limit: usize) {
        self.count.send_modify(|count| {
            count.limit = limit;
            count.rise();
        });
        let mut talking = JoinSet::new();
        for person in &self.people {
            let (person, home, count) = (person.clone(), home.clone(), self.count.clone());
            talking.spawn(async move { person.lock().await.talk(&home, &count).await });
        }
        let mut count = self.count.subscribe();
        tokio::select! {
            done = count.wait_for(|count| count.answered == limit) => assert!(done.is_ok()),
            Some(talked) = talking.join_next() => {
                let panic = talked.expect_err("people talk until nobody listens");
                panic!("{panic}:\n{}", home.read_log());
            }
        }
    }

    /// Has sandboxes killed at the next so many notes that people hear: their agents are still at work then.
    pub(super) fn storm(&self, strikes: usize) {
        self.count.send_modify(|count| count.strikes = strikes);
    }

    /// How many sandboxes were killed.
    pub(super) fn struck(&self) -> usize {
        self.count.borrow().struck
    }

    /// Asserts that everybody has had an answer to everything that they said.
    pub(super) async fn is_content(&self) {
        for person in &self.people {
            let person = person.lock().await;
            let (name, share) = (person.name(), self.count.borrow().share(person.number));
            assert_eq!(person.answered, share, "{name} was not answered to everything");
            assert_eq!(person.noted, if self.noted { share } else { 0 }, "{name} had other notes");
        }
    }
}

impl Count {
    /// Kills the sandboxes of a group, if there is a storm.
    fn strike(&mut self, home: &Home, group: &str) -> bool {
        if self.strikes == 0 {
            return false;
        }
        let struck = storm::strike(home.path(), group);
        self.strikes -= struck.min(self.strikes);
        self.struck += struck;
        struck > 0
    }

    fn rise(&mut self) {
        self.said = self.said.max(self.limit.min(self.answered + OPEN));
    }

    /// How many of the messages are this person's.
    fn share(self, number: usize) -> usize {
        let people = GROUPS.len() * EACH;
        let (bursts, rest) = (self.said / BURST, self.said % BURST);
        let (rounds, turn) = (bursts / people, bursts % people);
        let latest = if number == turn { rest } else { 0 };
        (rounds + usize::from(number < turn)) * BURST + latest
    }
}

impl Person {
    fn name(&self) -> String {
        format!("{}-{}", self.group, self.thread.as_deref().unwrap_or("chat"))
    }

    /// Comes whenever it is this person's turn, and again when hung up on.
    async fn talk(&mut self, home: &Home, count: &watch::Sender<Count>) {
        let mut turns = count.subscribe();
        let number = self.number;
        loop {
            let answered = self.answered;
            let turn = turns.wait_for(|count| count.share(number) > answered).await.is_ok();
            assert!(turn, "the count outlives the people");
            if self.visit(home, count).await.is_none() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Talks until this person's share is answered; `None` when the gateway hung up before that.
    async fn visit(&mut self, home: &Home, count: &watch::Sender<Count>) -> Option<()> {
        let thread = self.thread.as_deref();
        let connected = Terminal::connect(&home.socket(), self.group, thread, self.seen).await;
        let mut terminal = connected.ok()?;
        let mut turns = count.subscribe();
        self.sent = self.kept;
        loop {
            let share = turns.borrow_and_update().share(self.number);
            if self.answered >= share {
                return Some(());
            }
            let heard = self.answered.max(self.noted);
            while self.sent < share.min(heard + self.ahead) {
                let id = format!("{}/{}", self.name(), self.sent);
                let call = if self.group == "called" { "@Andy " } else { "" };
                terminal.say(&id, &format!("{call}[[id:{}]]", self.sent)).await.ok()?;
                self.sent += 1;
            }
            let frame = tokio::select! {
                frame = terminal.next() => frame?,
                _ = turns.changed() => continue,
            };
            let (answered, noted) = (self.answered, self.noted);
            let outbox = self.hear(&frame);
            if self.noted > noted {
                count.send_if_modified(|count| count.strike(home, self.group));
            }
            if self.answered > answered {
                count.send_modify(|count| {
                    count.answered += self.answered - answered;
                    count.rise();
                });
            }
            if let Some(outbox) = outbox {
                terminal.ack(outbox).await.ok()?;
            }
        }
    }

    /// Takes in what the gateway says; the row of the outbox, if it is to be acknowledged.
    fn hear(&mut self, frame: &Value) -> Option<u64> {
        let name = self.name();
        match frame["type"].as_str() {
            Some("kept") => {
                let number = frame["id"].as_str().unwrap().rsplit('/').next().unwrap();
                self.kept = self.kept.max(number.parse::<usize>().unwrap() + 1);
                None
            }
            Some("answer") => {
                let outbox = frame["outbox"].as_u64().unwrap();
                assert!(self.seen.is_none_or(|seen| outbox > seen), "{name}: shown twice: {frame}");
                self.seen = Some(outbox);
                let ends = &frame["ends"];
                assert_ne!(ends["answered"], false, "{name}: given up: {frame}");
                let count = if ends.is_null() { &mut self.noted } else { &mut self.answered };
                for id in ids(frame["text"].as_str().unwrap()) {
                    assert_eq!(id, *count, "{name}: twice, or not in order: {frame}");
                    *count += 1;
                }
                Some(outbox)
            }
            Some("refused" | "not_kept") => panic!("{name}: {frame}"),
            _ => None,
        }
    }
}

fn ids(text: &str) -> impl Iterator<Item = usize> {
    text.split("[[id:").skip(1).filter_map(|rest| rest.split(']').next()?.parse().ok())
}
