//! Answers that grow while the gateway dies: the real binary, real sandboxes, a model that takes its time.
//!
//! A kill leaves half an answer in a thread. The next gateway takes it away or makes it the answer, and in the end
//! there is one message for each mention, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use test_servers::model::{Fault, Script, Server, Turn};
use test_servers::slack::{
    ALICE, Conversation, GENERAL, Kind, Message, Options, Post, Slack, World,
};
use tokio::time::{sleep, timeout};

use super::mortal::{Kill, Mortal};
use crate::crash::places::Place::{At, Commit};
use crate::crash::places::{Place, points};
use crate::slack::real;
use crate::slack::streaming::shown;
use crate::support::gateway::PATIENCE;

/// What only an answer that grows comes by.
pub(super) const OWN: [Place; 2] = [Commit("drafted"), Commit("settled")];

/// The steps at the end of an answer's way: what grew becomes the answer between two of them.
const END: [Place; 4] =
    [At("run.committed"), At("outbox.marked"), At("outbox.taken"), At("outbox.confirmed")];

/// The channels, each of a group of its own: the answers of a round grow beside each other.
const CHANNELS: [&str; 2] = [GENERAL, "C0OTHER01"];
/// The lines of an answer, and how many milliseconds a few words of it take: it is on its way while three pieces of it
/// are shown.
const LINES: usize = 52;
const SLOWLY: u64 = 40;
/// How many mentions there are at most: each is a thread that every gateway catches up with.
const MOST: usize = 30;
/// How long after an answer a gateway still dies of it.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is killed at a moment that nobody has chosen, within which time of an answer's beginning, in
/// milliseconds.
const RANDOM: usize = 3;
const MOMENTS: std::ops::Range<u64> = 0..2_500;

/// People who ask for long answers, and the gateway that dies over them.
struct Library {
    mortal: Mortal,
    model: Server,
    /// Where each mention was said, by its number.
    asked: Vec<Thread>,
    kills: BTreeMap<String, usize>,
    /// The messages that stood half written in Slack after a kill.
    left: BTreeSet<String>,
}

/// A thread of a channel.
type Thread = (&'static str, String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_that_grows_is_one_message_in_the_end_whatever_dies() {
    let begun = Instant::now();
    let mut library = Library::found().await;
    library.in_peace().await;
    let [before, after] = points(&[Commit("drafted")]).try_into().unwrap();
    let settled = points(&[Commit("settled")]);
    for (index, end) in points(&END).iter().enumerate() {
        // What is left half written is there at the next start, and that one dies over it.
        library.kill_at(&after, 0).await;
        library.kill_at(&settled[index % 2], 0).await;
        library.kill_at(&before, 0).await;
        // What is owed comes first, and at once.
        library.kill_at(end, library.owed()).await;
    }
    for point in &settled {
        library.in_peace().await;
        library.kill_at(point, 0).await;
    }
    for _ in 0..RANDOM {
        library.kill_amid().await;
    }
    library.in_peace().await;
    library.everybody_has_read();
    library.the_store_is_whole();
    let Library { mortal, model, asked, kills, left } = library;
    println!(
        "crash matrix, growing answers: {} mentions, each answered once and whole; {} kills, at {} points and {RANDOM} \
         random moments; {} messages half written by then; {} posts; {:.1} s",
        asked.len(),
        kills.values().sum::<usize>(),
        kills.len() - 1,
        left.len(),
        mortal.slack.look(|world| world.count("chat.postMessage")),
        begun.elapsed().as_secs_f64()
    );
    mortal.slack.stop().await;
    model.stop().await;
}

impl Library {
    async fn found() -> Self {
        let options = Options {
            patience: PATIENCE * 2,
            ack_timeout: Duration::from_secs(2),
            retry_delays: vec![Duration::from_secs(1); 100],
            ..Options::default()
        };
        let (slack, model) = tokio::join!(Slack::start(options), Server::start(script()));
        let (slack, model) = (slack.unwrap(), model.unwrap());
        let members = [ALICE, slack.options().bot_user.as_str()];
        slack.add_conversation(Conversation::new(CHANNELS[1], Kind::Public, "other", &members));
        let home = real::home(&slack)
            .with("AGENT_ENGINE", "native")
            .with("ANTHROPIC_API_KEY", "sk-test-canary")
            .with("ANTHROPIC_BASE_URL", &model.url())
            .with("LOG_LEVEL", "warn");
        for (group, channel) in ["main", "other"].into_iter().zip(CHANNELS) {
            real::register(&home, &slack, group, &[channel]).await;
        }
        let (kills, left) = (BTreeMap::new(), BTreeSet::new());
        Self { mortal: Mortal { slack, home }, model, asked: Vec::new(), kills, left }
    }

    /// Alice asks until the gateway is killed at this hit of this step, from 0; for a later one she asks twice at once.
    async fn kill_at(&mut self, point: &str, hit: usize) {
        let Self { mortal, asked, kills, .. } = self;
        let asking = async {
            (0..=hit.min(1)).for_each(|_one| ask(&mortal.slack, asked));
            loop {
                mortal.slack.wait_for(|world| owed(world, asked) == 0).await;
                sleep(GRACE).await;
                ask(&mortal.slack, asked);
            }
        };
        mortal.kill_while(point, hit, asking).await.count(kills);
        self.look_around();
    }

    /// The gateway is killed at some moment while an answer grows.
    async fn kill_amid(&mut self) {
        let mut gateway = self.mortal.start(None).await.expect("nothing kills it yet");
        ask(&self.mortal.slack, &mut self.asked);
        let (channel, root) = &self.asked[self.asked.len() - 1];
        self.mortal.slack.wait_for(|world| !world.answers(channel, root).is_empty()).await;
        sleep(Duration::from_millis(fastrand::u64(MOMENTS))).await;
        gateway.kill().await;
        Kill::at("random moments").count(&mut self.kills);
        self.look_around();
    }

    /// How many mentions are not answered.
    fn owed(&self) -> usize {
        self.mortal.slack.look(|world| owed(world, &self.asked))
    }

    /// Counts what a kill has left.
    fn look_around(&mut self) {
        let left = &mut self.left;
        self.mortal.slack.look(|world| {
            left.extend(half_written(world).map(|message| message.ts().to_owned()));
        });
    }

    /// Alice asks, nothing happens to the gateway, and it answers all that it still owes as well.
    async fn in_peace(&mut self) {
        let gateway = self.mortal.start(None).await.expect("nothing kills it");
        ask(&self.mortal.slack, &mut self.asked);
        let (slack, asked) = (&self.mortal.slack, &self.asked);
        let answered = slack.wait_for(|world| owed(world, asked) == 0);
        let answered = timeout(PATIENCE, answered).await;
        answered.unwrap_or_else(|_| panic!("silence:\n{}", self.mortal.home.read_log()));
        self.mortal.settled().await;
        self.mortal.slack.wait_for(|world| world.unacked() == 0).await;
        assert!(gateway.terminate().await.success());
    }

    /// Every mention has one answer, the whole of it, and nothing else stands in its thread.
    fn everybody_has_read(&self) {
        self.mortal.slack.look(|world| {
            for (number, (channel, root)) in self.asked.iter().enumerate() {
                let answers = world.answers(channel, root);
                let texts: Vec<_> = answers.iter().map(|it| shown(it)).collect();
                assert_eq!(texts, [answer(number)], "mention {number}");
                assert_eq!(part(answers[0]), Some(1), "mention {number}");
                assert_ne!(answers[0].streaming_state(), Some("in_progress"), "{number}");
            }
            let said = CHANNELS.map(|channel| world.said(channel).len());
            assert_eq!(said.into_iter().sum::<usize>(), self.asked.len());
        });
    }

    /// Nothing is open in the store.
    fn the_store_is_whole(&self) {
        for (sql, expected) in [
            ("PRAGMA integrity_check", &["ok"][..]),
            ("SELECT message FROM drafts", &[]),
            ("SELECT state FROM runs WHERE state IN ('claimed', 'running')", &[]),
            ("SELECT DISTINCT state FROM outbox", &["sent"]),
        ] {
            assert_eq!(self.mortal.column(sql), expected, "{sql}");
        }
    }
}

/// Alice mentions the bot, in each channel by turns: a thread begins with it.
fn ask(slack: &Slack, asked: &mut Vec<Thread>) {
    let channel = CHANNELS[asked.len() % CHANNELS.len()];
    let text = format!("<@{}> [[id:{}]]", slack.options().bot_user, asked.len());
    asked.push((channel, slack.user_message(Post::new(channel, ALICE, &text))));
    assert!(asked.len() <= MOST, "catching up with them takes more calls than Slack takes at once");
}

/// How many of these mentions are not answered.
fn owed(world: &World, asked: &[Thread]) -> usize {
    let is_owed = |(channel, root): &&Thread| {
        !world.answers(channel, root).into_iter().any(|it| part(it).is_some())
    };
    asked.iter().filter(is_owed).count()
}

/// What the model says to a mention.
fn answer(number: usize) -> String {
    let line = |n| format!("{number}.{n}: what there is to be said of it\n");
    let lines: String = (0..LINES).map(line).collect();
    format!("Well:\n{lines}That is all.")
}

/// Each answer comes slowly, and at once when the model is asked for it again.
fn script() -> Script {
    let slowly = || Fault::slow(SLOWLY, 0).first(1);
    (0..MOST).fold(Script::echo(), |script, number| {
        script.on(&format!("[[id:{number}]]"), [Turn::text(&answer(number)).fault(slowly())])
    })
}

/// The messages that have a text and are no answers yet.
fn half_written(world: &World) -> impl Iterator<Item = &Message> {
    let said = CHANNELS.into_iter().flat_map(|channel| world.said(channel));
    said.filter(|message| part(message).is_none() && !message.text().is_empty())
}

/// Which part of an answer a message says that it is.
fn part(message: &Message) -> Option<u64> {
    message.json()["metadata"]["event_payload"]["part"].as_u64()
}
