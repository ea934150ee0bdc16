//! PID 1: what it forbids to everything below it, and what it does for it.

use std::fs;
use std::process::Command;

use protocol::{Input, Outcome};
use rustix::process::Signal;
use serde_json::json;
use test_servers::model::{Script, Server, Turn};

use crate::support::{BINARY, Runner, fresh_places_apart, prompt};

/// A server that has the agent run this command and repeat what it printed.
async fn server(command: &str) -> Server {
    let command = Turn::tool("bash", json!({"command": command}));
    Server::start(Script::default().on("go", [command, Turn::text("{tool_result}")])).await.unwrap()
}

/// What a command prints that runs below `init`.
async fn below_init(mut init: Command, command: &str) -> (String, Runner) {
    let server = server(command).await;
    let broker = server.url().trim_start_matches("http://").to_owned();
    init.arg("init");
    let limits = ["--rlimit", "core=0", "--rlimit", "nofile=300"];
    let arguments = [&limits[..], &["--broker", &broker, "--port", "0"]].concat();
    let mut runner = Runner::launch(fresh_places_apart(), init, &arguments);
    runner.put(&Input::Prompt(Box::new(prompt(1, "go"))));
    match runner.done(1).outcome {
        Outcome::Answer { text } => (text, runner),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_the_agents_places_are_writable_and_ipc_holds_plain_files_only() {
    let script = r#"
        try() { if "$@" 2>/dev/null; then echo "yes $*"; else echo "no $*"; fi; }
        ipc=../ipc/messages
        echo x > plain
        try cp plain $ipc/plain
        try mv $ipc/plain $ipc/moved
        try rm $ipc/moved
        try mkdir $ipc/directory
        try ln -s /etc/passwd $ipc/link
        try mkfifo $ipc/pipe
        try ln plain $ipc/hard
        try mknod $ipc/device c 1 3
        try python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('$ipc/socket')"
        try ln -s plain link
        try ln plain hard
        try mkfifo pipe
        try mkdir -p ~/deep/down
        try touch ../outside
        try touch /etc/outside
        try cat /etc/passwd >/dev/null
        grep NoNewPrivs /proc/self/status
        ulimit -n
        ulimit -c
    "#;
    let (text, runner) = below_init(Command::new(BINARY), script).await;
    let expected = r#"yes cp plain ../ipc/messages/plain
yes mv ../ipc/messages/plain ../ipc/messages/moved
yes rm ../ipc/messages/moved
yes mkdir ../ipc/messages/directory
no ln -s /etc/passwd ../ipc/messages/link
no mkfifo ../ipc/messages/pipe
no ln plain ../ipc/messages/hard
no mknod ../ipc/messages/device c 1 3
no python3 -c import socket; socket.socket(socket.AF_UNIX).bind('../ipc/messages/socket')
yes ln -s plain link
yes ln plain hard
yes mkfifo pipe
yes mkdir -p HOME/deep/down
no touch ../outside
no touch /etc/outside
NoNewPrivs:	1
300
0
"#;
    let home = runner.path("home").display().to_string();
    assert_eq!(text.replace(&home, "HOME"), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn system_calls_that_lead_out_are_denied_and_the_others_are_not() {
    // Numbers beyond those of any kernel tell that the probe itself works: they are unknown, not denied.
    let calls = [
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0], "EPERM"),
        ("ptrace", libc::SYS_ptrace, [0, 0, 0], "EPERM"),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0], "EPERM"),
        ("keyctl", libc::SYS_keyctl, [0, -3, 0], "EPERM"),
        ("add_key", libc::SYS_add_key, [0, 0, 0], "EPERM"),
        ("bpf", libc::SYS_bpf, [0, 0, 0], "EPERM"),
        ("perf_event_open", libc::SYS_perf_event_open, [0, 0, -1], "EPERM"),
        ("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0], "EPERM"),
        ("mount", libc::SYS_mount, [0, 0, 0], "EPERM"),
        ("open_tree", libc::SYS_open_tree, [-100, 0, 0], "EPERM"),
        ("unshare(NEWUSER)", libc::SYS_unshare, [0x1000_0000, 0, 0], "EPERM"),
        ("unshare(nothing)", libc::SYS_unshare, [0, 0, 0], "0"),
        ("clone3", libc::SYS_clone3, [0, 0, 0], "ENOSYS"),
        ("ioctl(TIOCSTI)", libc::SYS_ioctl, [0, 0x5412, 0], "EPERM"),
        ("socket(VSOCK)", libc::SYS_socket, [40, 1, 0], "EPERM"),
        ("socket(ALG)", libc::SYS_socket, [38, 5, 0], "EPERM"),
        ("socket(PACKET)", libc::SYS_socket, [17, 3, 0], "EPERM"),
        ("socket(NETLINK, NETFILTER)", libc::SYS_socket, [16, 3, 12], "EPERM"),
        ("socket(NETLINK, ROUTE)", libc::SYS_socket, [16, 3, 0], "fd"),
        ("socket(UNIX)", libc::SYS_socket, [1, 1, 0], "fd"),
        ("socket(INET)", libc::SYS_socket, [2, 1, 0], "fd"),
        ("unknown", 0xfff, [0, 0, 0], "ENOSYS"),
    ];
    let mut probe = String::from(
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n\
         def probe(name, *numbers):\n\
         \x20   got = libc.syscall(*map(ctypes.c_long, numbers))\n\
         \x20   what = 'fd' if got > 2 else str(got) if got >= 0 else errno.errorcode[ctypes.get_errno()]\n\
         \x20   print(name, what)\n",
    );
    let mut expected = String::new();
    for (name, number, [a, b, c], outcome) in calls {
        probe.push_str(&format!("probe('{name}', {number}, {a}, {b}, {c})\n"));
        expected.push_str(&format!("{name} {outcome}\n"));
    }
    probe.push_str("import socket\nprint('interfaces', len(socket.if_nameindex()) > 0)\n");
    expected.push_str("interfaces True\n");
    let script = format!("python3 - <<'PROBE'\n{probe}PROBE\n");
    let (text, _) = below_init(Command::new(BINARY), &script).await;
    assert_eq!(text, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn orphans_are_reaped() {
    // As PID 1 of a namespace, where orphans end up.
    let mut sandbox = Command::new("bwrap");
    sandbox.args(["--bind", "/", "/", "--dev", "/dev", "--unshare-user", "--unshare-pid"]);
    sandbox.args(["--proc", "/proc", "--as-pid-1", "--die-with-parent", "--", BINARY]);
    let script = r#"
        echo "init is $(tr '\0' ' ' < /proc/1/cmdline | cut -d' ' -f2)"
        for n in $(seq 200); do (true & true); done
        for n in $(seq 100); do
            dead=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
            [ "$dead" = 0 ] && break
            sleep 0.1
        done
        echo "$dead dead"
    "#;
    let (text, mut runner) = below_init(sandbox, script).await;
    assert_eq!(text, "init is init\n0 dead\n");
    runner.put(&Input::Close);
    assert_eq!(runner.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn signals_are_passed_on_and_the_status_is_the_childs() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (_, mut runner) = below_init(Command::new(BINARY), "true").await;
        runner.signal(signal);
        assert_eq!(runner.wait().code(), Some(code));
    }
    // A directory that is missing ends the child, and its status comes through.
    let root = fresh_places_apart();
    fs::remove_dir_all(root.path().join("ipc")).unwrap();
    let mut init = Command::new(BINARY);
    init.arg("init");
    let mut runner = Runner::launch(root, init, &["--broker", "127.0.0.1:9"]);
    assert_eq!(runner.wait().code(), Some(74));
}
