//! (d) Idle: what the real binary holds and uses while nobody says anything.

use std::time::Duration;

use crate::Place;
use crate::home::Home;
use crate::measure::resident;
use crate::table::{Bound, Row, Table};

/// How long the gateway has to find its sandbox and to come to rest.
const SETTLE: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(60);

/// Takes the figures.
pub(crate) async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let home = Home::new(place).await?;
    let (process, _) = home.spawn(place)?;
    tokio::time::sleep(SETTLE).await;
    let before = processor_seconds(&process.id())?;
    tokio::time::sleep(IDLE).await;
    let used = processor_seconds(&process.id())? - before;
    let memory = resident(&process.id())?;
    process.stop()?;
    table.add(Row {
        name: "(d) idle: resident memory".to_owned(),
        figure: memory,
        unit: "MiB",
        floor: None,
        bound: Bound::AtMost(20.0),
        note: String::new(),
    });
    table.add(Row {
        name: "(d) idle for 60 s: processor time".to_owned(),
        figure: used,
        unit: "s",
        floor: None,
        bound: Bound::AtMost(0.05),
        note: String::new(),
    });
    Ok(())
}

/// Processor time that the threads of a process have used; exact, where `stat` counts in hundredths of a second.
fn processor_seconds(process: &str) -> anyhow::Result<f64> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let used = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += used.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos).as_secs_f64())
}
