//! Limits by cgroup, where the gateway may make one: as root in either version, else in a subtree of version 2 that
//! was delegated to it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::debug;

use crate::model::SandboxId;
use crate::sandbox::Limits;

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// The period of processor quotas, in microseconds.
const PERIOD: u64 = 100_000;
/// The controllers that we need in version 2.
const CONTROLLERS: &str = "+cpu +memory +pids";
/// The leaf for the gateway itself, beside its sandboxes; `DelegateSubgroup=` in systemd/hermitcrab.service.
const LEAF: &str = "gateway";
/// How often a cgroup is tried to be removed whose last process is just going.
const REMOVALS: u32 = 100;
/// The pause between two such tries.
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// What is said when there is none.
const NO_CGROUP: [&str; 2] = [
    "memory is limited for each program alone and not for a sandbox as a whole, because no cgroup can be made here \
     (run as root, or as a service with Delegate=yes)",
    "processor time is not limited, because no cgroup can be made here",
];

/// Where cgroups for sandboxes can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cgroups {
    /// Version 1: a folder in the hierarchy of each controller.
    Split {
        /// In that of memory.
        memory: PathBuf,
        /// In that of processes.
        pids: PathBuf,
        /// In that of processors, where there is one.
        cpu: Option<PathBuf>,
    },
    /// Version 2: one folder.
    Unified(PathBuf),
}

/// The cgroup of one sandbox; it need not exist.
#[derive(Debug)]
pub(super) struct Cgroup {
    at: Cgroups,
}

/// Finds a place for cgroups by trying; otherwise says what cannot be enforced.
pub(super) fn find(install: &str) -> (Option<Cgroups>, Vec<String>) {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let name = format!("hermitcrab-{install}");
    for place in places(Path::new(ROOT), &own, &name) {
        match place.try_out() {
            Ok(()) => return (Some(place), Vec::new()),
            Err(error) => debug!(%error, ?place, "no cgroup can be made here"),
        }
    }
    (None, NO_CGROUP.map(str::to_owned).to_vec())
}

/// The places that are worth a try, the best first; `own` is what `/proc/self/cgroup` says.
fn places(root: &Path, own: &str, name: &str) -> Vec<Cgroups> {
    if root.join("cgroup.controllers").exists() {
        let delegated = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .map(|path| Cgroups::Unified(root.join(delegated(path)).join(name)));
        return [Some(Cgroups::Unified(root.join(name))), delegated]
            .into_iter()
            .flatten()
            .collect();
    }
    let (memory, pids, cpu) = (root.join("memory"), root.join("pids"), root.join("cpu"));
    if !memory.is_dir() || !pids.is_dir() {
        return Vec::new();
    }
    let cpu = cpu.is_dir().then(|| cpu.join(name));
    vec![Cgroups::Split { memory: memory.join(name), pids: pids.join(name), cpu }]
}

/// The part of version 2 that may be ours, by the cgroup that we are in: this one, or the one above when we are in its
/// leaf already, be it by `DelegateSubgroup=` of the unit or because [`hand_down_controllers`] moved us there.
fn delegated(own: &str) -> &str {
    match own.rsplit_once('/') {
        Some((above, LEAF)) => above,
        _ => own,
    }
}

impl Cgroups {
    /// The cgroup of a sandbox.
    pub(super) fn of(&self, id: &SandboxId) -> Cgroup {
        Cgroup { at: self.joined(id.as_str()) }
    }

    /// Removes the cgroups of sandboxes that are `gone`, as far as no process is in them.
    pub(super) fn tidy(&self, gone: impl Fn(&SandboxId) -> bool) {
        for folder in self.folders() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_folder && id.as_ref().is_some_and(&gone) {
                    remove_empty(&entry.path());
                }
            }
        }
        self.leave();
    }

    /// Removes the folders of the install, where no sandbox is left in them.
    pub(super) fn leave(&self) {
        self.folders().into_iter().for_each(remove_empty);
    }

    fn folders(&self) -> Vec<&Path> {
        match self {
            Self::Split { memory, pids, cpu } => [Some(memory), Some(pids), cpu.as_ref()]
                .into_iter()
                .flatten()
                .map(AsRef::as_ref)
                .collect(),
            Self::Unified(folder) => vec![folder],
        }
    }

    /// Makes a cgroup and removes it again.
    fn try_out(&self) -> io::Result<()> {
        if let Self::Unified(folder) = self {
            hand_down_controllers(folder)?;
        }
        for folder in self.folders() {
            make(folder)?;
        }
        let trial = Cgroup { at: self.joined("trial") };
        let made = trial.create().and_then(|()| trial.limit(&Limits::default()));
        for folder in trial.at.folders() {
            std::fs::remove_dir(folder)?;
        }
        self.leave();
        made
    }

    fn joined(&self, name: &str) -> Self {
        match self {
            Self::Split { memory, pids, cpu } => Self::Split {
                memory: memory.join(name),
                pids: pids.join(name),
                cpu: cpu.as_ref().map(|cpu| cpu.join(name)),
            },
            Self::Unified(folder) => Self::Unified(folder.join(name)),
        }
    }
}

impl Cgroup {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn create(&self) -> io::Result<()> {
        for folder in self.at.folders() {
            make(folder)?;
        }
        if let Cgroups::Unified(folder) = &self.at
            && let Some(install) = folder.parent()
        {
            // The folder of the install may have gone with its last sandbox.
            write(install, "cgroup.subtree_control", CONTROLLERS)?;
        }
        Ok(())
    }

    /// Sets these limits for what is in it.
    ///
    /// # Errors
    /// When one cannot be set.
    pub(super) fn limit(&self, limits: &Limits) -> io::Result<()> {
        let (memory, pids) = (limits.memory_bytes.to_string(), limits.pids.to_string());
        let quota = u64::from(limits.milli_cpus) * PERIOD / 1000;
        match &self.at {
            Cgroups::Split { memory: folder, pids: pids_folder, cpu } => {
                write(folder, "memory.limit_in_bytes", &memory)?;
                // Memory and swap together, where swap is counted at all.
                write_if_there(folder, "memory.memsw.limit_in_bytes", &memory)?;
                write(pids_folder, "pids.max", &pids)?;
                if let Some(cpu) = cpu {
                    write(cpu, "cpu.cfs_period_us", &PERIOD.to_string())?;
                    write(cpu, "cpu.cfs_quota_us", &quota.to_string())?;
                }
            }
            Cgroups::Unified(folder) => {
                write(folder, "memory.max", &memory)?;
                write_if_there(folder, "memory.swap.max", "0")?;
                write(folder, "pids.max", &pids)?;
                write(folder, "cpu.max", &format!("{quota} {PERIOD}"))?;
            }
        }
        Ok(())
    }

    /// Starts a process in it, where that can be done: in version 1, by a thread that has gone inside.
    ///
    /// A thread that moves itself costs a fraction of a millisecond. To move another process takes a lock that all starts
    /// of programs on the machine wait for, ten milliseconds as measured; in version 2 there is only that, by
    /// [`Self::enter`].
    ///
    /// # Errors
    /// When the thread cannot be moved, and what `start` comes to.
    pub(super) fn start_inside<T: Send>(
        &self,
        start: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        if matches!(self.at, Cgroups::Unified(_)) {
            return start();
        }
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                for folder in self.at.folders() {
                    write(folder, "tasks", "0")?;
                }
                start()
            });
            thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the start panicked")))
        })
    }

    /// Puts a process into it, unless it is in there; what that starts from now on is in it as well.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub(super) fn enter(&self, pid: u32) -> io::Result<()> {
        let pid = pid.to_string();
        for folder in self.at.folders() {
            let inside = std::fs::read_to_string(folder.join("cgroup.procs"))?;
            // Moving a process makes every start of a program on the machine wait: not without need.
            if !inside.lines().any(|line| line == pid) {
                write(folder, "cgroup.procs", &pid)?;
            }
        }
        Ok(())
    }

    /// Whether the kernel has killed a process in it because memory ran out.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let (folder, file) = match &self.at {
            Cgroups::Split { memory, .. } => (memory, "memory.oom_control"),
            Cgroups::Unified(folder) => (folder, "memory.events"),
        };
        let counts = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let kills = counts.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|kills| kills.trim() != "0")
    }

    /// Removes what there is of one that could not be made.
    pub(super) fn abandon(&self) {
        self.at.folders().into_iter().for_each(remove_empty);
    }

    /// Removes it, once its last process is gone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) async fn remove(&self) -> io::Result<()> {
        for folder in self.at.folders() {
            let mut tries = REMOVALS;
            loop {
                match std::fs::remove_dir(folder) {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    Err(error) if error.kind() == ErrorKind::ResourceBusy && tries > 0 => {}
                    Err(error) => return Err(error),
                }
                tries -= 1;
                tokio::time::sleep(REMOVAL_PAUSE).await;
            }
            // The folder of the install goes with its last sandbox.
            folder.parent().into_iter().for_each(remove_empty);
        }
        Ok(())
    }
}

/// Removes a cgroup that has neither processes nor cgroups in it; another stays, as the kernel sees to.
fn remove_empty(folder: &Path) {
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            debug!(%error, folder = %folder.display(), "a cgroup stays");
        }
        _ => {}
    }
}

/// Lets the folder that will hold our cgroups use the controllers.
///
/// A cgroup of version 2 that has processes hands nothing down. Under systemd 254 or later the unit puts us into a leaf
/// from the start, so that a new gateway finds its place there while sandboxes of an earlier one keep the controllers in
/// use. Elsewhere we move into such a leaf first; if others are in the cgroup as well, that fails, and with it the try.
fn hand_down_controllers(folder: &Path) -> io::Result<()> {
    let Some(parent) = folder.parent() else { return Ok(()) };
    let handed = std::fs::read_to_string(parent.join("cgroup.subtree_control"))?;
    if ["cpu", "memory", "pids"]
        .iter()
        .all(|name| handed.split_whitespace().any(|word| word == *name))
    {
        return Ok(());
    }
    if write(parent, "cgroup.subtree_control", CONTROLLERS).is_ok() {
        return Ok(());
    }
    let leaf = parent.join(LEAF);
    make(&leaf)?;
    let own = std::process::id().to_string();
    write(&leaf, "cgroup.procs", &own)?;
    write(parent, "cgroup.subtree_control", CONTROLLERS).inspect_err(|_busy| {
        if let Err(error) = write(parent, "cgroup.procs", &own) {
            debug!(%error, "the gateway stays in a cgroup of its own");
        }
    })
}

/// Makes a folder, and those above it: the install's own may have gone with its last sandbox just now.
fn make(folder: &Path) -> io::Result<()> {
    let mut tries = REMOVALS;
    loop {
        match std::fs::create_dir_all(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound && tries > 0 => tries -= 1,
            other => return other,
        }
    }
}

fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    std::fs::write(folder.join(file), value)
}

fn write_if_there(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    if folder.join(file).exists() { write(folder, file, value) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_version_of_the_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(places(root, "", "x"), []);
        for controller in ["memory", "pids"] {
            std::fs::create_dir(root.join(controller)).unwrap();
        }
        let split =
            Cgroups::Split { memory: root.join("memory/x"), pids: root.join("pids/x"), cpu: None };
        assert_eq!(places(root, "4:memory:/\n0::/\n", "x"), [split]);
        std::fs::write(root.join("cgroup.controllers"), "cpu memory pids").unwrap();
        let unified = |path: &str| Cgroups::Unified(root.join(path));
        let own = "0::/user.slice/hermitcrab.service\n";
        assert_eq!(
            places(root, own, "x"),
            [unified("x"), unified("user.slice/hermitcrab.service/x")]
        );
        // In the leaf that the unit gives to the gateway, the sandboxes are beside it.
        assert_eq!(
            places(root, "0::/user.slice/hermitcrab.service/gateway\n", "x"),
            [unified("x"), unified("user.slice/hermitcrab.service/x")]
        );
        assert_eq!(places(root, "0::/gateway\n", "x")[1], unified("gateway/x"));
    }

    #[test]
    fn the_unit_puts_the_gateway_into_the_leaf_that_is_looked_for() {
        let unit = include_str!("../../../systemd/hermitcrab.service");
        assert!(unit.lines().any(|line| line == format!("DelegateSubgroup={LEAF}")), "{unit}");
        assert!(unit.lines().any(|line| line == "Delegate=yes"), "{unit}");
    }

    #[test]
    fn what_is_left_of_sandboxes_that_are_gone_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name).join("install");
        let cgroups = Cgroups::Split { memory: at("memory"), pids: at("pids"), cpu: None };
        for name in ["memory", "pids"] {
            for id in ["gone", "live"] {
                std::fs::create_dir_all(at(name).join(id)).unwrap();
            }
            // A folder that is not empty stands for a cgroup in which a process is left.
            std::fs::create_dir_all(at(name).join("busy/process")).unwrap();
        }
        cgroups.tidy(|id| id.as_str() != "live");
        for name in ["memory", "pids"] {
            let left = ["gone", "live", "busy"].map(|id| at(name).join(id).exists());
            assert_eq!(left, [false, true, true], "{name}");
            std::fs::remove_dir_all(at(name).join("busy")).unwrap();
        }
        cgroups.leave();
        assert!(at("memory").exists());
        cgroups.tidy(|_| true);
        assert!(!at("memory").exists() && !at("pids").exists());
    }

    /// The kernel's side of version 2 is not here: this holds what we write against its documentation.
    #[test]
    fn limits_of_version_2_are_written_as_documented() {
        let root = tempfile::tempdir().unwrap();
        let at = Cgroups::Unified(root.path().to_owned());
        let cgroup = at.of(&"s1".parse().unwrap());
        cgroup.create().unwrap();
        cgroup.limit(&Limits { milli_cpus: 1_500, ..Limits::default() }).unwrap();
        let read = |file| std::fs::read_to_string(root.path().join("s1").join(file)).unwrap();
        assert_eq!(read("memory.max"), "2147483648");
        assert_eq!(read("pids.max"), "512");
        assert_eq!(read("cpu.max"), "150000 100000");
        for (events, expected) in [("oom 1\noom_kill 0\n", false), ("oom 1\noom_kill 2\n", true)] {
            std::fs::write(root.path().join("s1/memory.events"), events).unwrap();
            assert_eq!(cgroup.ran_out_of_memory(), expected);
        }
    }
}
