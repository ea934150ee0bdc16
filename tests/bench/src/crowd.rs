//! (f) A crowd: a thousand conversations at once, five slots, and an engine that answers at once.
//!
//! Once in one group, whose sandboxes stay warm, and once in a group each, so that every run has a fresh sandbox.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::ensure;

use crate::Place;
use crate::home::{Home, Running};
use crate::measure::resident;
use crate::table::{Bound, Row, Table};

const CROWD: usize = 1_000;
const SLOTS: usize = 5;
/// How much the memory may grow from one crowd to the next, in MiB: what an allocator keeps, and no more.
const GROWTH: f64 = 2.0;

/// Takes the figures.
pub(crate) async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    for (name, groups) in [("warm", false), ("fresh", true)] {
        let home = Home::new(place).await?;
        let group = |chat| if groups { format!("g{chat}") } else { "main".to_owned() };
        home.add_chats((0..CROWD).map(|chat| (group(chat), format!("c{chat}"))), false)?;
        let mut settings = home.settings()?;
        settings.runs.slots = SLOTS;
        let mut running = home.start(settings).await?;
        let (first, second) = (crowd(&mut running, "1").await?, crowd(&mut running, "2").await?);
        running.stop().await;
        table.add(Row {
            name: format!("(f) 1,000 at once, {name} sandboxes"),
            figure: second.rate,
            unit: "runs/s",
            floor: table.bare_rate().filter(|_| groups),
            bound: Bound::None,
            note: format!("all answered twice over; the first time {:.1} runs/s", first.rate),
        });
        table.add(Row {
            name: format!("(f) growth from one crowd to the next, {name}"),
            figure: second.memory - first.memory,
            unit: "MiB",
            floor: None,
            bound: Bound::AtMost(GROWTH),
            note: format!("{:.1} MiB after the first, with the bench", first.memory),
        });
    }
    Ok(())
}

/// What a crowd came to.
struct Crowd {
    rate: f64,
    memory: f64,
}

/// Lets everybody speak at once, and waits until each has an answer of their own.
async fn crowd(running: &mut Running, id: &str) -> anyhow::Result<Crowd> {
    let begun = Instant::now();
    let said = (0..CROWD).map(|chat| {
        let line = running.line.clone();
        async move { line.say(&format!("c{chat}"), id, &format!("[[id:{id}-{chat}]]")).await }
    });
    futures_util::future::try_join_all(said).await?;
    let mut answered = HashSet::new();
    while answered.len() < CROWD {
        let (chat, answer) = running.answer().await?;
        let number = chat.local().trim_start_matches('c');
        ensure!(answer.contains(&format!("[[id:{id}-{number}]]")), "a wrong answer in {chat}");
        ensure!(answered.insert(chat), "a second answer to one message");
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Crowd { rate: CROWD as f64 / seconds, memory: resident("self")? })
}
