//! (b) Cold: from a committed message to the main function of an agent-runner in a fresh sandbox, beside the bare
//! tool making the same sandbox: what the gateway has just made is looked at, and made again without the gateway.

use std::fs;

use crate::Place;
use crate::home::{Home, told};
use crate::measure::{Gate, Samples, millis};
use crate::table::{Bound, Row, Table};
use bare::Bare;
use hermitcrab::config::SandboxChoice;

mod bare;

const SAMPLES: usize = 30;

/// Takes the figures.
pub(crate) async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    for (name, choice) in
        [("bubblewrap", SandboxChoice::Bubblewrap), ("docker", SandboxChoice::Docker)]
    {
        let home = Home::new(place).await?;
        let chats = (0..=SAMPLES).map(|chat| (format!("g{chat}"), format!("c{chat}")));
        home.add_chats(chats, false)?;
        (0..=SAMPLES).try_for_each(|group| make_folders(&home, &format!("g{group}")))?;
        let mut settings = home.settings()?;
        settings.sandbox.choice = choice;
        // Nobody has to make room while the next one is measured.
        settings.runs.slots = SAMPLES + 2;
        let mut running = home.start(settings).await?;
        let (mut gate, mut figures, mut floors) =
            (Gate::default(), Samples::default(), Samples::default());
        for sample in 0..=SAMPLES {
            gate.quiet().await?;
            let committed = running.line.say(&format!("c{sample}"), "1", "[[clock]]").await?;
            let (_, answer) = running.answer().await?;
            let bare = Bare::after(&home, &format!("g{sample}"))?;
            gate.quiet().await?;
            let floor = match choice {
                SandboxChoice::Docker => bare.docker().await?,
                SandboxChoice::Bubblewrap | SandboxChoice::Auto => bare.bubblewrap().await?,
            };
            // The first finds the sandbox and warms everything up.
            if sample > 0 {
                figures.add(millis(committed, told(&answer, "main")?));
                floors.add(floor);
            }
        }
        running.stop().await;
        if name == "bubblewrap" {
            table.note_cold(floors.median());
        }
        table.add(Row {
            name: format!("(b) cold, {name}: committed to main"),
            figure: figures.median(),
            unit: "ms",
            floor: Some(floors.median()),
            bound: Bound::TimesFloor(1.15),
            note: format!(
                "n {}, p99 {:.1} ms, floor p99 {:.1} ms, {}",
                figures.len(),
                figures.percentile(99),
                floors.percentile(99),
                gate.told()
            ),
        });
    }
    Ok(())
}

/// Makes the folders that a group has from its first run on: what is measured is a fresh sandbox, not a fresh group.
fn make_folders(home: &Home, group: &str) -> anyhow::Result<()> {
    let user = hermitcrab::sandbox::spec::user();
    for (parent, owned) in [("groups", true), ("store/sessions", true), ("store/ipc", false)] {
        let folder = home.path().join(parent).join(group);
        fs::create_dir_all(&folder)?;
        if owned {
            bare::give(&folder, user)?;
        }
    }
    Ok(())
}
