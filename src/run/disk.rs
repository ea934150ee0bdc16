//! How much a group's folder grows while a run is under way.
//!
//! A folder on the host's disk has no quota of its own, so it is measured from time to time. The measure is rough on
//! purpose: it stops an agent that fills the disk, and costs nothing for a run that is over before the first look.

use std::path::{Path, PathBuf};

use tokio::time::{Instant, sleep_until};

use super::Bounds;

/// The most entries that one measure looks at.
const MOST_ENTRIES: usize = 200_000;

/// Measures a folder while a run is under way.
pub(super) struct Growth {
    folder: PathBuf,
    bounds: Bounds,
    next: Instant,
    first: Option<u64>,
}

impl Growth {
    /// A measure of this folder; nothing is looked at yet.
    pub(super) fn new(folder: PathBuf, bounds: Bounds) -> Self {
        Self { folder, bounds, next: Instant::now() + bounds.measure, first: None }
    }

    /// Returns once the folder has grown by more than it may; may be dropped and called again.
    pub(super) async fn exceeded(&mut self) {
        loop {
            sleep_until(self.next).await;
            let folder = self.folder.clone();
            let begun = Instant::now();
            let Ok(size) = tokio::task::spawn_blocking(move || measure(&folder)).await else {
                std::future::pending::<()>().await;
                return;
            };
            // A folder that takes long to measure is measured less often: never more than a twentieth of the time.
            self.next = Instant::now() + self.bounds.measure.max(begun.elapsed() * 20);
            let first = *self.first.get_or_insert(size);
            if size.saturating_sub(first) > self.bounds.growth {
                return;
            }
        }
    }
}

/// The bytes of all files below a folder, links not followed; what cannot be read does not count.
fn measure(folder: &Path) -> u64 {
    let mut folders = vec![folder.to_owned()];
    let mut entries = 0;
    let mut bytes = 0_u64;
    while let Some(folder) = folders.pop() {
        let Ok(listing) = std::fs::read_dir(&folder) else { continue };
        for entry in listing.flatten() {
            entries += 1;
            if entries > MOST_ENTRIES {
                return bytes;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => {
                    use std::os::unix::fs::MetadataExt;
                    bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
                }
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), vec![1; 100_000]).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/b"), vec![1; 50_000]).unwrap();
        let before = measure(dir.path());
        assert!((150_000..400_000).contains(&before), "{before}");
        std::os::unix::fs::symlink("/usr", dir.path().join("usr")).unwrap();
        assert!(measure(dir.path()) < before + 10_000);
    }

    #[tokio::test]
    async fn growth_counts_and_size_does_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("old"), vec![1; 1_000_000]).unwrap();
        let bounds =
            Bounds { growth: 100_000, measure: Duration::from_millis(1), ..Bounds::default() };
        let mut growth = Growth::new(dir.path().to_owned(), bounds);
        let quiet = tokio::time::timeout(Duration::from_millis(50), growth.exceeded()).await;
        assert!(quiet.is_err(), "a large folder that does not grow is no fault");
        std::fs::write(dir.path().join("new"), vec![1; 200_000]).unwrap();
        growth.exceeded().await;
    }
}
