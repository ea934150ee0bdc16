//! The allow-list as its owner writes it, and what it says of a path.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Names that are never on the way to a mount, whatever the owner's list says: where programs keep keys.
const BLOCKED: [&str; 17] = [
    ".ssh",
    ".gnupg",
    ".gpg",
    ".aws",
    ".azure",
    ".gcloud",
    ".kube",
    ".docker",
    ".env",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".secret",
    "credentials",
    "id_ed25519",
    "id_rsa",
    "private_key",
];

/// The largest list that is read, in bytes.
const MOST_BYTES: u64 = 256 * 1024;

/// What the owner allows.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AllowList {
    /// The folders that mounts may come from.
    pub(super) allowed_roots: Vec<AllowedRoot>,
    /// Names, or relative paths, that are blocked beside the built-in ones.
    #[serde(default)]
    pub(super) blocked_patterns: Vec<String>,
    /// Whether only the main group may write anywhere.
    #[serde(default = "yes")]
    pub(super) non_main_read_only: bool,
}

/// A folder that mounts may come from.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AllowedRoot {
    /// Where it is; `~` is the owner's home.
    pub(super) path: PathBuf,
    /// Whether anything in it may be written.
    #[serde(default)]
    pub(super) allow_read_write: bool,
    /// For people.
    #[serde(default)]
    description: Option<String>,
}

fn yes() -> bool {
    true
}

/// Reads a list, with its roots under their real names; a root that is not there allows nothing.
///
/// # Errors
/// A sentence that says why there is no list: without one nothing is mounted.
pub(super) fn load(path: &Path, home: Option<&Path>) -> Result<AllowList, String> {
    let shown = path.display();
    let metadata = path.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("there is no allow-list {shown}"),
        _ => format!("the allow-list {shown}: {error}"),
    })?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.len() > MOST_BYTES {
        return Err(format!("the allow-list {shown} is too large"));
    }
    if ![0, own].contains(&metadata.uid()) || metadata.mode() & 0o002 != 0 {
        return Err(format!("the allow-list {shown} can be changed by others: chmod o-w {shown}"));
    }
    let text = std::fs::read(path).map_err(|error| format!("the allow-list {shown}: {error}"))?;
    let mut list: AllowList = serde_json::from_slice(&text)
        .map_err(|error| format!("the allow-list {shown} is not valid: {error}"))?;
    list.allowed_roots.retain_mut(|root| {
        let real = super::expand(&root.path, home).ok().and_then(|path| path.canonicalize().ok());
        real.is_some_and(|real| {
            root.path = real;
            true
        })
    });
    Ok(list)
}

impl AllowList {
    /// The pattern that blocks a path, if one does. A pattern is matched against whole components, without regard to
    /// case, because some file systems have none.
    pub(super) fn blocks(&self, path: &Path) -> Option<&str> {
        let components: Vec<_> = path.iter().collect();
        let blocked = BLOCKED.into_iter().chain(self.blocked_patterns.iter().map(String::as_str));
        blocked.into_iter().find(|pattern| {
            let wanted: Vec<_> = Path::new(pattern).iter().collect();
            !wanted.is_empty()
                && components
                    .windows(wanted.len())
                    .any(|run| run.iter().zip(&wanted).all(|(have, want)| same_name(have, want)))
        })
    }

    /// The allowed root that holds a path; the innermost, where one lies within another.
    pub(super) fn root_of(&self, path: &Path) -> Option<&AllowedRoot> {
        let holding = self.allowed_roots.iter().filter(|root| path.starts_with(&root.path));
        holding.max_by_key(|root| root.path.components().count())
    }
}

fn same_name(one: &OsStr, other: &OsStr) -> bool {
    one == other || one.to_string_lossy().to_lowercase() == other.to_string_lossy().to_lowercase()
}
