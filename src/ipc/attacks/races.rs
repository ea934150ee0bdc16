//! An agent that changes things while the gateway looks at them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Found, SECRET};
use crate::ipc::RejectReason;
use crate::ipc::tests::Place;

/// How long each race lasts at least.
const RACE: Duration = Duration::from_millis(500);

/// Sweeps while `agent` is called again and again.
fn race(name: &str, place: &Place, mut agent: impl FnMut() + Send) -> Vec<Found> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                agent();
            }
        });
        let _end = End(&over);
        let start = Instant::now();
        let mut sweeps = Vec::new();
        let mut worst = Duration::ZERO;
        while start.elapsed() < RACE || sweeps.is_empty() {
            let mut found = Found::sweep(place);
            found.assert_no_secret();
            worst = worst.max(found.worst);
            for file in found.files.drain(..) {
                place.ipc.forget(file).unwrap();
            }
            sweeps.push(found);
        }
        println!("{name:<40} {:>5} sweeps, worst {:?}", sweeps.len(), worst);
        sweeps
    })
}

/// Ends the agent's side when the race is over, also by a failed assertion.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does what an attacker does without minding whether it worked: the other side may have been quicker.
fn try_to<T>(outcome: std::io::Result<T>) -> bool {
    outcome.is_ok()
}

#[test]
fn a_file_exchanged_for_a_link_leaks_nothing() {
    let place = Place::new();
    let (secret, bad) = (place.secret(), place.bad());
    let (file, link) = (place.inside("messages/.file"), place.inside("messages/.link"));
    let found = race("file exchanged for a link", &place, || {
        try_to(fs::write(&file, "{}"));
        try_to(fs::rename(&file, &bad));
        try_to(symlink(&secret, &link));
        try_to(fs::rename(&link, &bad));
    });
    let rejected: Vec<_> = found.iter().flat_map(|found| &found.rejected).collect();
    assert!(rejected.iter().all(|rejected| rejected.reason == RejectReason::Kind));
    assert!(!rejected.is_empty(), "the race was never met");
}

#[test]
fn a_directory_exchanged_for_a_link_leaks_nothing() {
    let place = Place::new();
    let victim = place.victim();
    let (messages, real) = (place.inside("messages"), place.inside("messages.real"));
    race("directory exchanged for a link", &place, || {
        try_to(fs::rename(&messages, &real));
        try_to(symlink(&victim, &messages));
        try_to(fs::remove_file(&messages));
        try_to(fs::rename(&real, &messages));
        // Never through the link: that would be the test writing into the victim's mail.
        if is_dir(&messages) {
            try_to(fs::write(messages.join(".x"), "{}"));
        }
    });
    assert_eq!(fs::read_to_string(victim.join("1.json")).unwrap(), SECRET);
}

#[test]
fn a_file_that_grows_is_cut_off() {
    let place = Place::new();
    let bad = place.bad();
    let piece = vec![b' '; 64 * 1024];
    let mut growing: Option<(File, usize)> = None;
    let found = race("file growing while it is read", &place, || {
        let (file, pieces) = growing.get_or_insert_with(|| (File::create(&bad).unwrap(), 0));
        file.write_all(&piece).unwrap();
        *pieces += 1;
        if *pieces == 64 {
            growing = None;
        }
    });
    let rejected: Vec<_> = found.iter().flat_map(|found| &found.rejected).collect();
    assert!(rejected.iter().all(|rejected| rejected.reason == RejectReason::TooLarge));
}

#[test]
fn a_file_that_grew_after_it_was_read_is_still_forgotten() {
    let place = Place::new();
    let mut file = File::create(place.bad()).unwrap();
    file.write_all(b"{}").unwrap();
    let mut found = Found::sweep(&place);
    file.set_len(1 << 30).unwrap();
    let claimed = found.files.remove(0);
    assert_eq!(claimed.bytes, b"{}");
    place.ipc.forget(claimed).unwrap();
    while place.ipc.tidy().unwrap() {}
    assert!(Found::sweep(&place).files.is_empty());
    place.remove();
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}
