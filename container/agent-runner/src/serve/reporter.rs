//! Writes `progress/`: signs of life, in batches, so that a stream of words is not a storm of files.
//!
//! Order is kept, and the directory stays bounded when nobody reads it: first the pieces of text are left out,
//! then everything. `done.json` does not go through here and is never left out.

use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{Progress, Sign, layout};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::files::{self, Durability};
use crate::note;

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
/// The most bytes of text in one sign. JSON may need six bytes for one, and a file must stay under
/// [`layout::MAX_FILE_BYTES`].
const MAX_TEXT_BYTES: usize = 32 * 1024;
/// The most bytes of an encoded batch before its last sign.
const MAX_BATCH_BYTES: usize = 32 * 1024;
/// The most bytes of a summary or a reason.
const MAX_NOTE_BYTES: usize = 512;

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
    pending: Vec<Sign>,
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
            pending: Vec::new(),
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
        let mut state = self.state();
        match sign {
            Sign::Text { delta } => state.push_text(&delta),
            Sign::Tool { name, summary } => state.pending.push(Sign::Tool {
                name: files::cut(&name, MAX_NOTE_BYTES).to_owned(),
                summary: files::cut(&summary, MAX_NOTE_BYTES).to_owned(),
            }),
            Sign::Waiting { reason } => state
                .pending
                .push(Sign::Waiting { reason: files::cut(&reason, MAX_NOTE_BYTES).to_owned() }),
            Sign::FreshSession { reason } => state.pending.push(Sign::FreshSession {
                reason: files::cut(&reason, MAX_NOTE_BYTES).to_owned(),
            }),
            Sign::Started | Sign::Accepted | Sign::Heartbeat | Sign::Ready => {
                state.pending.push(sign);
            }
        }
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
        for signs in batches(mem::take(&mut state.pending)) {
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

impl State {
    /// Adds text, to the last sign where that is text too.
    fn push_text(&mut self, mut text: &str) {
        while !text.is_empty() {
            if let Some(Sign::Text { delta }) = self.pending.last_mut() {
                let piece = files::cut(text, MAX_TEXT_BYTES.saturating_sub(delta.len()));
                delta.push_str(piece);
                text = text.get(piece.len()..).unwrap_or_default();
            }
            if !text.is_empty() {
                self.pending.push(Sign::Text { delta: String::new() });
            }
        }
    }
}

/// Divides signs into files that stay under [`layout::MAX_FILE_BYTES`].
fn batches(signs: Vec<Sign>) -> Vec<Vec<Sign>> {
    let mut batches: Vec<Vec<Sign>> = Vec::new();
    let mut bytes = 0;
    for sign in signs {
        let size = serde_json::to_vec(&sign).map_or(0, |json| json.len());
        match batches.last_mut() {
            Some(batch) if bytes < MAX_BATCH_BYTES => {
                batch.push(sign);
                bytes += size;
            }
            _ => {
                batches.push(vec![sign]);
                bytes = size;
            }
        }
    }
    batches
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
        for sign in [text("a"), text("b"), Sign::Ready, text("c")] {
            reporter.say(sign);
        }
        reporter.end();
        let expected = [
            Progress { run: 0, signs: vec![Sign::Started] },
            Progress { run: 3, signs: vec![text("ab"), Sign::Ready, text("c")] },
        ];
        assert_eq!(read(ipc.path()), expected);
    }

    #[tokio::test]
    async fn long_text_is_divided_into_files_a_gateway_accepts() {
        let (ipc, reporter) = open();
        // A control character takes six bytes in JSON.
        let long = "\u{1}".repeat(5 * MAX_TEXT_BYTES + 7);
        reporter.begin(3);
        reporter.say(text(&long));
        reporter.end();
        let back: String = read(ipc.path())
            .into_iter()
            .flat_map(|progress| progress.signs)
            .map(|sign| match sign {
                Sign::Text { delta } => delta,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(back, long);
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
