//! What an agent may name as a file to be sent, and what may happen to it meanwhile.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode};

use super::SECRET;
use crate::ipc::outgoing::Copied;
use crate::ipc::{MAX_SENT_BYTES, Outgoing, RejectReason};
use crate::model::{GroupName, RunId, SentFile};

/// A home with a group's folder and something in it.
struct Home {
    root: tempfile::TempDir,
    files: Outgoing,
}

impl Home {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["store", "groups/family/out", "groups/office"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let files = Outgoing::open(root.path(), &HashSet::new()).unwrap();
        let home = Self { root, files };
        fs::write(home.at("out/report.txt"), "as it was").unwrap();
        fs::write(home.root.path().join("groups/office/secret"), SECRET).unwrap();
        home
    }

    /// A place in the group's folder.
    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join("groups/family").join(path)
    }

    fn try_copy(&self, path: &str) -> Result<Copied, RejectReason> {
        let family: GroupName = "family".parse().unwrap();
        self.files.copy(&family, RunId(7), path).unwrap()
    }

    fn copy(&self, path: &str) -> Result<SentFile, RejectReason> {
        self.try_copy(path).map(Copied::keep)
    }

    /// How many copies there are.
    fn copies(&self) -> usize {
        fs::read_dir(self.root.path().join("store/outgoing")).unwrap().count()
    }
}

#[test]
fn a_file_is_copied_as_it_is_and_stays_so() {
    let home = Home::new();
    let mut copies = Vec::new();
    for path in ["out/report.txt", "./out/report.txt", "/workspace/group/out/report.txt"] {
        copies.push(home.copy(path).unwrap());
    }
    fs::write(home.at("out/report.txt"), "changed since").unwrap();
    fs::remove_file(home.at("out/report.txt")).unwrap();
    for copy in &copies {
        assert_eq!((copy.name.as_str(), copy.bytes), ("report.txt", 9));
        assert_eq!(copy.source.to_str(), Some("groups/family/out/report.txt"));
        let whole = home.files.whole(copy);
        assert_eq!(fs::read_to_string(&whole.copy).unwrap(), "as it was");
        assert_eq!(fs::metadata(&whole.copy).unwrap().mode() & 0o777, 0o600);
        assert_eq!(whole.source, home.at("out/report.txt"));
    }
    home.files.remove(&copies[0].copy).unwrap();
    home.files.remove(&copies[0].copy).unwrap();
    let kept = copies[1].copy.clone();
    Outgoing::open(home.root.path(), &HashSet::from([kept])).unwrap();
    assert_eq!(home.copies(), 1);
    assert!(home.files.whole(&copies[1]).copy.exists());
}

/// CVE-2026-56692: a link among what the agent wants sent was followed to files of the host.
#[test]
fn cve_2026_56692_a_link_in_the_way_of_a_file_is_not_followed() {
    let home = Home::new();
    let secret = home.root.path().join("groups/office/secret");
    symlink(&secret, home.at("link")).unwrap();
    symlink("out/report.txt", home.at("harmless")).unwrap();
    symlink(home.root.path().join("groups/office"), home.at("folder")).unwrap();
    symlink("/proc/self/root", home.at("root")).unwrap();
    let beyond = format!("root{}", secret.display());
    let kind = || RejectReason::Kind;
    for (path, expected) in [
        ("link", kind()),
        ("harmless", kind()),
        ("folder/secret", RejectReason::NotThere),
        (beyond.as_str(), RejectReason::NotThere),
        ("/proc/self/environ", RejectReason::Outside),
        ("../office/secret", RejectReason::Outside),
        ("out/../../office/secret", RejectReason::Outside),
        ("/workspace/group/../ipc/done.json", RejectReason::Outside),
        ("/workspace/groups/x", RejectReason::Outside),
        ("", RejectReason::Outside),
        (".", RejectReason::Outside),
        ("/workspace/group", RejectReason::Outside),
        ("missing", RejectReason::NotThere),
        ("out/report.txt/x", RejectReason::NotThere),
        ("out/report.txt\0", RejectReason::NotThere),
        (&"x".repeat(5_000), RejectReason::NotThere),
    ] {
        assert_eq!(home.copy(path), Err(expected), "{path:?}");
    }
    // Where the group's whole folder is no folder any more, nothing is found either.
    fs::rename(home.at(""), home.root.path().join("groups/elsewhere")).unwrap();
    symlink(home.root.path().join("groups/office"), home.root.path().join("groups/family"))
        .unwrap();
    assert_eq!(home.copy("secret"), Err(RejectReason::NotThere));
    assert_eq!(home.copies(), 0);
}

#[test]
fn only_plain_files_of_a_bounded_size_are_sent() {
    let home = Home::new();
    let rejected = |reason| Err::<SentFile, _>(reason);
    rustix::fs::mknodat(CWD, home.at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(home.copy("pipe"), rejected(RejectReason::Kind));
    drop(UnixListener::bind(home.at("socket")).unwrap());
    assert_eq!(home.copy("socket"), rejected(RejectReason::Kind));
    assert_eq!(home.copy("out"), rejected(RejectReason::Kind));
    fs::hard_link(home.root.path().join("groups/office/secret"), home.at("hard")).unwrap();
    assert_eq!(home.copy("hard"), rejected(RejectReason::HardLink));
    File::create(home.at("huge")).unwrap().set_len(MAX_SENT_BYTES + 1).unwrap();
    assert_eq!(home.copy("huge"), Err(RejectReason::TooLarge));
    File::create(home.at("empty")).unwrap();
    assert_eq!(home.copy("empty"), Err(RejectReason::Empty));
    fs::write(home.at("closed"), "x").unwrap();
    fs::set_permissions(home.at("closed"), Permissions::from_mode(0o200)).unwrap();
    assert_eq!(home.copy("closed"), rejected(RejectReason::Unreadable));
    assert_eq!(home.copies(), 0);
    File::create(home.at("large")).unwrap().set_len(MAX_SENT_BYTES).unwrap();
    assert_eq!(home.copy("large").unwrap().bytes, MAX_SENT_BYTES);
}

#[test]
fn a_copy_that_nobody_keeps_goes_at_once() {
    let home = Home::new();
    let copied = home.try_copy("out/report.txt").unwrap();
    assert_eq!(home.copies(), 1);
    drop(copied);
    assert_eq!(home.copies(), 0);
}

#[test]
fn names_are_shown_on_one_line() {
    let home = Home::new();
    fs::write(home.at("a\nb\u{1b}[31m.txt"), "x").unwrap();
    let name = home.copy("a\nb\u{1b}[31m.txt").unwrap().name;
    assert!(!name.chars().any(char::is_control), "{name:?}");
}
