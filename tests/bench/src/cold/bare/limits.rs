//! The cgroups of a sandbox of the daemonless kind, made a second time with the same limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// The files that hold a limit, in version 1 and version 2.
const FILES: [&str; 6] = [
    "memory.limit_in_bytes",
    "memory.max",
    "pids.max",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.max",
];
const LOOK: Duration = Duration::from_millis(5);

/// One cgroup of ours, like one of the gateway's.
pub(super) struct Limit {
    folder: PathBuf,
    values: Vec<(&'static str, String)>,
}

/// Those of a sandbox, one for each hierarchy; none where the gateway can make none.
///
/// # Errors
/// When they cannot be read.
pub(super) fn of(sandbox: &str) -> io::Result<Vec<Limit>> {
    let root = Path::new(ROOT);
    let mut hierarchies = vec![root.to_owned()];
    hierarchies.extend(folders(root)?);
    let mut limits = Vec::new();
    for hierarchy in hierarchies {
        for install in folders(&hierarchy)? {
            let theirs = install.join(sandbox);
            // A link leads to a hierarchy that has been seen under its own name.
            if hierarchy.is_symlink() || !theirs.is_dir() {
                continue;
            }
            let read = |file| Some((file, fs::read_to_string(theirs.join(file)).ok()?));
            let values = FILES.into_iter().filter_map(read).collect();
            limits.push(Limit { folder: install.join(format!("{sandbox}-bare")), values });
        }
    }
    Ok(limits)
}

impl Limit {
    /// Makes it.
    pub(super) fn make(&self) -> io::Result<()> {
        fs::create_dir(&self.folder)?;
        self.values.iter().try_for_each(|(file, value)| fs::write(self.folder.join(file), value))
    }

    /// Moves this thread into it, the cheapest way in: what it starts is in there from its first moment. Version 2 moves
    /// whole processes only, and the bench cannot go inside itself.
    fn enter(&self) -> io::Result<()> {
        let tasks = self.folder.join("tasks");
        if tasks.exists() { fs::write(tasks, "0") } else { Ok(()) }
    }

    /// Removes it, once its last process is gone.
    pub(super) async fn remove(&self) -> io::Result<()> {
        loop {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                removed => return removed,
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Starts something within these limits.
pub(super) fn start_inside<T: Send>(
    limits: &[Limit],
    start: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            limits.iter().try_for_each(Limit::enter)?;
            start()
        });
        thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the start panicked")))
    })
}

fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path)?.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(entries.filter(|path| path.is_dir()).collect())
}
