//! What an agent may put in the way of the gateway's own writing, and the advisories that are about paths.

use std::fs;
use std::os::unix::fs::symlink;

use protocol::{Input, Reply, layout};

use super::{Found, SECRET, deep, flood};
use crate::ipc::tests::Place;
use crate::ipc::{Mailbox, RejectReason};
use crate::model::RequestId;

fn reply(id: &str) -> (RequestId, Reply) {
    (id.parse().unwrap(), Reply { id: id.to_owned(), ok: true, text: String::new() })
}

fn write_everything(place: &Place) {
    let (id, reply) = reply("r");
    place.ipc.put_input(&Input::Close).unwrap();
    place.ipc.put_reply(&id, &reply).unwrap();
    place.ipc.put_snapshot(layout::CURRENT_TASKS, b"[]").unwrap();
    let is_file = |path: &str| fs::symlink_metadata(place.inside(path)).unwrap().is_file();
    assert!(is_file("replies/r.json") && is_file("current_tasks.json"));
    assert_eq!(fs::read_dir(place.inside("input")).unwrap().count(), 1);
}

#[test]
fn a_link_where_the_gateway_writes_is_replaced() {
    let place = Place::new();
    let secret = place.secret();
    symlink(&secret, place.inside("replies/r.json")).unwrap();
    symlink(&secret, place.inside("current_tasks.json")).unwrap();
    write_everything(&place);
    assert_eq!(fs::read_to_string(secret).unwrap(), SECRET);
}

#[test]
fn a_directory_where_the_gateway_writes_is_moved_aside() {
    let place = Place::new();
    fs::create_dir(place.inside("replies/r.json")).unwrap();
    flood(&place.inside("replies/r.json"), 10, "f", "");
    deep(&place.inside("current_tasks.json"), 10);
    write_everything(&place);
}

#[test]
fn a_directory_exchanged_for_a_link_is_made_anew() {
    let place = Place::new();
    let outside = place.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["input", "replies", "messages"] {
        fs::remove_dir(place.inside(name)).unwrap();
        symlink(&outside, place.inside(name)).unwrap();
    }
    write_everything(&place);
    let victim = place.victim();
    fs::remove_dir(place.inside("tasks")).unwrap();
    symlink(victim, place.inside("tasks")).unwrap();
    place.leave("tasks/1.json", SECRET);
    let sweep = place.ipc.sweep(Mailbox::Tasks).unwrap();
    assert!(sweep.files.is_empty());
    assert_eq!(sweep.rejected.first().unwrap().reason, RejectReason::NotADirectory);
    assert!(Found::sweep(&place).files.is_empty());
    place.leave("messages/good.json", "{}");
    assert_eq!(Found::sweep(&place).files.len(), 1);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn directories_that_are_gone_or_closed_are_mended() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::remove_dir(place.inside("input")).unwrap();
    fs::remove_dir(place.inside("messages")).unwrap();
    fs::write(place.inside("messages"), "a file").unwrap();
    fs::set_permissions(place.inside("replies"), fs::Permissions::from_mode(0o0)).unwrap();
    write_everything(&place);
    assert!(Found::sweep(&place).files.is_empty());
    place.leave("messages/good.json", "{}");
    assert_eq!(Found::sweep(&place).files.len(), 1);
}

#[test]
fn done_is_read_as_hostile_too() {
    let place = Place::new();
    symlink(place.secret(), place.inside("done.json")).unwrap();
    let rejected = place.ipc.take_done().unwrap().unwrap().unwrap_err();
    assert_eq!(rejected.reason, RejectReason::Kind);
    assert!(place.ipc.take_done().unwrap().is_none());
    place.leave("done.json", "{}");
    assert_eq!(place.ipc.take_done().unwrap().unwrap().unwrap().bytes, b"{}");
}

#[test]
fn a_huge_tree_is_removed_without_following_links() {
    let place = Place::new();
    let outside = place.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    for level in ["", "/a", "/a/b"] {
        let directory = place.inside(&format!("anything{level}"));
        fs::create_dir(&directory).unwrap();
        symlink(&outside, directory.join("link")).unwrap();
        flood(&directory, 2_000, "f", "");
    }
    deep(&place.inside("deep"), 2_100);
    let start = std::time::Instant::now();
    place.remove();
    println!("6,000 files and 2,100 levels removed in {:?}", start.elapsed());
    assert!(!place.ipc.path().exists());
    assert!(outside.join("precious").exists());
}

/// The reference system built host paths from an id that the container had written.
#[test]
fn cve_2026_7875_an_id_from_the_sandbox_is_never_a_path() {
    for id in ["../../../secret", "..", ".", "/etc/passwd", "a/b", "a\0b", ""] {
        assert!(id.parse::<RequestId>().is_err(), "{id:?} became an id");
    }
    // An id can only be a name in `replies/`, whatever the agent makes of that directory.
    let place = Place::new();
    let secret = place.secret();
    fs::remove_dir(place.inside("replies")).unwrap();
    symlink(place.root.path(), place.inside("replies")).unwrap();
    let (id, reply) = reply("secret");
    place.ipc.put_reply(&id, &reply).unwrap();
    assert_eq!(fs::read_to_string(secret).unwrap(), SECRET);
    assert!(place.inside("replies/secret.json").is_file());
}

/// The reference system read the target of a link that the agent had left among its messages.
#[test]
fn cve_2026_56692_a_link_among_the_messages_is_not_followed() {
    let place = Place::new();
    symlink(place.secret(), place.inside("messages/1.json")).unwrap();
    let found = Found::sweep(&place);
    assert!(found.files.is_empty());
    let id = found.rejected.first().and_then(|rejected| rejected.id.clone());
    assert_eq!(id, Some("1".parse().unwrap()), "the agent can be told");
    assert!(fs::symlink_metadata(place.inside("messages/1.json")).is_err());
}
