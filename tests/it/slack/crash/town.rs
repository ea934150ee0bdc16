//! A town whose people talk while the gateway dies, and what they hold it to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use test_servers::slack::{ALICE, BOB, Conversation, Fault, Kind, Options, Post, Slack, World};
use tokio::time::{sleep, timeout};

use super::Trouble;
use super::mortal::{Kill, Mortal};
use crate::crash::places::Place::Commit;
use crate::crash::places::points;
use crate::slack::real;
use crate::support::gateway::PATIENCE;

/// How many mentions there are, how many are said at once, and how many may be unanswered.
pub(super) const MENTIONS: usize = 500;
const BATCH: usize = 8;
const OPEN: usize = 24;
/// One in so many is said in a thread that is there already.
const FOLLOW_UP: usize = 6;

/// The channels of the two groups, and one in which the bot may not say anything.
pub(super) const MAIN: [&str; 3] = ["C0MAIN001", "C0MAIN002", "C0MAIN003"];
pub(super) const TEAM: [&str; 5] =
    ["C0TEAM001", "C0TEAM002", "C0TEAM003", "C0TEAM004", "C0TEAM005"];
const SEALED: &str = "C0SEALED1";

/// Within which time of a start, in milliseconds, it is killed at a moment that nobody has chosen.
const MOMENTS: std::ops::Range<u64> = 50..1_500;

/// A workspace in which much is said, and the gateway that dies in it.
pub(super) struct Town {
    /// The gateway in its workspace.
    pub(super) mortal: Mortal,
    /// Where each mention was said, by its number.
    asked: Mutex<Vec<Thread>>,
    /// The answers as of the last look, and what there was to look at then.
    heard: Mutex<(usize, usize)>,
    /// How often the gateway was killed, and where.
    pub(super) kills: BTreeMap<String, usize>,
}

/// A thread of a channel.
type Thread = (&'static str, String);

impl Town {
    pub(super) async fn found() -> Self {
        // As Slack has it, only sooner, and as often as it takes until a gateway lives long enough.
        let options = Options {
            patience: PATIENCE * 2,
            ack_timeout: Duration::from_secs(2),
            retry_delays: vec![Duration::from_secs(1); 100],
            ..Options::default()
        };
        let slack = Slack::start(options).await.unwrap();
        let members = [ALICE, BOB, slack.options().bot_user.as_str()];
        for channel in MAIN.into_iter().chain(TEAM).chain([SEALED]) {
            let name = channel.to_lowercase();
            slack.add_conversation(Conversation::new(channel, Kind::Public, &name, &members));
        }
        slack.fault(Fault::error("is_archived").on("chat.postMessage").in_channel(SEALED));
        let home = real::home(&slack).with("AGENT_ENGINE", "instant").with("LOG_LEVEL", "warn");
        real::register(&home, &slack, "main", &MAIN).await;
        real::register(&home, &slack, "team", &TEAM).await;
        real::register(&home, &slack, "sealed", &[SEALED]).await;
        let (asked, heard, kills) = (Mutex::default(), Mutex::default(), BTreeMap::new());
        Self { mortal: Mortal { slack, home }, asked, heard, kills }
    }

    /// Something is said in each channel before anything dies: where nothing ever was, nothing is caught up with.
    pub(super) async fn begin(&self) {
        let gateway = self.mortal.start(None).await.expect("nothing kills it");
        for channel in MAIN.into_iter().chain(TEAM).chain([SEALED]) {
            self.mortal.slack.user_message(Post::new(channel, BOB, "good morning"));
        }
        self.mortal.slack.wait_for(|world| world.acked() >= 9 && world.unacked() == 0).await;
        assert!(gateway.terminate().await.success());
    }

    /// People talk until so many mentions are said and answered.
    async fn talk(&self, limit: usize) {
        loop {
            let said = self.asked().len();
            let enough = said.saturating_sub(if said < limit { OPEN - BATCH } else { 0 });
            self.mortal.slack.wait_for(|world| self.answered(world) >= enough).await;
            if said >= limit {
                return;
            }
            for number in said..limit.min(said + BATCH) {
                self.ask(number);
            }
        }
    }

    /// Something is said while nobody is connected: Slack tells nobody of it.
    fn ask_in_vain(&self) {
        let number = self.asked().len();
        if number < MENTIONS {
            self.ask(number);
        }
    }

    /// Alice mentions the bot, mostly at the top of a channel, where a thread begins with it.
    fn ask(&self, number: usize) {
        let channels = [&MAIN[..], &TEAM].concat();
        let text = format!("<@{}> [[id:{number}]]", self.mortal.slack.options().bot_user);
        let mut asked = self.asked();
        let thread = if number % FOLLOW_UP == FOLLOW_UP - 1 {
            let (channel, root) = asked[fastrand::usize(..asked.len())].clone();
            self.mortal.slack.user_message(Post::new(channel, ALICE, &text).in_thread(&root));
            (channel, root)
        } else {
            let channel = channels[number % channels.len()];
            (channel, self.mortal.slack.user_message(Post::new(channel, ALICE, &text)))
        };
        asked.push(thread);
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.asked.lock().unwrap()
    }

    /// How many mentions are answered. An answer that comes twice fails the test at once.
    pub(super) fn answered(&self, world: &World) -> usize {
        let mut heard = self.heard.lock().unwrap();
        let posted = ["chat.postMessage", "chat.update", "chat.stopStream"];
        let calls = posted.map(|method| world.count(method)).into_iter().sum();
        if heard.0 != calls {
            let answers = self.answers(world);
            let twice = answers.values().find(|threads| threads.len() > 1);
            assert_eq!(twice, None, "an answer came twice:\n{}", self.mortal.home.read_log());
            *heard = (calls, answers.len());
        }
        heard.1
    }

    /// Where each mention was answered, by its number.
    fn answers(&self, world: &World) -> BTreeMap<usize, Vec<Thread>> {
        let mut answers = BTreeMap::<usize, Vec<Thread>>::new();
        for channel in MAIN.into_iter().chain(TEAM) {
            // What still grows is no answer: it has no name yet.
            let said = world.said(channel).into_iter();
            for message in said.filter(|message| message.json()["metadata"].is_object()) {
                let root = message.thread_ts().unwrap_or_default().to_owned();
                for id in ids(message.text()) {
                    answers.entry(id).or_default().push((channel, root.clone()));
                }
            }
        }
        answers
    }

    /// People talk until the gateway is killed at this hit of this step, from 0.
    pub(super) async fn kill_at(&mut self, point: &str, hit: usize) {
        self.ask_in_vain();
        self.mortal.kill_while(point, hit, self.talk(MENTIONS)).await.count(&mut self.kills);
    }

    /// Something goes wrong, and soon after that the gateway is killed.
    pub(super) async fn kill_amid(&mut self, trouble: Trouble) {
        self.ask_in_vain();
        let mut gateway = self.mortal.start(None).await.expect("nothing kills it yet");
        trouble(&self.mortal.slack);
        let moment = Duration::from_millis(fastrand::u64(MOMENTS));
        let limit = MENTIONS.min(self.asked().len() + BATCH);
        tokio::join!(sleep(moment), async { timeout(moment, self.talk(limit)).await.ok() });
        gateway.kill().await;
        Kill::at("random moments").count(&mut self.kills);
    }

    /// Somebody says a note that is kept, and then does something with it: the gateway is killed before that is
    /// committed, and again after it, when Slack has brought it once more.
    pub(super) async fn kill_at_change(
        &mut self,
        operation: &'static str,
        change: fn(&Slack, &str),
    ) {
        let noted = async {
            let ts = self.mortal.slack.user_message(Post::new(MAIN[0], BOB, operation));
            let is_kept = |world: &World| {
                world.deliveries().iter().any(|told| told.ts == ts && told.acked.is_some())
            };
            self.mortal.slack.wait_for(is_kept).await;
            change(&self.mortal.slack, &ts);
            std::future::pending::<()>().await;
        };
        let [before, after] = points(&[Commit(operation)]).try_into().unwrap();
        self.mortal.kill_while(&before, 0, noted).await.count(&mut self.kills);
        self.mortal.kill_while(&after, 0, std::future::pending()).await.count(&mut self.kills);
    }

    /// Somebody mentions the bot where it may not answer.
    pub(super) async fn kill_at_refusal(&mut self, point: &str) {
        let asked = async {
            let text = format!("<@{}> are you there?", self.mortal.slack.options().bot_user);
            self.mortal.slack.user_message(Post::new(SEALED, ALICE, &text));
            std::future::pending::<()>().await;
        };
        self.mortal.kill_while(point, 0, asked).await.count(&mut self.kills);
    }

    /// Lets people say the rest undisturbed, and waits until the gateway has nothing left to do.
    pub(super) async fn finish(&self) {
        self.mortal.slack.clear_faults();
        self.mortal
            .slack
            .fault(Fault::error("is_archived").on("chat.postMessage").in_channel(SEALED));
        let gateway = self.mortal.start(None).await.expect("nothing kills it");
        let talked = timeout(PATIENCE * 2, self.talk(MENTIONS)).await;
        talked.unwrap_or_else(|_| panic!("silence:\n{}", self.mortal.home.read_log()));
        self.mortal.settled().await;
        // Edits that were not acked come again.
        self.mortal.slack.wait_for(|world| world.unacked() == 0).await;
        assert!(gateway.terminate().await.success());
    }

    /// Every mention has one answer, in its thread, and in a thread they stand in order.
    pub(super) fn everybody_is_content(&self) {
        let asked = self.asked();
        let answers = self.mortal.slack.look(|world| self.answers(world));
        for (number, thread) in asked.iter().enumerate() {
            let found = answers.get(&number).cloned().unwrap_or_default();
            assert_eq!(
                found,
                std::slice::from_ref(thread),
                "mention {number}:\n{}",
                self.mortal.home.read_log()
            );
        }
        assert_eq!(answers.len(), MENTIONS);
        self.mortal.slack.look(|world| {
            for (channel, root) in asked.iter() {
                let told = world.answers(channel, root);
                let told: Vec<_> = told.iter().flat_map(|answer| ids(answer.text())).collect();
                assert!(told.is_sorted(), "{channel} {root}: {told:?}");
            }
            assert!(world.said(SEALED).is_empty());
        });
    }

    /// Nothing is open in the store, nothing is there twice, and it holds what was said and changed.
    pub(super) fn the_store_is_whole(&self) {
        let all = |sql: &str| self.mortal.column(sql);
        assert_eq!(all("PRAGMA integrity_check"), ["ok"]);
        assert_eq!(all("SELECT \"table\" FROM pragma_foreign_key_check"), [""; 0]);
        assert_eq!(all("SELECT state FROM runs WHERE state IN ('claimed', 'running')"), [""; 0]);
        assert_eq!(all("SELECT state FROM outbox WHERE state <> 'sent'"), ["failed"; 2]);
        let kept =
            all("SELECT content FROM messages WHERE content LIKE '%[[id:%' AND NOT is_from_me");
        let mut kept: Vec<usize> = kept.iter().flat_map(|text| ids(text)).collect();
        kept.sort_unstable();
        assert!(kept.into_iter().eq(0..MENTIONS), "the store has other mentions");
        let notes = all(
            "SELECT content FROM messages WHERE chat_id LIKE '%MAIN001' AND sender_name = 'bob' ORDER BY seq",
        );
        assert_eq!(notes, ["good morning", "changed", ""]);
    }
}

/// The numbers of the mentions that a text names.
fn ids(text: &str) -> Vec<usize> {
    let found = text.split("[[id:").skip(1);
    found.filter_map(|rest| rest.split(']').next()?.parse().ok()).collect()
}
