//! What a hostile agent may try with its ipc directory, and that each try fails: the file is rejected, nothing is
//! leaked or overwritten, nobody waits, and the agent's good file beside it is still read.
//!
//! The attacks are made by the user that runs the tests, who is both gateway and agent here; run as root they also
//! cover devices and files of other users. The times are printed, not asserted: the machine may be busy.

mod races;
mod sent;
mod writes;

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::layout::MAX_FILE_BYTES;
use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::RejectReason::{
    self, Content, HardLink, Kind, Leased, Name, Owner, TooLarge, Unfinished, Unreadable,
};
use super::tests::{Place, me};
use super::{ClaimedFile, Mailbox, Rejected};

/// What must never come out of a sweep.
const SECRET: &str = "TOP SECRET";

/// Everything that sweeping to the end found.
#[derive(Default)]
struct Found {
    files: Vec<ClaimedFile>,
    rejected: Vec<Rejected>,
    sweeps: usize,
    worst: Duration,
}

impl Found {
    /// Sweeps until there is no more, as a gateway does.
    fn sweep(place: &Place) -> Self {
        let mut found = Self::default();
        loop {
            let start = Instant::now();
            let sweep = place.ipc.sweep(Mailbox::Messages).unwrap();
            found.worst = found.worst.max(start.elapsed());
            found.sweeps += 1;
            assert!(sweep.files.len() + sweep.rejected.len() <= 64);
            found.files.extend(sweep.files);
            found.rejected.extend(sweep.rejected);
            if !sweep.more {
                return found;
            }
        }
    }

    fn assert_no_secret(&self) {
        for file in &self.files {
            let text = String::from_utf8_lossy(&file.bytes);
            assert!(!text.contains(SECRET), "leaked through {:?}", file.id);
            assert!(file.bytes.len() <= MAX_FILE_BYTES);
        }
    }
}

impl Place {
    /// Removes all of it.
    fn remove(&self) {
        let root = self.root.path().join("ipc");
        crate::ipc::IpcDir::remove(
            &root,
            Some(&crate::model::GroupName::main()),
            self.ipc.0.sandbox(),
        )
        .unwrap();
    }

    /// A secret of the host, outside of every ipc directory.
    fn secret(&self) -> PathBuf {
        let path = self.root.path().join("secret.json");
        fs::write(&path, SECRET).unwrap();
        path
    }

    /// Another group's mail.
    fn victim(&self) -> PathBuf {
        let directory = self.root.path().join("ipc/victim/s2/messages");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("1.json"), SECRET).unwrap();
        directory
    }

    fn bad(&self) -> PathBuf {
        self.inside("messages/bad.json")
    }

    fn make_node(&self, kind: FileType, device: u64) -> rustix::io::Result<()> {
        rustix::fs::mknodat(CWD, self.bad(), kind, Mode::from_raw_mode(0o666), device)
    }
}

/// Lets an agent plant something, and checks that it comes to nothing but the expected rejections.
fn attack(name: &str, expected: &[RejectReason], plant: impl FnOnce(&Place)) {
    let place = Place::new();
    plant(&place);
    place.leave("messages/good.json", "{}");
    let found = Found::sweep(&place);
    found.assert_no_secret();
    assert!(found.files.iter().any(|file| file.id.as_str() == "good"), "{name}: the good file");
    let reasons: Vec<_> = found.rejected.iter().map(|rejected| rejected.reason.clone()).collect();
    assert_eq!(reasons, expected, "{name}");
    for rejected in &found.rejected {
        assert!(!rejected.shown.chars().any(char::is_control), "{name}: {:?}", rejected.shown);
    }
    assert!(Found::sweep(&place).rejected.is_empty(), "{name}: it is rejected once");
    while place.ipc.tidy().unwrap() {}
    let start = Instant::now();
    drop(found.files);
    place.remove();
    let (worst, remove) = (found.worst.as_secs_f64() * 1e3, start.elapsed().as_secs_f64() * 1e3);
    println!(
        "{name:<40} {:>5} sweeps, worst {worst:>8.2} ms, removed in {remove:>8.2} ms",
        found.sweeps
    );
}

#[test]
fn links_are_not_followed() {
    attack("symlink to a file of the host", &[Kind], |place| {
        symlink(place.secret(), place.bad()).unwrap();
    });
    attack("symlink to another group's mail", &[Kind], |place| {
        place.victim();
        symlink("../../../victim/s2/messages/1.json", place.bad()).unwrap();
    });
    attack("symlink to /dev/zero", &[Kind], |place| symlink("/dev/zero", place.bad()).unwrap());
    attack("symlink to itself", &[Kind], |place| symlink("bad.json", place.bad()).unwrap());
    attack("symlink to /proc/self/fd/0", &[Kind], |place| {
        symlink("/proc/self/fd/0", place.bad()).unwrap();
    });
    attack("hard link to a file of the host", &[HardLink], |place| {
        fs::hard_link(place.secret(), place.bad()).unwrap();
    });
    attack("hard links to each other", &[HardLink, HardLink], |place| {
        fs::write(place.bad(), "{}").unwrap();
        fs::hard_link(place.bad(), place.inside("messages/worse.json")).unwrap();
    });
}

#[test]
fn only_regular_files_are_opened() {
    attack("FIFO", &[Kind], |place| place.make_node(FileType::Fifo, 0).unwrap());
    attack("socket", &[Kind], |place| drop(UnixListener::bind(place.bad()).unwrap()));
    attack("directory", &[Kind], |place| fs::create_dir(place.bad()).unwrap());
    attack("directory nobody may enter", &[Kind], |place| {
        fs::create_dir(place.bad()).unwrap();
        fs::write(place.bad().join("x"), "x").unwrap();
        fs::set_permissions(place.bad(), Permissions::from_mode(0o0)).unwrap();
    });
    attack("2,100 directories in each other", &[Kind], |place| deep(&place.bad(), 2_100));
    attack("directory of 5,000 files", &[Kind], |place| {
        fs::create_dir(place.bad()).unwrap();
        flood(&place.bad(), 5_000, "f", ".json");
    });
}

#[test]
fn devices_are_not_opened() {
    // Only root makes devices; a sandbox has no right to, so there is nothing to reject for anybody else.
    let possible = rustix::process::geteuid().is_root();
    let expected: &[RejectReason] = if possible { &[Kind] } else { &[] };
    attack("device", expected, |place| {
        let zero = rustix::fs::makedev(1, 5);
        assert_eq!(place.make_node(FileType::CharacterDevice, zero).is_ok(), possible);
    });
}

#[test]
fn what_is_not_the_agents_own_is_not_read() {
    let possible = rustix::process::geteuid().is_root();
    let expected: &[RejectReason] = if possible { &[Owner] } else { &[] };
    attack("file of another user", expected, |place| {
        fs::write(place.inside("messages/.bad"), SECRET).unwrap();
        let given = chown(place.inside("messages/.bad"), Some(me().0 + 1), None);
        assert_eq!(given.is_ok(), possible);
        if possible {
            fs::rename(place.inside("messages/.bad"), place.bad()).unwrap();
        }
    });
    attack("unreadable file", &[Unreadable], |place| {
        fs::write(place.bad(), "{}").unwrap();
        fs::set_permissions(place.bad(), Permissions::from_mode(0o0)).unwrap();
    });
}

#[test]
fn large_files_are_not_read() {
    attack("one byte too large", &[TooLarge], |place| {
        fs::write(place.bad(), vec![b' '; MAX_FILE_BYTES + 1]).unwrap();
    });
    attack("exactly as large as allowed", &[], |place| {
        fs::write(place.bad(), vec![b' '; MAX_FILE_BYTES]).unwrap();
    });
    attack("sparse file of 3 GiB", &[TooLarge], |place| {
        File::create(place.bad()).unwrap().set_len(3 << 30).unwrap();
    });
    attack("200 files as large as allowed", &[], |place| {
        for number in 0..200 {
            let path = place.inside(&format!("messages/{number}.json"));
            fs::write(path, vec![b' '; MAX_FILE_BYTES]).unwrap();
        }
    });
}

#[test]
fn odd_names_are_rejected_and_defused() {
    use std::os::unix::ffi::OsStrExt;
    let names: [&[u8]; 9] = [
        b"-rf.json",
        b"a b.json",
        b"a\nb\x1b[31m.json",
        b"\xff\xfe.json",
        "\u{202e}nosj.exe.json".as_bytes(),
        b"a.json.json",
        b"no-extension",
        b"~.json",
        "é.json".as_bytes(),
    ];
    let expected = names.map(|_| Name);
    attack("odd names", &expected, |place| {
        for name in names {
            let name = Path::new(std::ffi::OsStr::from_bytes(name));
            fs::write(place.inside("messages").join(name), "{}").unwrap();
        }
        fs::write(place.inside("messages/.unfinished"), "{").unwrap();
    });
    attack("name of 65 letters", &[Name], |place| {
        fs::write(place.inside(&format!("messages/{}.json", "x".repeat(65))), "{}").unwrap();
    });
}

#[test]
fn floods_are_taken_a_bounded_step_at_a_time() {
    attack("50,000 files", &[], |place| flood(&place.inside("messages"), 50_000, "f", ".json"));
    let many = vec![Unfinished; 4_936];
    attack("5,000 unfinished files", &many, |place| {
        flood(&place.inside("messages"), 5_000, ".f", "");
    });
}

#[test]
fn a_half_written_file_is_put_aside() {
    let place = Place::new();
    place.leave("messages/bad.json", r#"{"type":"send_message","te"#);
    let nested = "[".repeat(100_000);
    place.leave("messages/nested.json", &nested);
    let mut found = Found::sweep(&place);
    for file in found.files.drain(..) {
        let parsed = file.parse::<protocol::Request>();
        assert!(matches!(parsed, Err(Content(_))), "{:?}", file.id);
        place.ipc.quarantine(file).unwrap();
    }
    assert!(Found::sweep(&place).files.is_empty());
    let quarantine = place.root.path().join("ipc/.claims/s1/quarantine");
    assert_eq!(fs::read_dir(quarantine).unwrap().count(), 2);
}

#[test]
fn a_lease_does_not_make_us_wait() {
    let mut holder = None;
    let start = Instant::now();
    attack("lease held on a file", &[Leased], |place| {
        holder = Some(hold_lease(&place.bad()));
    });
    // The kernel would let the holder keep us waiting for 45 seconds.
    assert!(start.elapsed() < Duration::from_secs(30));
    let mut holder = holder.unwrap();
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
}

/// Starts a process that holds a write lease on a new file until its standard input is closed. There is no safe way
/// to take one in Rust, so it is written in Python.
fn hold_lease(path: &Path) -> Child {
    const HOLDER: &str = "import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], 'w+')
file.write('{}')
file.flush()
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()";
    let mut holder = Command::new("python3")
        .args(["-c", HOLDER])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed, as tests/run sees to");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    holder
}

/// Makes directories in each other, deeper than any path could name.
fn deep(path: &Path, levels: usize) {
    fs::create_dir(path).unwrap();
    let mut directory = rustix::fs::open(path, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&directory, "d", Mode::RWXU).unwrap();
        directory = rustix::fs::openat(&directory, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

/// Makes many files.
fn flood(directory: &Path, count: usize, before: &str, after: &str) {
    for number in 0..count {
        let mut file = File::create(directory.join(format!("{before}{number}{after}"))).unwrap();
        file.write_all(b"{}").unwrap();
    }
}
