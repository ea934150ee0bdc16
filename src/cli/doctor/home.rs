//! What lies in the home: `.env`, the store, the groups, and room for more.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::cli::denied;
use crate::cli::finding::Finding;
use crate::cli::place::Place;
use crate::config::{EnvFile, HOME_VARIABLE};
use crate::model::Group;
use crate::text::count;

/// Less free room than this is worth a word.
const LITTLE_ROOM: u64 = 1024 * 1024 * 1024;
/// With less than this, SQLite and sandboxes fail.
const NO_ROOM: u64 = 64 * 1024 * 1024;

/// `.env`: whether others can read it, and whether it holds names that mean nothing.
pub(super) fn env_file(place: &Place) -> Vec<Finding> {
    const CHECK: &str = ".env";
    let file = match EnvFile::inspect(&place.settings.home) {
        Ok(Some(file)) => file,
        Ok(None) => {
            return vec![Finding::good(
                CHECK,
                "there is none; the defaults and the environment hold",
            )];
        }
        Err(error) => {
            let path = place.settings.home.join(".env");
            let mend = format!("make {} readable", path.display());
            return vec![Finding::fault(CHECK, format!("it cannot be read: {error}"), mend)];
        }
    };
    let path = file.path.display();
    let mut findings = Vec::new();
    if file.exposed {
        let finding = "other users of this machine can read it, and the keys in it";
        findings.push(Finding::warning(CHECK, finding, format!("chmod 600 {path}")));
    }
    for unknown in &file.unknown {
        if unknown.name == HOME_VARIABLE {
            let finding = format!(
                "{HOME_VARIABLE} (line {}) counts in the environment only: it says where .env lies",
                unknown.line
            );
            let mend = "set it there, or name the home with --home";
            findings.push(Finding::warning(CHECK, finding, mend));
            continue;
        }
        let (name, line) = (&unknown.name, unknown.line);
        let finding = format!("{name} (line {line}) means nothing to this version");
        findings.push(match unknown.meant {
            Some(meant) => {
                Finding::warning(CHECK, finding, format!("write {meant}, if that was meant"))
            }
            None => Finding::note(CHECK, finding),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, format!("{path}, readable by its owner only")));
    }
    findings
}

/// The home: whether we can write there.
pub(super) fn home(place: &Place) -> Finding {
    const CHECK: &str = "home";
    let home = &place.settings.home;
    // A home that is not there yet is made in the folder above it.
    let place_to_write = home.ancestors().find(|folder| folder.is_dir()).unwrap_or(home);
    match try_writing(place_to_write) {
        Ok(()) => Finding::good(CHECK, home.display().to_string()),
        Err(error) => Finding::fault(
            CHECK,
            format!("{} cannot be written to: {error}", place_to_write.display()),
            "choose another folder with --home, or give yourself the right to write there",
        ),
    }
}

fn try_writing(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".hermitcrab-{:016x}", fastrand::u64(..)));
    OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

/// The store: whether it is sound, ours and closed to others.
pub(super) async fn store(place: &Place) -> Vec<Finding> {
    const CHECK: &str = "store";
    if let Some(path) = place.not_the_store() {
        let path = path.display();
        let finding = format!("{path} is not a folder, as the store must be");
        let mend = format!("mv {path} {path}.old; or choose another folder with --home");
        return vec![Finding::fault(CHECK, finding, mend)];
    }
    let folder = place.settings.store_dir();
    let mut findings = Vec::new();
    if let Ok(metadata) = fs::metadata(&folder) {
        let ours = rustix::process::geteuid().as_raw();
        let path = folder.display();
        if metadata.uid() != ours {
            let finding = format!("{path} belongs to another user");
            findings.push(Finding::fault(
                CHECK,
                finding,
                format!("sudo chown -R \"$(id -un)\" {path}"),
            ));
        }
        // A fresh checkout brings the folder along as open as the umask; the gateway closes it when it starts.
        if metadata.permissions().mode() & 0o077 != 0 && place.database().exists() {
            let finding = format!("{path} is open to other users of this machine");
            findings.push(Finding::warning(CHECK, finding, format!("chmod 700 {path}")));
        }
    }
    match place.open_store() {
        Ok(None) => {
            let mend = "`hermitcrab chat` begins one here; --home names another folder";
            let finding = "there is none: this is no gateway's home yet";
            findings.push(Finding::good(CHECK, finding).with_mend(mend));
        }
        Ok(Some(store)) => {
            match store.counts().await {
                Ok(counts) => {
                    let messages = count(counts.messages, "message", "messages");
                    let groups = count(counts.groups, "group", "groups");
                    let finding = format!("sound; {messages}, {groups}");
                    findings.push(Finding::good(CHECK, finding));
                }
                Err(error) => findings.push(broken(&error.to_string())),
            }
            store.close().await;
        }
        Err(failure) => findings.push(broken(failure.sentence())),
    }
    findings
}

fn broken(what: &str) -> Finding {
    let mend = "put the last backup of store/messages.db in its place, or install the version that wrote it";
    Finding::fault("store", what, mend)
}

/// Free room where the home is.
pub(super) fn disk(place: &Place) -> Finding {
    const CHECK: &str = "disk";
    let home = &place.settings.home;
    let folder = home.ancestors().find(|folder| folder.is_dir()).unwrap_or(home);
    let free = match rustix::fs::statvfs(folder) {
        Ok(facts) => facts.f_bavail.saturating_mul(facts.f_frsize),
        Err(error) => {
            let finding = format!("the free room cannot be told: {error}");
            return Finding::note(CHECK, finding);
        }
    };
    let finding = format!("{} MiB free", free / (1024 * 1024));
    let mend = format!("make room: du -xh --max-depth=2 {} | sort -h", home.display());
    match free {
        0..NO_ROOM => Finding::fault(CHECK, finding, mend),
        NO_ROOM..LITTLE_ROOM => Finding::warning(CHECK, finding, mend),
        _ => Finding::good(CHECK, finding),
    }
}

/// The groups: their folders, and what they ask for and do not get.
pub(super) async fn groups(place: &Place) -> Vec<Finding> {
    const CHECK: &str = "groups";
    let groups = match place.open_store() {
        Ok(Some(store)) => {
            let groups = store.groups().await.unwrap_or_default();
            store.close().await;
            groups
        }
        // The store's own check has said what is to be said.
        Ok(None) | Err(_) => return Vec::new(),
    };
    let mut findings: Vec<Finding> =
        groups.iter().flat_map(|group| group_faults(place, group)).collect();
    if findings.is_empty() {
        let there = match groups.len() {
            1 => "1 with its folder".to_owned(),
            many => format!("{many} with their folders"),
        };
        findings.push(Finding::good(CHECK, there));
    }
    findings
}

fn group_faults(place: &Place, group: &Group) -> Vec<Finding> {
    const CHECK: &str = "groups";
    let name = &group.name;
    let mut findings = Vec::new();
    let folder = place.settings.groups_dir().join(name.as_str());
    if !folder.is_dir() {
        let finding =
            format!("the folder of {name} is missing; it begins anew with the next message");
        findings.push(Finding::warning(
            CHECK,
            finding,
            format!("mkdir -m 700 {}", folder.display()),
        ));
    }
    let denials = denied::to(&place.settings, group).into_iter();
    findings.extend(denials.map(|denial| Finding::warning(CHECK, denial.finding, denial.mend)));
    findings
}
