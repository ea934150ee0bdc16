//! (e) Start: from the start of the real binary until its socket accepts, with a long past in its store.

use std::time::Duration;

use rusqlite::Connection;

use crate::Place;
use crate::home::Home;
use crate::measure::{Gate, Samples, resident};
use crate::table::{Bound, Row, Table};

const STARTS: usize = 11;
/// When the memory is looked at after a start.
const SETTLE: Duration = Duration::from_secs(2);

/// A million messages that were all answered, in ten thousand chats of one group.
const PAST: &str = "
    PRAGMA synchronous = OFF;
    BEGIN;
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
    INSERT INTO chats (chat_id, name, group_name) SELECT 'bench:c' || i, 'Chat ' || i, 'main' FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
    INSERT INTO messages (seq, chat_id, thread, id, sender, sender_name, timestamp, is_from_me, content)
    SELECT i, 'bench:c' || (i % 10000), '', 'm' || i, 'ada', 'Ada', i, 0,
           'Has anybody seen the minutes of last week? Number ' || i FROM n;
    INSERT INTO router_state (chat_id, thread, last_seq, seen_seq, triggered_seq, cursor)
    SELECT chat_id, '', max(seq), max(seq), max(seq), max(seq) FROM messages GROUP BY chat_id;
    COMMIT;
    PRAGMA wal_checkpoint(TRUNCATE);";

/// Takes the figures.
pub(crate) async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let home = Home::new(place).await?;
    let database = home.database();
    tokio::task::spawn_blocking(move || Connection::open(database)?.execute_batch(PAST)).await??;
    let (mut gate, mut times, mut memory) = (Gate::default(), Samples::default(), Samples::default());
    for start in 0..=STARTS {
        gate.quiet().await?;
        let (process, ready) = home.spawn(place)?;
        tokio::time::sleep(SETTLE).await;
        // The first start brings the file into the system's cache.
        if start > 0 {
            times.add(ready.as_secs_f64() * 1e3);
            memory.add(resident(&process.id())?);
        }
        process.stop()?;
    }
    table.add(Row {
        name: "(e) start with 1,000,000 messages".to_owned(),
        figure: times.median(),
        unit: "ms",
        floor: None,
        bound: Bound::AtMost(150.0),
        note: format!("n {}, most {:.1} ms, {}", times.len(), times.percentile(100), gate.told()),
    });
    table.add(Row {
        name: "(e) memory after it".to_owned(),
        figure: memory.median(),
        unit: "MiB",
        floor: None,
        bound: Bound::AtMost(30.0),
        note: format!("most {:.1} MiB", memory.percentile(100)),
    });
    Ok(())
}
