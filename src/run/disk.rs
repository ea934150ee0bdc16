//! How much grows what a sandbox may write to.
//!
//! Folders on the host's disk have no quota of their own, so all that a sandbox may write to are measured together
//! from time to time, from before its start until its end, during its runs and between them. What counts is the growth
//! since the last run ended: the size is the owner's affair. No message waits for a measure: they are taken beside the
//! runs, and the size at the end of one run is where the next begins. Where a measure takes longer than runs do, there
//! is still one at a time only, and the runs since the last known size are allowed their growth together.
//!
//! What people send lies in the same folders and is not the agent's doing: as much as the gateway puts there, they may
//! grow besides.
//!
//! The measure is rough on purpose, and stops an agent that fills the disk. A file that is removed while a program
//! holds it open is not seen; the end of the sandbox frees it.

use std::collections::HashMap;
use std::fs::ReadDir;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Bounds;
use super::outcome::Excess;
use crate::model::GroupName;
use crate::sandbox::{Access, SandboxSpec};

/// What an entry counts for, beside the blocks that its content takes up: many empty files are much as well.
const ENTRY_BYTES: u64 = 4096;
/// The most entries that are watched over; to walk through more would take seconds.
const MOST_ENTRIES: u64 = 2_000_000;
/// How deep folders are looked into; each level keeps a file open.
const MOST_LEVELS: usize = 128;
/// A measure takes one part in so many of the time at most.
const SHARE: u32 = 20;

/// Watches how much grows what a sandbox may write to.
pub(crate) struct Growth {
    folders: Arc<[PathBuf]>,
    bounds: Bounds,
    /// How much the gateway itself has put there.
    given: Arc<AtomicU64>,
    /// From where growth is counted, once it is known.
    first: Option<Size>,
    /// How many runs may have grown since then, the present one included.
    runs: u64,
    /// How many of them began after the measure that is being taken.
    later: u64,
    /// The measure that is being taken; never more than one, since it cannot be taken back.
    measuring: JoinSet<Measure>,
    /// Ends it early when nobody waits for it any more.
    abandoned: Arc<AtomicBool>,
    /// When the next one is due, and before when none is taken.
    next: Instant,
    earliest: Instant,
}

/// What all entries come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    bytes: u64,
    entries: u64,
    /// Folders that could not be looked into.
    hidden: u64,
    /// What the gateway had put there before it was counted.
    given: u64,
}

/// How much the gateway itself has put into the folder of each group since its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(Arc<Mutex<HashMap<GroupName, Arc<AtomicU64>>>>);

impl Given {
    /// Notes that a file of so many bytes is about to be put there.
    pub(crate) fn add(&self, group: &GroupName, bytes: u64) {
        // Its last block may be taken up in part only.
        let counted = bytes.saturating_add(2 * ENTRY_BYTES);
        self.of(group).fetch_add(counted, Ordering::Relaxed);
    }

    /// Notes that it did not come there after all.
    pub(crate) fn take_back(&self, group: &GroupName, bytes: u64) {
        self.of(group).fetch_sub(bytes.saturating_add(2 * ENTRY_BYTES), Ordering::Relaxed);
    }

    fn of(&self, group: &GroupName) -> Arc<AtomicU64> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.entry(group.clone()).or_default().clone()
    }
}

/// A size, and how long it took to find out.
struct Measure {
    size: Size,
    /// Whether it was ended before all was counted.
    cut: bool,
    took: Duration,
}

impl Growth {
    /// Begins to watch what a sandbox that is to start may write to.
    pub(super) fn begin(spec: &SandboxSpec, bounds: Bounds, given: &Given) -> Self {
        let writable = spec.mounts.iter().filter(|mount| mount.access == Access::ReadWrite);
        let folders = writable.map(|mount| mount.host.clone()).collect();
        Self::of(folders, bounds, given.of(&spec.group))
    }

    fn of(folders: Arc<[PathBuf]>, bounds: Bounds, given: Arc<AtomicU64>) -> Self {
        let now = Instant::now();
        let mut growth = Self {
            folders,
            bounds,
            given,
            first: None,
            runs: 1,
            later: 0,
            measuring: JoinSet::new(),
            abandoned: Arc::default(),
            next: now,
            earliest: now,
        };
        growth.measure();
        growth
    }

    /// Counts from now on, because a run has ended. Where the size cannot be found out now, because it is just being
    /// measured or that is too costly, it is counted on from the last known one, for one run more.
    pub(super) fn renew(&mut self) {
        if self.measuring.is_empty() && Instant::now() >= self.earliest {
            self.first = None;
            self.runs = 1;
            self.measure();
            return;
        }
        self.runs += 1;
        self.later += 1;
        self.next = self.next.min(self.earliest);
    }

    /// Returns once there is too much; may be dropped and called again.
    pub(super) async fn exceeded(&mut self) -> Excess {
        loop {
            let (size, cut) = self.measured().await;
            let first = *self.first.get_or_insert(size);
            if size.entries > MOST_ENTRIES {
                return Excess::Entries(MOST_ENTRIES);
            }
            if size.bytes > self.allowed(first) {
                return Excess::Bytes(self.bounds.growth);
            }
            if size.hidden > first.hidden {
                return Excess::Hidden;
            }
            if self.runs > 1 && !cut {
                // Runs that are over have kept within what they may; the present one is counted from here.
                self.first = Some(size);
                self.runs = 1 + self.later;
            }
        }
    }

    /// How much all that is counted may come to by now.
    fn allowed(&self, first: Size) -> u64 {
        let grown = self.bounds.growth.saturating_mul(self.runs);
        let given = self.given.load(Ordering::Relaxed).saturating_sub(first.given);
        first.bytes.saturating_add(grown).saturating_add(given)
    }

    /// The next size, and whether it is only a part. Nothing is lost when this is dropped: the measure goes on.
    async fn measured(&mut self) -> (Size, bool) {
        loop {
            if self.measuring.is_empty() {
                sleep_until(self.next).await;
                self.measure();
            }
            let measure = self.measuring.join_next().await;
            let now = Instant::now();
            self.next = now + self.bounds.measure;
            if let Some(Ok(Measure { size, cut, took })) = measure {
                self.earliest = now + took * SHARE;
                self.next = self.next.max(self.earliest);
                return (size, cut);
            }
        }
    }

    /// Begins a measure; there must be none.
    fn measure(&mut self) {
        self.later = 0;
        let (folders, abandoned) = (self.folders.clone(), self.abandoned.clone());
        let given = self.given.clone();
        let enough = self.first.map_or(u64::MAX, |first| self.allowed(first));
        self.measuring.spawn_blocking(move || {
            let begun = std::time::Instant::now();
            let before = given.load(Ordering::Relaxed);
            let (size, cut) =
                measure(&folders, |size| size.bytes > enough || abandoned.load(Ordering::Relaxed));
            Measure { size: Size { given: before, ..size }, cut, took: begun.elapsed() }
        });
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// What all entries below some folders come to, links not followed, and whether that was only a part: counted until
/// it is `enough`, or more than [`MOST_ENTRIES`].
fn measure(folders: &[PathBuf], enough: impl Fn(&Size) -> bool) -> (Size, bool) {
    let mut size = Size::default();
    let mut open: Vec<ReadDir> = Vec::new();
    for folder in folders {
        size.enter(folder.clone(), &mut open);
        while let Some(entries) = open.last_mut() {
            if enough(&size) || size.entries > MOST_ENTRIES {
                return (size, true);
            }
            match entries.next() {
                None => drop(open.pop()),
                Some(Ok(entry)) => {
                    // It may be gone again.
                    let Ok(metadata) = entry.metadata() else { continue };
                    // A file of several names is counted a part for each.
                    let bytes = metadata.blocks().saturating_mul(512) / metadata.nlink().max(1);
                    size.entries += 1;
                    if metadata.is_dir() {
                        size.bytes = size.bytes.saturating_add(ENTRY_BYTES);
                        size.enter(entry.path(), &mut open);
                    } else {
                        size.bytes = size.bytes.saturating_add(bytes).saturating_add(ENTRY_BYTES);
                    }
                }
                Some(Err(_)) => {
                    size.hidden += 1;
                    open.pop();
                }
            }
        }
    }
    (size, false)
}

impl Size {
    /// Goes down into a folder, or notes that it cannot.
    fn enter(&mut self, folder: PathBuf, open: &mut Vec<ReadDir>) {
        if open.len() >= MOST_LEVELS {
            self.hidden += 1;
            return;
        }
        match std::fs::read_dir(folder) {
            Ok(entries) => open.push(entries),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => self.hidden += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(path: &Path, bytes: usize) {
        std::fs::write(path, vec![1; bytes]).unwrap();
    }

    fn size(folder: &Path) -> Size {
        measure(&[folder.to_owned()], |_| false).0
    }

    #[test]
    fn all_folders_count_and_links_are_not_followed() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&one.path().join("a"), 100_000);
        std::fs::create_dir(two.path().join("sub")).unwrap();
        write(&two.path().join("sub/b"), 50_000);
        let folders = [one.path().to_owned(), two.path().to_owned()];
        let before = measure(&folders, |_| false).0;
        assert!((150_000..200_000).contains(&before.bytes), "{before:?}");
        assert_eq!((before.entries, before.hidden), (3, 0));
        std::os::unix::fs::symlink("/usr", one.path().join("usr")).unwrap();
        std::fs::hard_link(one.path().join("a"), one.path().join("again")).unwrap();
        assert!(measure(&folders, |_| false).0.bytes <= before.bytes + 3 * ENTRY_BYTES);
        let (part, cut) = measure(&folders, |size| size.bytes > 60_000);
        assert!(cut && part.bytes < before.bytes, "enough is enough");
    }

    #[test]
    fn empty_files_are_much_and_what_is_too_deep_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100 {
            write(&dir.path().join(number.to_string()), 0);
        }
        assert_eq!(size(dir.path()).bytes, 100 * ENTRY_BYTES);
        let mut deep = dir.path().to_owned();
        for _ in 0..MOST_LEVELS {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(size(dir.path()).hidden, 1);
    }

    #[tokio::test]
    async fn growth_counts_from_the_start_and_again_from_the_end_of_a_run() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("old"), 1_000_000);
        let bounds =
            Bounds { growth: 100_000, measure: Duration::from_millis(1), ..Bounds::default() };
        let mut growth = Growth::of([dir.path().to_owned()].into(), bounds, Arc::default());
        let calm = tokio::time::timeout(Duration::from_millis(50), growth.exceeded()).await;
        assert!(calm.is_err(), "a large folder that does not grow is no fault: {calm:?}");
        write(&dir.path().join("new"), 80_000);
        let calm = tokio::time::timeout(Duration::from_millis(50), growth.exceeded()).await;
        assert!(calm.is_err(), "{calm:?}");
        growth.renew();
        let calm = tokio::time::timeout(Duration::from_millis(50), growth.exceeded()).await;
        assert!(calm.is_err(), "{calm:?}");
        for number in 0..30 {
            write(&dir.path().join(number.to_string()), 0);
        }
        assert_eq!(growth.exceeded().await, Excess::Bytes(100_000));
    }

    #[tokio::test]
    async fn what_people_send_is_not_the_agents_growth() {
        let dir = tempfile::tempdir().unwrap();
        let bounds =
            Bounds { growth: 100_000, measure: Duration::from_millis(1), ..Bounds::default() };
        let (given, team) = (Given::default(), "team".parse().unwrap());
        given.add(&team, 1_000_000);
        let mut growth = Growth::of([dir.path().to_owned()].into(), bounds, given.of(&team));
        for number in 0..3 {
            let calm = tokio::time::timeout(Duration::from_millis(50), growth.exceeded()).await;
            assert!(calm.is_err(), "{calm:?}");
            given.add(&team, 200_000);
            given.add(&"other".parse().unwrap(), 10_000_000);
            write(&dir.path().join(format!("sent {number}")), 200_000);
        }
        write(&dir.path().join("made"), 150_000);
        assert_eq!(growth.exceeded().await, Excess::Bytes(100_000));
    }

    /// Growth whose measure is under way as long as the sender lives, then finds this size.
    fn under_way(folder: &Path, bounds: Bounds) -> (Growth, std::sync::mpsc::Sender<Size>) {
        let mut growth = Growth::of([folder.to_owned()].into(), bounds, Arc::default());
        let (tx, rx) = std::sync::mpsc::channel();
        growth.measuring = JoinSet::new();
        growth.measuring.spawn_blocking(move || Measure {
            size: rx.recv().unwrap(),
            cut: false,
            took: Duration::ZERO,
        });
        (growth, tx)
    }

    #[tokio::test]
    async fn runs_that_are_shorter_than_a_measure_have_one_at_a_time_and_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let bounds =
            Bounds { growth: 100_000, measure: Duration::from_millis(1), ..Bounds::default() };
        let (mut growth, found) = under_way(dir.path(), bounds);
        for _ in 0..2 {
            growth.renew();
            assert_eq!(growth.measuring.len(), 1, "the measure under way is kept");
        }
        found.send(Size::default()).unwrap();
        let calm = tokio::time::timeout(Duration::from_millis(50), growth.exceeded()).await;
        assert!(calm.is_err(), "{calm:?}");
        write(&dir.path().join("new"), 200_000);
        assert_eq!(growth.exceeded().await, Excess::Bytes(100_000));
    }

    #[tokio::test]
    async fn until_the_size_is_known_anew_the_runs_since_may_grow_together() {
        let dir = tempfile::tempdir().unwrap();
        let bounds =
            Bounds { growth: 100_000, measure: Duration::from_millis(1), ..Bounds::default() };
        for (grown, calm) in [(180_000, true), (220_000, false)] {
            let (mut growth, found) = under_way(dir.path(), bounds);
            growth.first = Some(Size::default());
            growth.renew();
            found.send(Size { bytes: grown, ..Size::default() }).unwrap();
            let result = tokio::time::timeout(Duration::from_millis(50), growth.exceeded()).await;
            assert_eq!(result.is_err(), calm, "{grown}: {result:?}");
        }
    }

    #[tokio::test]
    async fn nobody_walks_on_for_a_sandbox_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let growth = Growth::of([dir.path().to_owned()].into(), Bounds::default(), Arc::default());
        let abandoned = growth.abandoned.clone();
        drop(growth);
        assert!(abandoned.load(Ordering::Relaxed));
        let entry = dir.path().join("a");
        write(&entry, 0);
        let (size, cut) = measure(&[dir.path().to_owned()], |_| abandoned.load(Ordering::Relaxed));
        assert_eq!((size.entries, cut), (0, true));
    }
}
