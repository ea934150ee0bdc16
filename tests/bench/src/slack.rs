//! (g) Slack: from a mention to its ack, to the first visible sign and to the answer, and ten thousand messages at once
//! on one socket; beside a bare client that does nothing but ack, on a server of the same kind.
//!
//! The gateway is the real binary, the engine answers at once, and the test server keeps the time: what it takes itself
//! is in figure and floor alike.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use test_servers::slack::{ALICE, Conversation, GENERAL, Kind, Options, Post, Slack, World};
use tokio::task::JoinSet;

use crate::Place;
use crate::home::{Home, Process};
use crate::measure::{Gate, Samples, resident};
use crate::table::{Bound, Row, Table};

mod bare;

const WARM_UP: usize = 20;
const SAMPLES: usize = 200;
/// How many samples are taken in one quiet moment.
const BATCH: usize = 8;
const COLD: usize = 20;
/// The burst, and over how many chats.
const BURST: usize = 10_000;
const CHATS: usize = 10;
/// How long its messages may take until they are on disk, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// A workspace with the gateway in it, and one with the bare client.
struct Bench {
    slack: Slack,
    plain: Slack,
    home: Home,
    process: Process,
    bare: JoinSet<()>,
}

/// What became of one mention, in milliseconds.
struct Told {
    ack: f64,
    sign: f64,
    answer: f64,
}

/// Takes the figures.
pub(crate) async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let mut bench = Bench::open(place).await?;
    bench.warm(table).await?;
    bench.cold(table).await?;
    bench.burst(table).await?;
    bench.bare.shutdown().await;
    bench.process.stop()
}

impl Bench {
    async fn open(place: &Place) -> anyhow::Result<Self> {
        let patience = || Options { patience: Duration::from_secs(300), ..Options::default() };
        let (slack, plain) = tokio::try_join!(Slack::start(patience()), Slack::start(patience()))?;
        let home = Home::new(place).await?;
        let (options, url) = (slack.options(), slack.api_url());
        let env = format!(
            "SLACK_BOT_TOKEN={}\nSLACK_APP_TOKEN={}\nSLACK_API_URL={url}\nSANDBOX=bubblewrap\n\
             MAX_CONCURRENT_CONTAINERS={}\nLOG_LEVEL=warn\n",
            options.bot_token,
            options.app_token,
            COLD + 5,
        );
        let path = home.path().join(".env");
        std::fs::write(&path, env)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let cold = (0..COLD).map(|number| (format!("cold{number}"), cold_chat(number)));
        let burst = (0..CHATS).map(|number| ("main".to_owned(), burst_chat(number)));
        let chats: Vec<_> = [("main".to_owned(), GENERAL.to_owned())]
            .into_iter()
            .chain(cold)
            .chain(burst)
            .collect();
        for (_, chat) in &chats {
            for slack in [&slack, &plain] {
                let members = [ALICE, slack.options().bot_user.as_str()];
                slack.add_conversation(Conversation::new(chat, Kind::Public, chat, &members));
            }
        }
        let team = &slack.options().team_id;
        let chats = chats.into_iter().map(|(group, chat)| (group, format!("{team}/{chat}")));
        home.add_chats_on("slack", chats, true)?;
        let bare = bare::connect(&plain).await?;
        let (process, _) = home.spawn(place)?;
        slack.wait_for(|world| world.sockets() == 1).await;
        Ok(Self { slack, plain, home, process, bare })
    }

    /// Alice mentions the bot, and everything that comes of it is waited for.
    async fn mention(&self, chat: &str) -> anyhow::Result<Told> {
        let text = format!("<@{}> hello", self.slack.options().bot_user);
        let posted = Instant::now();
        let ts = self.slack.user_message(Post::new(chat, ALICE, &text));
        let answered = |world: &World| {
            let mut calls = world.all_calls().iter().rev();
            let answer = calls.find(|call| {
                call.carried_out
                    && call.method.starts_with("chat.")
                    && call.args.get("thread_ts").is_some_and(|thread| thread == ts.as_str())
            });
            (world.unacked() == 0).then(|| answer.map(|call| call.at)).flatten()
        };
        let answered = self.slack.wait_some(answered).await;
        let (ack, sign) = self.slack.look(|world| {
            let signs = world.statuses().iter().rev();
            let mut signs = signs.filter(|it| it.thread_ts == ts && !it.text.is_empty());
            (ack_of(world, &ts), signs.next_back().map(|sign| sign.at))
        });
        let since = |at: Instant| at.duration_since(posted).as_secs_f64() * 1e3;
        let sign = sign.map_or(answered, |sign| sign.min(answered));
        Ok(Told { ack: ack?, sign: since(sign), answer: since(answered) })
    }

    /// The same message, in the workspace of the bare client; how long its ack takes.
    async fn floor(&self) -> anyhow::Result<f64> {
        let text = format!("<@{}> hello", self.plain.options().bot_user);
        let ts = self.plain.user_message(Post::new(GENERAL, ALICE, &text));
        self.plain.wait_for(|world| world.unacked() == 0).await;
        self.plain.look(|world| ack_of(world, &ts))
    }

    async fn warm(&self, table: &mut Table) -> anyhow::Result<()> {
        let [mut acks, mut floors, mut signs, mut answers] = [(); 4].map(|()| Samples::default());
        let mut gate = Gate::default();
        for sample in 0..WARM_UP + SAMPLES {
            if sample % BATCH == 0 {
                gate.quiet().await?;
            }
            let told = self.mention(GENERAL).await?;
            let floor = self.floor().await?;
            if sample >= WARM_UP {
                acks.add(told.ack);
                signs.add(told.sign);
                answers.add(told.answer);
                floors.add(floor);
            }
        }
        // The floor only acks, while we keep first: what lies between them is a commit and its fsync.
        for (percent, bound) in [(50, Bound::AtMost(4.0)), (99, Bound::AtMost(20.0))] {
            table.add(Row {
                name: format!("(g) Slack: mention to ack, p{percent}"),
                figure: acks.percentile(percent),
                unit: "ms",
                floor: Some(floors.percentile(percent)),
                bound,
                note: format!("n {}, on disk before; {}", acks.len(), gate.told()),
            });
        }
        for (what, samples, bound) in
            [("first sign", &signs, 30.0), ("answer, warm", &answers, 30.0)]
        {
            table.add(Row {
                name: format!("(g) Slack: mention to {what}"),
                figure: samples.median(),
                unit: "ms",
                floor: Some(floors.median()),
                bound: Bound::AtMost(bound),
                note: format!("n {}, p99 {:.1} ms", samples.len(), samples.percentile(99)),
            });
        }
        Ok(())
    }

    async fn cold(&self, table: &mut Table) -> anyhow::Result<()> {
        let (mut answers, mut gate) = (Samples::default(), Gate::default());
        for number in 0..COLD {
            gate.quiet().await?;
            answers.add(self.mention(&cold_chat(number)).await?.answer);
        }
        table.add(Row {
            name: "(g) Slack: mention to answer, cold".to_owned(),
            figure: answers.median(),
            unit: "ms",
            floor: None,
            bound: Bound::AtMost(100.0),
            note: format!(
                "n {}, a fresh sandbox each, p99 {:.1} ms, {}",
                answers.len(),
                answers.percentile(99),
                gate.told()
            ),
        });
        Ok(())
    }

    async fn burst(&self, table: &mut Table) -> anyhow::Result<()> {
        let before = resident(&self.process.id())?;
        let (acked, begun) = (self.plain.look(World::acked), Instant::now());
        speak_all(&self.plain);
        self.plain.wait_for(|world| world.acked() >= acked + BURST).await;
        let (floor, begun) = (begun.elapsed(), Instant::now());
        speak_all(&self.slack);
        // Where the gateway cannot keep up, Slack brings a message again; what counts is that it is on disk.
        let store = Connection::open(self.home.database())?;
        let mut count =
            store.prepare("SELECT count(*) FROM messages WHERE content LIKE 'burst %'")?;
        let mut kept = 0;
        while kept < BURST {
            tokio::time::sleep(LOOK).await;
            kept = usize::try_from(count.query_row([], |row| row.get::<_, i64>(0))?)?;
            ensure!(begun.elapsed() < PATIENCE, "{kept} of {BURST} messages are kept");
        }
        let took = begun.elapsed();
        let memory = resident(&self.process.id())?;
        let rate = |took: Duration| BURST as f64 / took.as_secs_f64();
        table.add(Row {
            name: "(g) Slack: 10,000 messages at once, kept".to_owned(),
            figure: rate(took),
            unit: "1/s",
            floor: Some(rate(floor)),
            bound: Bound::None,
            note: format!("none lost, all on disk after {:.1} s", took.as_secs_f64()),
        });
        table.add(Row {
            name: "(g) Slack: memory after them".to_owned(),
            figure: memory,
            unit: "MiB",
            floor: None,
            bound: Bound::AtMost(40.0),
            note: format!("{before:.1} MiB before"),
        });
        Ok(())
    }
}

fn cold_chat(number: usize) -> String {
    format!("C0COLD{number:03}")
}

fn burst_chat(number: usize) -> String {
    format!("C0BURST{number:02}")
}

/// How long the message of this ts waited for its first ack, in milliseconds.
fn ack_of(world: &World, ts: &str) -> anyhow::Result<f64> {
    let mut told = world.deliveries().iter().rev();
    let first = told.find(|it| it.ts == ts && it.event == "message" && it.attempt == 0);
    let acked = first.and_then(|it| it.acked).context("there was no ack")?;
    Ok(acked.as_secs_f64() * 1e3)
}

/// Has everybody speak at once.
fn speak_all(slack: &Slack) {
    for number in 0..BURST {
        let chat = burst_chat(number % CHATS);
        slack.user_message(Post::new(&chat, ALICE, &format!("burst {number}")));
    }
}
