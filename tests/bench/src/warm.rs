//! (a) Warm: from a committed message to the prompt in the agent-runner's hands, beside a bare pair of processes of
//! which one writes, fsyncs and renames a file, and the other is woken by inotify and reads it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write as _};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context as _;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use crate::Place;
use crate::home::{Home, told};
use crate::measure::{Gate, Samples, millis, now};
use crate::table::{Bound, Row, Table};

const WARM_UP: usize = 20;
const SAMPLES: usize = 320;
/// How many samples are taken in one quiet moment.
const BATCH: usize = 8;

/// Takes the figure.
pub(crate) async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let home = Home::new(place).await?;
    home.add_chats([("main".to_owned(), "warm".to_owned())], false)?;
    let mut running = home.start(home.settings()?).await?;
    let mut pair = Pair::new(place)?;
    let (mut gate, mut figures, mut floors) = (Gate::default(), Samples::default(), Samples::default());
    for sample in 0..WARM_UP + SAMPLES {
        if sample % BATCH == 0 {
            gate.quiet().await?;
        }
        let committed = running.line.say("warm", &sample.to_string(), "[[clock]]").await?;
        let (_, answer) = running.answer().await?;
        let floor = pair.hand_over()?;
        if sample >= WARM_UP {
            figures.add(millis(committed, told(&answer, "at")?));
            floors.add(floor);
        }
    }
    running.stop().await;
    table.add(Row {
        name: "(a) warm: committed to prompt".to_owned(),
        figure: figures.median(),
        unit: "ms",
        floor: Some(floors.median()),
        bound: Bound::TimesFloor(3.0),
        note: format!(
            "n {}, p99 {:.3} ms, floor p99 {:.3} ms, {}",
            figures.len(),
            figures.percentile(99),
            floors.percentile(99),
            gate.told()
        ),
    });
    Ok(())
}

/// The floor: this process writes, a child is woken.
struct Pair {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
    input: PathBuf,
    count: u32,
}

impl Pair {
    fn new(place: &Place) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pair-").tempdir_in(&place.folder)?;
        let input = folder.path().join("input");
        fs::create_dir(&input)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("wake")
            .arg(&input)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        lines.next().context("the other half did not begin")??;
        Ok(Self { child, lines, folder, input, count: 0 })
    }

    /// Hands one file over; returns the milliseconds until the other half had read it.
    fn hand_over(&mut self) -> anyhow::Result<f64> {
        self.count += 1;
        let temporary = self.folder.path().join("out");
        let begun = now();
        let mut file = File::create(&temporary)?;
        // As long as a short prompt.
        file.write_all(&[b'x'; 1024])?;
        file.sync_all()?;
        fs::rename(&temporary, self.input.join(format!("{}.json", self.count)))?;
        let read = self.lines.next().context("the other half ended")??;
        Ok(millis(begun, read.parse()?))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // It ends with this program at the latest.
        self.child.kill().and_then(|()| self.child.wait().map(drop)).ok();
    }
}

/// The other half: says when it had read each file that appears in `folder`, and removes it.
///
/// # Errors
/// When the folder cannot be watched.
pub(crate) fn wake(folder: &Path) -> anyhow::Result<()> {
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, folder, WatchFlags::MOVED_TO)?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(&watch, &mut buffer);
    let mut out = std::io::stdout().lock();
    writeln!(out, "begun")?;
    loop {
        let event = events.next()?;
        let Some(name) = event.file_name() else { continue };
        let path = folder.join(name.to_str()?);
        fs::read(&path)?;
        writeln!(out, "{}", now())?;
        fs::remove_file(&path)?;
    }
}
