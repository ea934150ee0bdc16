//! What a hostile agent tries, as a table: each line is a script that ends with 0 when its attack has succeeded.
//!
//! That a script can succeed at all is proven by `control.rs`, which runs the same table where there are no walls.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use hermitcrab::sandbox::contract::{Stage, host};
use hermitcrab::sandbox::{Exit, SandboxKind};
use protocol::layout;

use crate::place::Place;

/// An attack: its name, its script, and where it succeeds when there are no walls.
pub(crate) type Attack = (&'static str, &'static str, Control);

/// Where an attack is shown to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// In a container without walls.
    Open,
    /// Nowhere here: it needs something that a test machine lacks, such as a metadata service.
    None,
}

use Control::{None as Nowhere, Open};

/// The word that is in every file that no agent may read.
pub(crate) const SECRET: &str = "the-word-that-nobody-inside-may-know";

pub(crate) const ATTACKS: &[Attack] = &[
    // Files of the host and of other groups.
    ("read the gateway's .env", "grep -q $WORD $HOST_HOME/.env", Open),
    ("read the store", "grep -q $WORD $HOST_HOME/store/messages.db", Open),
    (
        "read another group by its path on the host",
        "grep -q $WORD $HOST_HOME/groups/victim/CLAUDE.md",
        Open,
    ),
    (
        "read another group beside the own",
        "grep -rq $WORD /workspace/group/.. --include=CLAUDE.md",
        Open,
    ),
    (
        "read another group's mail beside the own",
        "grep -rq $WORD /workspace/ipc/.. --include=mail.json",
        Open,
    ),
    ("read another sandbox's socket folder", "test -e /run/hermitcrab/../victim/broker.sock", Open),
    ("follow a link out", "ln -sf $HOST_HOME/.env $OWN/link && grep -q $WORD $OWN/link", Open),
    ("read through the root of PID 1", "grep -q $WORD /proc/1/root$HOST_HOME/.env", Open),
    (
        "read through the folder of any process",
        "grep -q $WORD /proc/[0-9]*/root$HOST_HOME/.env",
        Open,
    ),
    ("find the host's disk", "test -n \"$(find /dev -type b | head -1)\"", Open),
    ("find Docker's socket", "test -S /var/run/docker.sock", Open),
    // Writing where nothing may be written.
    ("write in the root", "touch /x && rm /x", Open),
    ("write in /usr", "touch /usr/bin/x && rm /usr/bin/x", Open),
    ("write in /etc", "touch /etc/x && rm /etc/x", Open),
    ("write in /dev", "touch /dev/x && rm /dev/x", Open),
    ("write in the common folder", "touch /workspace/global/x && rm /workspace/global/x", Open),
    (
        "replace the agent-runner",
        "rm -f /opt/hermitcrab/agent-runner && test ! -e /opt/hermitcrab/agent-runner",
        Nowhere,
    ),
    ("write beside the agent-runner", "touch /opt/hermitcrab/x && rm /opt/hermitcrab/x", Open),
    ("put a socket in the broker's place", "touch /run/hermitcrab/x && rm /run/hermitcrab/x", Open),
    ("remove the broker's socket", "rm /run/hermitcrab/broker.sock", Open),
    ("change a setting of the kernel", "echo 1 > /proc/sys/vm/drop_caches", Open),
    ("press the magic key", "echo h > /proc/sysrq-trigger", Nowhere),
    // Entries in the ipc directory that are no plain files.
    ("leave a link for the gateway", "ln -s /etc/passwd /workspace/ipc/messages.json", Open),
    ("leave a pipe for the gateway", "mkfifo /workspace/ipc/pipe", Open),
    (
        "leave a socket for the gateway",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/workspace/ipc/sock\")'",
        Open,
    ),
    ("leave a device for the gateway", "mknod /workspace/ipc/device c 1 5", Open),
    // The network.
    ("reach a service of the host on loopback", "reach 127.0.0.1 $LOOPBACK_PORT", Nowhere),
    ("reach a service of the host by its address", "reach $HOST_ADDRESS $PORT", Open),
    ("reach a service of the host through the bridge", "reach 172.17.0.1 $PORT", Open),
    ("reach the metadata service", "reach 169.254.169.254 80", Nowhere),
    ("reach the internet", "reach 1.1.1.1 443 || reach 2606:4700:4700::1111 443", Nowhere),
    ("ask a name server", "getent hosts example.com", Nowhere),
    (
        "have a route",
        "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((\"192.0.2.1\", 9))'",
        Open,
    ),
    (
        "reach an abstract socket of the host",
        "python3 -c 'import socket,os; socket.socket(socket.AF_UNIX).connect(\"\\0\"+os.environ[\"ABSTRACT\"])'",
        Nowhere,
    ),
    (
        "open a raw socket",
        "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
        Open,
    ),
    (
        "open a packet socket",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        Open,
    ),
    (
        "dial the hypervisor",
        "python3 -c 'import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)'",
        Open,
    ),
    (
        "make a network device",
        "python3 -c 'import fcntl,struct; fcntl.ioctl(open(\"/dev/net/tun\",\"r+b\",0), 0x400454ca, struct.pack(\"16sH\", b\"x\", 2))'",
        Nowhere,
    ),
    // Privileges.
    ("be root", "test $(id -u) = 0", Open),
    ("become root", "python3 -c 'import os; os.setuid(0)'", Open),
    ("become root by sudo or su", "sudo -n true || su -c true </dev/null", Open),
    (
        "have a capability",
        "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb):' /proc/self/status | grep -q '[1-9a-f]$'",
        Open,
    ),
    ("mount", "mount -t tmpfs none /home/agent", Open),
    ("mount again what is read-only", "mount -o remount,bind,rw /run/hermitcrab", Open),
    ("make a user namespace", "unshare --user true", Open),
    ("make a mount namespace", "unshare --mount true", Open),
    ("change the root", "chroot / true", Open),
    ("make a device", "mknod $OWN/disk b 8 0", Open),
    ("set the name of the host", "syscall 170 'b\"x\"' 1", Open),
    ("trace another process", "sleep 20 & syscall 101 16 $! 0 0", Open),
    (
        "read the memory of another process",
        "sleep 20 & head -c 0 /proc/$!/mem && syscall 310 $! 0 0 0 0 0",
        Open,
    ),
    ("read the memory of PID 1", "cat /proc/1/environ", Open),
    ("take the files of PID 1", "ls /proc/1/fd", Open),
    ("set up io_uring", "syscall 425 8 0", Open),
    ("load a program into the kernel", "syscall 321 5 0 0", Open),
    ("count events of the processor", "syscall 298 0 0 0 0 0", Open),
    ("catch page faults", "syscall 323 0", Open),
    ("look at the kernel's keys", "syscall 250 0 -3 0", Open),
    ("add a key", "syscall 248 'b\"user\"' 'b\"x\"' 'b\"y\"' 1 -3", Open),
    ("load a kernel module", "syscall 175 0 0 'b\"\"'", Nowhere),
    ("restart the machine", "syscall 169 0 0 0 0", Open),
    (
        "join the namespaces of PID 1",
        "python3 -c 'import os; os.open(\"/proc/1/ns/mnt\", os.O_RDONLY)'",
        Open,
    ),
    ("see processes of the host", "test $(ls -d /proc/[0-9]* | wc -l) -gt 40", Nowhere),
    ("kill PID 1", "kill -9 1 && sleep 1 && ! kill -0 1", Nowhere),
];

/// What the scripts of the table use.
const TOOLS: &str = r#"
reach() { timeout 3 python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)' "$@"; }
# Calls the kernel. A call that was let in and failed for its nonsensical arguments has succeeded.
syscall() { python3 -c '
import ctypes, sys
arguments = [eval(word) for word in sys.argv[1:]]
arguments = [ctypes.c_char_p(word) if isinstance(word, bytes) else ctypes.c_long(word) for word in arguments]
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall(*arguments)
sys.exit(result < 0 and ctypes.get_errno() in (1, 13, 38))' "$@"; }
export -f reach syscall
"#;

/// A script that tries every attack and writes a line for each into `$RESULTS`.
pub(crate) fn script(attacks: &[Attack]) -> String {
    let mut script = TOOLS.to_owned();
    for (name, attack, _) in attacks {
        let quoted = attack.replace('\'', r"'\''");
        script.push_str(&format!(
            "timeout -s KILL 20 bash -c '{quoted}' >/dev/null 2>&1 </dev/null; echo \"$? {name}\" >> $RESULTS\n"
        ));
    }
    script
}

/// Reads what a script wrote: the exit code of every attack.
pub(crate) fn read(results: &str) -> BTreeMap<&str, i32> {
    results
        .lines()
        .map(|line| {
            let (code, name) = line.split_once(' ').expect("a code and a name");
            (name, code.parse().expect("a code"))
        })
        .collect()
}

/// A host with things worth having, and services that wait for somebody to come.
pub(crate) struct Prey {
    variables: Vec<(&'static str, String)>,
    _listeners: (TcpListener, TcpListener, UnixListener),
}

impl Prey {
    pub(crate) fn new(place: &Place) -> Self {
        let home = place.home();
        for (file, folder) in [
            (".env", "."),
            ("store/messages.db", "store"),
            ("groups/victim/CLAUDE.md", "groups/victim"),
            ("store/ipc/victim/s1/mail.json", "store/ipc/victim/s1"),
        ] {
            std::fs::create_dir_all(home.join(folder)).unwrap();
            std::fs::write(home.join(file), SECRET).unwrap();
        }
        // As open as they could be by mistake: the walls must hold, not the modes.
        for folder in ["", "store", "store/ipc", "store/ipc/victim", "groups", "groups/victim"] {
            std::fs::set_permissions(home.join(folder), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let abstract_name = format!("hermitcrab-test-{}", fastrand::u64(..));
        let abstract_address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let variables = vec![
            ("WORD", SECRET.to_owned()),
            ("HOST_HOME", home.to_str().unwrap().to_owned()),
            ("HOST_ADDRESS", address().to_string()),
            ("PORT", everywhere.local_addr().unwrap().port().to_string()),
            ("LOOPBACK_PORT", loopback.local_addr().unwrap().port().to_string()),
            ("ABSTRACT", abstract_name),
        ];
        let listener = UnixListener::bind_addr(&abstract_address).unwrap();
        Self { variables, _listeners: (everywhere, loopback, listener) }
    }

    /// What the scripts find in their environment.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// The address of this machine, as others see it.
fn address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // No packet is sent; the kernel only says which address it would use.
    match socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)) {
        Ok(()) => socket.local_addr().unwrap().ip(),
        Err(_no_network) => Ipv4Addr::LOCALHOST.into(),
    }
}

/// Tries the whole table in one sandbox.
async fn attack(place: &Place) {
    let prey = Prey::new(place);
    let exports: String =
        prey.variables().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    let own = format!("export OWN={} RESULTS={}/results\n", layout::GROUP, layout::IPC);
    let sandbox = place.open().await.unwrap();
    let spec = place.running(&["bash", "/workspace/group/attack.sh"]);
    let group = host(&spec, layout::GROUP);
    std::fs::write(group.join("attack.sh"), exports + &own + &script(ATTACKS)).unwrap();
    let _broker = UnixListener::bind(host(&spec, layout::BROKER_DIR).join("broker.sock")).unwrap();
    sandbox.start(&spec).await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(280), sandbox.wait(&spec.id)).await;
    sandbox.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert_eq!(exit.expect("the attacks end in time").unwrap(), Exit::Code(0));

    let results = place.left(&spec, "results");
    let results = read(&results);
    assert_eq!(results.len(), ATTACKS.len(), "every attack was tried");
    let succeeded: Vec<_> = results.iter().filter(|(_, code)| **code == 0).collect();
    assert!(succeeded.is_empty(), "{:?} let these succeed: {succeeded:?}", place.kind);
    // 126 and 127: a tool of the script is missing, so nothing was tried.
    let untried: Vec<_> = results
        .iter()
        .filter(|(name, code)| matches!(code, 126 | 127) && !name.contains("sudo"))
        .collect();
    assert!(untried.is_empty(), "{:?} lacks tools for these: {untried:?}", place.kind);
    assert!(host(&spec, layout::BROKER_DIR).join("broker.sock").exists());
}

#[tokio::test]
async fn docker_holds() {
    attack(&Place::new(SandboxKind::Docker)).await;
}

#[tokio::test]
async fn bubblewrap_holds() {
    attack(&Place::new(SandboxKind::Bubblewrap)).await;
}
