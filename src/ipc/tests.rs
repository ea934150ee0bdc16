//! How the two sides use the directory when nobody means harm.

use std::fs;
use std::path::Path;

use protocol::{Input, Progress, Reply, Request, Sign, layout};

use super::{IpcDir, IpcError, Mailbox, Sweep};
use crate::model::{GroupName, SandboxId};

/// An ipc directory in a place of its own.
pub(super) struct Place {
    pub(super) root: tempfile::TempDir,
    pub(super) ipc: IpcDir,
}

/// The user that tests run as, who is also the agent.
pub(super) fn me() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

pub(super) fn sandbox() -> SandboxId {
    "s1".parse().unwrap()
}

impl Place {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let ipc = IpcDir::create(&root.path().join("ipc"), &GroupName::main(), &sandbox(), me());
        Self { ipc: ipc.unwrap(), root }
    }

    /// The gateway dies and another one takes over.
    pub(super) fn restart(&mut self) {
        let root = self.root.path().join("ipc");
        self.ipc = IpcDir::open(&root, &GroupName::main(), &sandbox(), me()).unwrap();
    }

    /// A place in the mounted directory, as the agent sees it.
    pub(super) fn inside(&self, path: &str) -> std::path::PathBuf {
        self.ipc.path().join(path)
    }

    /// The agent leaves a file as the protocol wants it.
    pub(super) fn leave(&self, path: &str, text: &str) {
        let place = self.inside(path);
        let hidden = place.with_file_name(".temp");
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, place).unwrap();
    }

    pub(super) fn sweep(&self) -> Sweep {
        self.ipc.sweep(Mailbox::Messages).unwrap()
    }
}

pub(super) fn ids(sweep: &Sweep) -> Vec<&str> {
    sweep.files.iter().map(|file| file.id.as_str()).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn requests_are_read_oldest_first_and_forgotten() {
    let place = Place::new();
    for (age, id) in [(1, "b"), (3, "z"), (2, "a")] {
        place.leave(&format!("messages/{id}.json"), r#"{"type":"send_message","text":"hi"}"#);
        let file =
            fs::File::options().write(true).open(place.inside(&format!("messages/{id}.json")));
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age);
        file.unwrap().set_modified(time).unwrap();
    }
    let sweep = place.sweep();
    assert_eq!(ids(&sweep), ["z", "a", "b"]);
    assert!(!sweep.more && sweep.rejected.is_empty());
    for file in sweep.files {
        let request: Request = file.parse().unwrap();
        assert_eq!(request, Request::SendMessage { text: "hi".to_owned(), chat: None });
        place.ipc.forget(file).unwrap();
    }
    assert!(place.sweep().files.is_empty());
    assert!(names(&place.inside("messages")).is_empty());
}

#[test]
fn progress_is_read_in_the_order_of_its_numbers() {
    let place = Place::new();
    for number in [10, 9, 100_000_000, 99_999_999] {
        let json = serde_json::to_string(&Progress {
            run: number,
            signs: vec![Sign::Ready { through: 1 }],
        });
        place.leave(&format!("progress/{number:08}.json"), &json.unwrap());
    }
    let sweep = place.ipc.sweep(Mailbox::Progress).unwrap();
    let runs: Vec<u64> = sweep.files.iter().map(|f| f.parse::<Progress>().unwrap().run).collect();
    assert_eq!(runs, [9, 10, 99_999_999, 100_000_000]);
}

#[test]
fn what_was_claimed_comes_back_after_a_crash_and_after_a_failure() {
    let mut place = Place::new();
    for id in ["1", "2", "3"] {
        place.leave(&format!("messages/{id}.json"), id);
    }
    place.leave("tasks/4.json", "4");
    place.leave("done.json", "5");
    let mut sweep = place.sweep();
    place.ipc.forget(sweep.files.remove(0)).unwrap();
    drop(sweep);
    assert_eq!(ids(&place.sweep()), ["2", "3"], "a dropped claim is found again");
    // A crash drops nothing: the claims are held by nobody.
    std::mem::forget(place.sweep());
    std::mem::forget(place.ipc.take_done().unwrap());
    place.restart();
    place.leave("messages/0.json", "0");
    assert_eq!(ids(&place.sweep()), ["2", "3", "0"]);
    assert_eq!(ids(&place.ipc.sweep(Mailbox::Tasks).unwrap()), ["4"]);
    let done = place.ipc.take_done().unwrap().unwrap().unwrap();
    assert_eq!(done.bytes, b"5");
    place.ipc.forget(done).unwrap();
    assert!(place.ipc.take_done().unwrap().is_none());
}

#[test]
fn inputs_are_numbered_upwards_over_a_restart() {
    let mut place = Place::new();
    let mut expected = Vec::new();
    for run in 0..20 {
        if run == 10 {
            place.restart();
        }
        let before = names(&place.inside("input"));
        place.ipc.put_input(&Input::Cancel { run }).unwrap();
        let new = names(&place.inside("input")).into_iter().find(|name| !before.contains(name));
        expected.push(new.unwrap().strip_suffix(".json").unwrap().parse::<u64>().unwrap());
    }
    assert!(expected.is_sorted_by(|a, b| a < b), "{expected:?}");
}

#[test]
fn the_gateway_leaves_whole_files_and_nothing_else() {
    let place = Place::new();
    let reply = Reply { id: "r".to_owned(), ok: true, text: "done".to_owned() };
    for _ in 0..2 {
        place.ipc.put_reply(&"r".parse().unwrap(), &reply).unwrap();
        place.ipc.put_snapshot(layout::CURRENT_TASKS, b"[]").unwrap();
    }
    let read: Reply =
        serde_json::from_slice(&fs::read(place.inside("replies/r.json")).unwrap()).unwrap();
    assert_eq!(read, reply);
    assert_eq!(fs::read(place.inside("current_tasks.json")).unwrap(), b"[]");
    let mut all = layout::DIRECTORIES.map(str::to_owned).to_vec();
    all.push(layout::CURRENT_TASKS.to_owned());
    all.sort();
    assert_eq!(names(place.ipc.path()), all);
    let private = place.root.path().join("ipc/.claims/s1");
    assert_eq!(names(&private), ["claims", "quarantine", "trash"]);
}

#[test]
fn a_directory_that_is_not_there_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let open = || IpcDir::open(root.path(), &GroupName::main(), &sandbox(), me());
    assert!(matches!(open(), Err(IpcError::Gone(_))));
    let ipc = IpcDir::create(root.path(), &GroupName::main(), &sandbox(), me()).unwrap();
    drop(ipc);
    IpcDir::remove(root.path(), Some(&GroupName::main()), &sandbox()).unwrap();
    assert!(matches!(open(), Err(IpcError::Gone(_))));
    assert!(names(&root.path().join(".claims")).is_empty());
}

#[test]
fn leftovers_of_dead_sandboxes_are_removed_and_the_living_kept() {
    let root = tempfile::tempdir().unwrap();
    for (group, id) in [("main", "a"), ("main", "b"), ("other", "c")] {
        let group = group.parse().unwrap();
        let ipc = IpcDir::create(root.path(), &group, &id.parse().unwrap(), me()).unwrap();
        fs::write(ipc.path().join("messages/1.json"), "1").unwrap();
        std::mem::forget(ipc.sweep(Mailbox::Messages).unwrap());
        fs::write(ipc.path().join("messages/2.json"), "2").unwrap();
    }
    fs::remove_dir_all(root.path().join("other/c")).unwrap();
    IpcDir::remove_all_but(root.path(), &["b".parse().unwrap()]).unwrap();
    assert_eq!(names(&root.path().join("main")), ["b"]);
    assert_eq!(names(&root.path().join(".claims")), ["b"]);
    let main = GroupName::main();
    let ipc = IpcDir::open(root.path(), &main, &"b".parse().unwrap(), me()).unwrap();
    assert_eq!(ids(&ipc.sweep(Mailbox::Messages).unwrap()), ["1", "2"]);
}

#[tokio::test]
async fn a_watch_tells_what_came_before_and_after() {
    let place = Place::new();
    let mut watch = place.ipc.watch().unwrap();
    for path in ["messages/1.json", "tasks/1.json", "progress/00000001.json", "done.json"] {
        let start = std::time::Instant::now();
        place.leave(path, "{}");
        watch.changed().await;
        assert!(start.elapsed() < std::time::Duration::from_millis(900), "{path} was not seen");
    }
}
