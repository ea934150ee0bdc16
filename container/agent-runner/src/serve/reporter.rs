//! Writes `progress/`: signs of life, in batches, so that a stream of words is not a storm of files.
//!
//! Order is kept, and the directory stays bounded when nobody reads it: first the pieces of text are left out,
//! then everything. `done.json` does not go through here and is never left out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{Progress, Sign, layout};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::files::{self, Durability};
use crate::note;
use pending::Pending;

mod pending;

/// The shortest time between two files.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a working agent-runner keeps silent; less than promised, for a machine may be slow.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(layout::HEARTBEAT_MS / 5 * 4);
/// From this many unread files on, pieces of text are left out.
const CROWDED_FILES: usize = 512;
/// From this many unread files on, everything is left out.
const FULL_FILES: usize = 1024;
/// After how many written files the directory is counted again.
const COUNT_EVERY: usize = 64;

/// Where signs of life are left for the gateway.
#[derive(Debug)]
pub(crate) struct Reporter {
    directory: PathBuf,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    /// The run that the signs belong to; 0 is none.
    run: u64,
    pending: Pending,
    next_number: u64,
    /// Files in the directory when last counted, and those written since.
    unread: usize,
    since_count: usize,
    last_written: Instant,
}

impl Reporter {
    /// Continues the numbers that the directory already holds.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub(crate) fn open(ipc: &Path) -> io::Result<Arc<Self>> {
        let directory = ipc.join(layout::PROGRESS);
        let (unread, last) = count(&directory)?;
        let state = State {
            run: 0,
            pending: Pending::default(),
            next_number: last + 1,
            unread,
            since_count: 0,
            last_written: Instant::now(),
        };
        Ok(Arc::new(Self { directory, state: Mutex::new(state), wake: Notify::new() }))
    }

    /// Says that a run begins: later signs belong to it.
    pub(crate) fn begin(&self, run: u64) {
        let mut state = self.state();
        self.flush(&mut state);
        state.run = run;
    }

    /// Writes everything that was said of the run, and goes idle.
    pub(crate) fn end(&self) {
        self.begin(0);
    }

    /// Says a sign soon: at once after a pause, else together with the next ones.
    pub(crate) fn say(&self, sign: Sign) {
        self.state().pending.push(sign);
        self.wake.notify_one();
    }

    /// Says a sign now.
    pub(crate) fn say_now(&self, sign: Sign) {
        self.say(sign);
        self.flush(&mut self.state());
    }

    /// Writes batches for as long as it is polled, and a heartbeat when a run is silent for so long.
    pub(crate) async fn run(self: Arc<Self>, heartbeat: Duration) {
        loop {
            let silent = tokio::time::timeout(heartbeat, self.wake.notified()).await.is_err();
            let quiet_until = {
                let mut state = self.state();
                if silent && state.run != 0 {
                    state.pending.push(Sign::Heartbeat);
                }
                state.last_written + PAUSE
            };
            tokio::time::sleep_until(quiet_until).await;
            self.flush(&mut self.state());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves at worst a sign out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, state: &mut State) {
        for signs in state.pending.take() {
            self.write(state, signs);
        }
    }

    fn write(&self, state: &mut State, mut signs: Vec<Sign>) {
        state.since_count += 1;
        if state.since_count >= COUNT_EVERY {
            state.unread = count(&self.directory).map_or(0, |(files, _)| files);
            state.since_count = 0;
        }
        let unread = state.unread + state.since_count;
        if unread > CROWDED_FILES {
            signs.retain(|sign| !matches!(sign, Sign::Text { .. }));
        }
        if signs.is_empty() || unread > FULL_FILES {
            return;
        }
        let name = format!("{:08}.json", state.next_number);
        state.next_number += 1;
        state.last_written = Instant::now();
        let written = serde_json::to_vec(&Progress { run: state.run, signs })
            .map_err(io::Error::from)
            .and_then(|bytes| {
                files::write_atomic(&self.directory, &name, &bytes, Durability::Volatile)
            });
        if let Err(error) = written {
            note(format_args!("cannot write progress: {error}"));
        }
    }
}

/// How many finished files the directory holds, and the highest number among them.
fn count(directory: &Path) -> io::Result<(usize, u64)> {
    let mut files = 0;
    let mut last = 0;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
        if let Some(number) = number {
            files += 1;
            last = last.max(number);
        }
    }
    Ok((files, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ipc: &Path) -> Vec<Progress> {
        let mut paths: Vec<_> = fs::read_dir(ipc.join(layout::PROGRESS))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| {
                let bytes = fs::read(path).unwrap();
                assert!(bytes.len() <= layout::MAX_FILE_BYTES);
                serde_json::from_slice(&bytes).unwrap()
            })
            .collect()
    }

    fn open() -> (tempfile::TempDir, Arc<Reporter>) {
        let ipc = tempfile::tempdir().unwrap();
        fs::create_dir(ipc.path().join(layout::PROGRESS)).unwrap();
        let reporter = Reporter::open(ipc.path()).unwrap();
        (ipc, reporter)
    }

    fn text(delta: &str) -> Sign {
        Sign::Text { delta: delta.to_owned() }
    }

    #[tokio::test]
    async fn text_is_joined_and_order_is_kept() {
        let (ipc, reporter) = open();
        reporter.say_now(Sign::Started);
        reporter.begin(3);
        for sign in [text("a"), text("b"), Sign::Ready { through: 1 }, text("c")] {
            reporter.say(sign);
        }
        reporter.end();
        let expected = [
            Progress { run: 0, signs: vec![Sign::Started] },
            Progress { run: 3, signs: vec![text("ab"), Sign::Ready { through: 1 }, text("c")] },
        ];
        assert_eq!(read(ipc.path()), expected);
    }

    #[tokio::test]
    async fn an_unread_directory_stays_bounded() {
        let (ipc, reporter) = open();
        for _ in 0..2 * FULL_FILES {
            reporter.say_now(text("x"));
        }
        let files = read(ipc.path()).len();
        assert!((CROWDED_FILES..=CROWDED_FILES + COUNT_EVERY).contains(&files), "{files}");
        for _ in 0..2 * FULL_FILES {
            reporter.say_now(Sign::Heartbeat);
        }
        let files = read(ipc.path()).len();
        assert!((FULL_FILES..=FULL_FILES + COUNT_EVERY).contains(&files), "{files}");
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart() {
        let (ipc, reporter) = open();
        reporter.say_now(Sign::Started);
        let again = Reporter::open(ipc.path()).unwrap();
        again.say_now(Sign::Started);
        assert_eq!(read(ipc.path()).len(), 2);
    }

    #[tokio::test]
    async fn a_silent_run_says_that_it_lives() {
        let (ipc, reporter) = open();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&reporter).run(Duration::from_millis(1)));
        let mut watch = crate::watch::Watch::new(&ipc.path().join(layout::PROGRESS));
        reporter.begin(3);
        while read(ipc.path()).len() < 3 {
            watch.changed().await;
        }
        reporter.end();
        let before = read(ipc.path());
        assert!(before.iter().all(|progress| progress.run == 3));
        assert!(before.iter().all(|progress| progress.signs == [Sign::Heartbeat]));
    }
}
