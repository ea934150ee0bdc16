//! Which folders of the host a group may have beside its own: the owner's allow-list, closed by default.
//!
//! The list lies outside every home of ours and is never mounted. A path is judged as it was asked for and as it
//! really is, all links followed, and the real one is what is mounted. What this cannot see: whoever may write above
//! a path on the host can exchange it between the decision and the mount, so a folder within one that some agent may
//! write is not a safe thing to allow.

mod list;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use protocol::layout;

use self::list::AllowList;
use super::{Access, Mount};
use crate::config::Settings;
use crate::model::{GroupName, MountRequest};

/// Places of the system that are mounted neither themselves, nor from within, nor from above: what leads out of any
/// sandbox, or holds what every program of the host trusts.
const SYSTEM: [&str; 9] = [
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/run",
    "/sys",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/run",
];

/// Where the allow-list lies below its owner's home.
const LIST_IN_HOME: &str = ".config/hermitcrab/mount-allowlist.json";

/// A mount that is not allowed, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    path: PathBuf,
    reason: String,
}

impl Refusal {
    /// This request is refused for this reason.
    pub(super) fn new(request: &MountRequest, reason: impl Into<String>) -> Self {
        Self { path: request.host_path.clone(), reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not mounted: {}", self.path, self.reason)
    }
}

/// The allow-list, and what is never mounted whatever it says.
#[derive(Debug)]
pub(super) struct Policy {
    /// The list, or why there is none.
    list: Result<AllowList, String>,
    /// What `~` is.
    home: Option<PathBuf>,
    /// Places that are neither mounted themselves, nor from within, nor from above.
    closed: Vec<PathBuf>,
}

impl Policy {
    /// Reads the allow-list that the settings name.
    pub(super) fn load(settings: &Settings) -> Self {
        let path = &settings.sandbox.mount_allowlist;
        let home = owner_home(path);
        let mut closed: Vec<_> = SYSTEM.map(PathBuf::from).to_vec();
        closed.extend([settings.home.clone(), settings.store_dir(), settings.groups_dir()]);
        closed.extend(path.parent().map(Path::to_owned));
        if let Some(socket) = settings.sandbox.docker_host.as_deref() {
            closed.extend(socket.strip_prefix("unix://").map(PathBuf::from));
        }
        Self::new(list::load(path, home), home.map(Path::to_owned), closed)
    }

    /// A policy of these parts; what is closed is closed under its real name too.
    fn new(
        list: Result<AllowList, String>,
        home: Option<PathBuf>,
        mut closed: Vec<PathBuf>,
    ) -> Self {
        let real: Vec<_> = closed.iter().filter_map(|path| path.canonicalize().ok()).collect();
        closed.extend(real);
        Self { list, home, closed }
    }

    /// Decides about one mount.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub(super) fn decide(
        &self,
        group: &GroupName,
        request: &MountRequest,
    ) -> Result<Mount, Refusal> {
        let refuse = |reason: String| Refusal { path: request.host_path.clone(), reason };
        let asked = expand(&request.host_path, self.home.as_deref());
        let list = self.list.as_ref().map_err(|why| {
            // Whoever writes the list should not learn only then that there is nothing to allow.
            let is_gone = |asked: &PathBuf| asked.try_exists().is_ok_and(|there| !there);
            let gone = if asked.as_ref().is_ok_and(is_gone) {
                ", and what is asked for is not there either"
            } else {
                ""
            };
            refuse(format!("{why}{gone}"))
        })?;
        let inside = inside(&request.container_path).map_err(refuse)?;
        let asked = asked.map_err(refuse)?;
        let real = asked.canonicalize().map_err(|error| {
            refuse(match error.kind() {
                ErrorKind::NotFound => "it is not there".to_owned(),
                _ => error.to_string(),
            })
        })?;
        let metadata = real.metadata().map_err(|error| refuse(error.to_string()))?;
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(refuse("it is neither a folder nor a file".to_owned()));
        }
        let access = self.judge(list, group, request, [&asked, &real]).map_err(refuse)?;
        Ok(Mount { host: real, inside, access })
    }

    /// The rules, on a path as it was asked for and as it really is; nothing is looked up here.
    fn judge(
        &self,
        list: &AllowList,
        group: &GroupName,
        request: &MountRequest,
        [asked, real]: [&Path; 2],
    ) -> Result<Access, String> {
        if real.parent().is_none() {
            return Err("it is the root of the host".to_owned());
        }
        for path in [asked, real] {
            if let Some(closed) = self.closed.iter().find(|closed| overlap(closed, path)) {
                return Err(format!("{} is never mounted", closed.display()));
            }
            if let Some(pattern) = list.blocks(path) {
                return Err(format!("its path has {pattern:?} in it"));
            }
        }
        if self.home.as_ref().is_some_and(|home| home.starts_with(real)) {
            return Err("the owner's home is never mounted whole".to_owned());
        }
        let root = list.root_of(real).ok_or("no allowed root holds it")?;
        let writable = !request.readonly
            && root.allow_read_write
            && (group.is_main() || !list.non_main_read_only);
        Ok(if writable { Access::ReadWrite } else { Access::ReadOnly })
    }
}

/// The owner's home, which is where the settings have the allow-list from.
pub(super) fn owner_home(list: &Path) -> Option<&Path> {
    if list.ends_with(LIST_IN_HOME) { list.ancestors().nth(3) } else { None }
}

/// Whether one path lies within the other, or they are the same.
pub(super) fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The place inside the sandbox of a mount that asks for `name`.
fn inside(name: &Path) -> Result<PathBuf, String> {
    let text = name.to_str().unwrap_or_default();
    let plain = |part| matches!(part, Component::Normal(_));
    if text.is_empty() || text.chars().any(char::is_control) || !name.components().all(plain) {
        return Err("its place in the sandbox must be a relative path without \"..\"".to_owned());
    }
    Ok(Path::new(layout::EXTRA).join(name))
}

/// An absolute path without `..`; a leading `~` is the owner's home.
fn expand(path: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    let full = match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_), None) => return Err("nobody knows which home ~ is".to_owned()),
        (Err(_not_home), _) => path.to_owned(),
    };
    let climbs = full.components().any(|part| part == Component::ParentDir);
    if !full.is_absolute() || climbs {
        return Err("its path must be absolute, or begin with ~/, and have no \"..\"".to_owned());
    }
    Ok(full)
}

#[cfg(test)]
mod tests;
