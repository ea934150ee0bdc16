//! (c) Durable intake: messages per second from eight producers, beside the same rows written straight.
//!
//! Each producer says its next message when its last is on disk. The chats need a trigger and nobody is addressed,
//! so the router looks at every message, and nothing is run.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::Place;
use crate::home::{Home, Running};
use crate::measure::{Gate, Samples};
use crate::table::{Bound, Row, Table};

const PRODUCERS: usize = 8;
/// Rounds of gateway and floor in turns, and how long each takes.
const ROUNDS: usize = 11;
const ROUND: Duration = Duration::from_millis(700);
const TEXT: &str = "Has anybody seen the minutes of last week? I cannot find them in the usual place.";

/// Takes the figure.
pub(crate) async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let (ours, floor) = (Home::new(place).await?, Home::new(place).await?);
    let chats = |_| (0..PRODUCERS).map(|chat| ("office".to_owned(), format!("c{chat}")));
    ours.add_chats(chats(()), true)?;
    floor.add_chats(chats(()), true)?;
    let running = ours.start(ours.settings()?).await?;
    let (mut gate, mut figures, mut floors) = (Gate::default(), Samples::default(), Samples::default());
    for round in 0..=ROUNDS {
        gate.quiet().await?;
        let figure = keep(&running, round).await?;
        let database = floor.database();
        let straight = tokio::task::spawn_blocking(move || write(&database, round)).await??;
        // The first round warms up.
        if round > 0 {
            figures.add(figure);
            floors.add(straight);
        }
    }
    running.stop().await;
    table.add(Row {
        name: "(c) intake from 8 producers".to_owned(),
        figure: figures.median(),
        unit: "msg/s",
        floor: Some(floors.median()),
        bound: Bound::ShareOfFloor(0.6),
        note: format!("n {}, {}", figures.len(), gate.told()),
    });
    Ok(())
}

/// Messages per second through the gateway.
async fn keep(running: &Running, round: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let line = running.line.clone();
        producers.spawn(async move {
            let mut count = 0_u32;
            while begun.elapsed() < ROUND {
                line.say(&format!("c{producer}"), &format!("{round}-{count}"), TEXT).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(said) = producers.join_next().await {
        count += said??;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Messages per second written straight: one thread commits whatever has queued up.
fn write(database: &std::path::Path, round: usize) -> anyhow::Result<f64> {
    let connection = Connection::open(database)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -1024")?;
    let (said, rows) = mpsc::channel::<(usize, u32, mpsc::Sender<()>)>();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let said = said.clone();
                scope.spawn(move || produce(producer, &said, begun))
            })
            .collect();
        drop(said);
        while let Ok(first) = rows.recv() {
            let group: Vec<_> = std::iter::once(first).chain(rows.try_iter()).collect();
            commit(&connection, round, &group)?;
            for (_, _, written) in group {
                written.send(()).context("a producer has gone")?;
            }
        }
        let counts = producers.into_iter().filter_map(|producer| producer.join().ok());
        Ok(f64::from(counts.sum::<u32>()) / begun.elapsed().as_secs_f64())
    })
}

/// Writes rows for as long as a round takes; returns how many.
fn produce(producer: usize, said: &mpsc::Sender<(usize, u32, mpsc::Sender<()>)>, begun: Instant) -> u32 {
    let mut count = 0;
    while begun.elapsed() < ROUND {
        let (written, done) = mpsc::channel();
        if said.send((producer, count, written)).is_err() || done.recv().is_err() {
            break;
        }
        count += 1;
    }
    count
}

fn commit(
    connection: &Connection,
    round: usize,
    group: &[(usize, u32, mpsc::Sender<()>)],
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for (producer, count, _) in group {
        let (chat, id) = (format!("bench:c{producer}"), format!("{round}-{count}"));
        let sql = "INSERT INTO messages (chat_id, thread, id, sender, sender_name, timestamp, is_from_me, content)
                   VALUES (?1, '', ?2, 'ada', 'Ada', 0, 0, ?3)";
        connection.prepare_cached(sql)?.execute((&chat, &id, TEXT))?;
        let sql = "INSERT INTO router_state (chat_id, thread, last_seq) VALUES (?1, '', ?2)
                   ON CONFLICT DO UPDATE SET last_seq = excluded.last_seq";
        connection.prepare_cached(sql)?.execute((&chat, connection.last_insert_rowid()))?;
    }
    connection.execute_batch("COMMIT")
}
