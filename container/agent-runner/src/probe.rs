//! The probe: tries the walls of its sandbox from where an agent is, and says which do not hold.
//!
//! Only what can be tried without harm and without leaving a trace: no packet is sent, nothing is left behind but
//! the verdict. What needs raw system calls is tried by the contract tests of the gateway.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use protocol::probe::PROBE;
use protocol::{Probe, layout};
use rustix::fs::StatVfsMountFlags;
use rustix::net::{AddressFamily, SocketType};

use crate::files::{Durability, write_atomic};
use crate::{EXIT_IO, note};

/// The capability sets of `/proc/self/status`, all of which must be empty.
const CAPABILITY_SETS: [&str; 5] = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];
/// Addresses beyond the sandbox: the metadata service of clouds, a public resolver, a host on the usual bridge.
const OUTSIDE: [&str; 4] =
    ["169.254.169.254:80", "1.1.1.1:53", "172.17.0.1:22", "[2606:4700::1111]:53"];
/// Network devices that lead nowhere: loopback, and what the kernel puts into every network namespace by itself once
/// its tunnel modules are loaded.
const HARMLESS: [&str; 10] = [
    "lo", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0",
    "ip6gre0",
];
/// Sockets through which a sandbox would be its own master.
const MASTERS: [&str; 3] = ["/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"];
/// Where nothing can be written, beside the root itself.
const READ_ONLY: [&str; 4] = ["/usr", "/etc", "/opt/hermitcrab", layout::BROKER_DIR];
/// Where an agent works.
const WRITABLE: [&str; 4] = [layout::GROUP, layout::IPC, layout::HOME, "/tmp"];
/// More processes than this in a sandbox that has just begun are somebody else's.
const MOST_PROCESSES: usize = 4;

/// Leaves the verdict in the ipc directory.
pub(crate) fn run() -> ExitCode {
    let verdict = probe();
    let written = serde_json::to_vec(&verdict)
        .map_err(io::Error::from)
        .and_then(|text| write_atomic(Path::new(layout::IPC), PROBE, &text, Durability::Volatile));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("cannot leave the verdict: {error}"));
            ExitCode::from(EXIT_IO)
        }
    }
}

fn probe() -> Probe {
    let mut open = Vec::new();
    identity(&mut open);
    privileges(&mut open);
    network(&mut open);
    files(&mut open);
    processes(&mut open);
    let broken = WRITABLE
        .into_iter()
        .filter_map(|place| {
            let error = try_to_write(Path::new(place)).err()?;
            Some(format!("write in {place}: {error}"))
        })
        .collect();
    let socket = Path::new(layout::BROKER_DIR).join(layout::BROKER_SOCKET);
    let tmp_bytes =
        rustix::fs::statvfs("/tmp").map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
    Probe {
        open,
        broken,
        socket: UnixStream::connect(socket).is_ok(),
        landlock: !can_link(Path::new(layout::IPC)),
        tmp_bytes,
    }
}

fn identity(open: &mut Vec<String>) {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    if getuid().is_root() || geteuid().is_root() {
        open.push("the agent is root".to_owned());
    }
    if getgid().is_root() || getegid().is_root() {
        open.push("the agent is in root's group".to_owned());
    }
}

fn privileges(open: &mut Vec<String>) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    for set in CAPABILITY_SETS {
        if value(set).is_none_or(|bits| bits.chars().any(|digit| digit != '0')) {
            open.push(format!("capabilities are left in {}", set.trim_end_matches(':')));
        }
    }
    if value("NoNewPrivs:") != Some("1") {
        open.push("programs can give new privileges".to_owned());
    }
    if value("Seccomp:") != Some("2") {
        open.push("no system call is filtered".to_owned());
    }
}

fn network(open: &mut Vec<String>) {
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let devices = devices.lines().skip(2).filter_map(|line| line.split_once(':'));
    for name in devices.map(|(name, _)| name.trim()).filter(|name| !HARMLESS.contains(name)) {
        open.push(format!("there is a network device {name}"));
    }
    for address in OUTSIDE {
        // Connecting a datagram socket asks for a route and sends nothing.
        let routed = address.parse::<SocketAddr>().is_ok_and(|address| {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
        });
        if routed {
            open.push(format!("there is a route to {address}"));
        }
    }
    for (family, name) in [(AddressFamily::VSOCK, "AF_VSOCK"), (AddressFamily::PACKET, "AF_PACKET")]
    {
        if rustix::net::socket(family, SocketType::STREAM, None).is_ok()
            || rustix::net::socket(family, SocketType::DGRAM, None).is_ok()
        {
            open.push(format!("sockets of {name} can be made"));
        }
    }
}

fn files(open: &mut Vec<String>) {
    let read_only =
        rustix::fs::statvfs("/").is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    if !read_only {
        open.push("the root can be written".to_owned());
    }
    for place in READ_ONLY {
        if try_to_write(Path::new(place)).is_ok() {
            open.push(format!("{place} can be written"));
        }
    }
    for socket in MASTERS {
        if UnixStream::connect(socket).is_ok() {
            open.push(format!("{socket} is there"));
        }
    }
    for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_block_device()) {
            open.push(format!("there is a block device {}", entry.path().display()));
        }
    }
}

fn processes(open: &mut Vec<String>) {
    let seen = fs::read_dir("/proc").into_iter().flatten().flatten();
    let seen = seen.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    if seen.count() > MOST_PROCESSES {
        open.push("processes from outside can be seen".to_owned());
    }
    if rustix::process::getppid().is_none_or(|parent| !parent.is_init()) {
        open.push("the agent-runner is not PID 1".to_owned());
    }
    if fs::read("/proc/1/environ").is_ok() {
        open.push("the memory of PID 1 can be read".to_owned());
    }
}

/// Makes a link and removes it.
fn can_link(folder: &Path) -> bool {
    let path = folder.join(".hermitcrab-probe");
    std::os::unix::fs::symlink("nowhere", &path).and_then(|()| fs::remove_file(&path)).is_ok()
}

/// Makes a file and removes it.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(".hermitcrab-probe");
    fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)
}
