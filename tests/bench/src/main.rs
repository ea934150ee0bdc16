//! Measures the gateway beside the floor under each figure, prints a table, writes it as JSON, and fails when a
//! bound is missed. Figure and floor are taken in turns in one run, so that both see the same machine.
#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

mod cold;
mod crowd;
mod home;
mod idle;
mod intake;
mod line;
mod measure;
mod slack;
mod start;
mod table;
mod warm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use table::Table;

/// What a figure is measured with.
pub(crate) struct Place {
    /// The real binary.
    pub(crate) binary: PathBuf,
    /// Where homes are made and the report is written: a folder on the disk that is measured.
    pub(crate) folder: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().context("usage: bench BINARY FOLDER [a|b|c|d|e|f|g]...")?;
    let second = arguments.next().context("a folder to work in is missing")?;
    if first == "wake" {
        warm::wake(Path::new(&second))?;
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::create_dir_all(&second)?;
    let place =
        Place { binary: std::fs::canonicalize(first)?, folder: std::fs::canonicalize(second)? };
    let wanted: Vec<_> = arguments.map(|name| name.to_string_lossy().into_owned()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let table = runtime.block_on(measure_all(&place, &wanted))?;
    println!("{table}");
    let report = place.folder.join("report.json");
    std::fs::write(&report, serde_json::to_vec_pretty(&table.json())?)?;
    println!("written to {}", report.display());
    Ok(if table.all_held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes the figures, each by the letter that the table knows it by; all of them when none is named.
async fn measure_all(place: &Place, wanted: &[String]) -> anyhow::Result<Table> {
    if let Some(unknown) = wanted.iter().find(|name| !"abcdefg".contains(name.as_str())) {
        bail!("there is no figure {unknown}");
    }
    let mut table = Table::begin()?;
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|other| other == name);
    if wants("c") {
        intake::measure(place, &mut table).await.context("(c) intake")?;
    }
    if wants("a") {
        warm::measure(place, &mut table).await.context("(a) warm")?;
    }
    if wants("d") {
        idle::measure(place, &mut table).await.context("(d) idle")?;
    }
    if wants("e") {
        start::measure(place, &mut table).await.context("(e) start")?;
    }
    if wants("b") {
        cold::measure(place, &mut table).await.context("(b) cold")?;
    }
    if wants("f") {
        crowd::measure(place, &mut table).await.context("(f) crowd")?;
    }
    if wants("g") {
        slack::measure(place, &mut table).await.context("(g) Slack")?;
    }
    table.end()?;
    Ok(table)
}
