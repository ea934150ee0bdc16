//! The control of the attacks: where there are no walls they succeed, so their failing in a sandbox means something.

use std::process::Command;

use hermitcrab::sandbox::SandboxKind;

use crate::attacks::{ATTACKS, Attack, Control, Prey, read, script};
use crate::place::{IMAGE, Place};

#[test]
fn without_walls_the_attacks_succeed() {
    let place = Place::new(SandboxKind::Docker);
    let prey = Prey::new(&place);
    let home = place.home();
    let folders =
        ["groups/own", "groups/global", "store/ipc/own/s1", "broker/own", "broker/victim", "opt"];
    for folder in folders {
        place.folder(&home.join(folder));
    }
    for file in ["broker/own/broker.sock", "broker/victim/broker.sock", "opt/agent-runner"] {
        std::fs::write(home.join(file), "").unwrap();
    }
    let tried: Vec<Attack> =
        ATTACKS.iter().copied().filter(|(_, _, control)| *control == Control::Open).collect();
    std::fs::write(home.join("attack.sh"), script(&tried)).unwrap();

    // Everything that a sandbox denies: root, every capability, a network, the host's files and devices.
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--user", "0:0", "--cap-add", "ALL", "--device", disk()]);
    docker.args(["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]);
    docker.args(["--security-opt", "systempaths=unconfined", "--label", "hermitcrab.test=control"]);
    for capability in missing_capabilities() {
        docker.args(["--cap-drop", &capability]);
    }
    let shown = home.to_str().unwrap();
    for (host, inside) in [
        ("", shown),
        ("groups", "/workspace"),
        ("groups/own", "/workspace/group"),
        ("store/ipc/own", "/workspace/mail"),
        ("store/ipc", "/workspace/ipc"),
        ("broker", "/run"),
        ("broker/own", "/run/hermitcrab"),
        ("opt", "/opt/hermitcrab"),
    ] {
        docker.arg("--volume").arg(format!("{}:{inside}", home.join(host).display()));
    }
    docker.args(["--volume", "/var/run/docker.sock:/var/run/docker.sock"]);
    for (name, value) in prey.variables() {
        docker.arg("--env").arg(format!("{name}={value}"));
    }
    docker.args(["--env", "OWN=/workspace/group", "--env"]).arg(format!("RESULTS={shown}/results"));
    let output = docker.args([IMAGE, "bash"]).arg(home.join("attack.sh")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let results = std::fs::read_to_string(home.join("results")).unwrap();
    let failed: Vec<_> = read(&results).into_iter().filter(|(_, code)| *code != 0).collect();
    assert!(
        failed.is_empty(),
        "without walls these fail as well, so they prove nothing: {failed:?}"
    );
    assert_eq!(results.lines().count(), tried.len());
}

/// The probe finds what is open where there are no walls; what it finds in a sandbox is nothing.
#[test]
fn without_walls_the_probe_says_so() {
    let place = Place::new(SandboxKind::Docker);
    let (home, runner) = (place.home(), place.install().runner);
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--user", "0:0", "--label", "hermitcrab.test=control"]);
    docker.args(["--device", disk(), "--security-opt", "seccomp=unconfined"]);
    docker.args(["--volume", "/var/run/docker.sock:/var/run/docker.sock", "--workdir", "/"]);
    for inside in ["/workspace/group", "/workspace/ipc", "/run/hermitcrab"] {
        let folder = home.join(inside.trim_start_matches('/'));
        place.folder(&folder);
        docker.arg("--volume").arg(format!("{}:{inside}", folder.display()));
    }
    docker.arg("--volume").arg(format!("{}:/opt/hermitcrab/agent-runner", runner.display()));
    let output = docker.args([IMAGE, "/opt/hermitcrab/agent-runner", "probe"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdict = std::fs::read(home.join("workspace/ipc").join(protocol::probe::PROBE)).unwrap();
    let verdict: protocol::Probe = serde_json::from_slice(&verdict).unwrap();
    let open = verdict.open.join("\n");
    for wall in [
        "the agent is root",
        "the agent is in root's group",
        "capabilities are left in CapEff",
        "capabilities are left in CapBnd",
        "programs can give new privileges",
        "no system call is filtered",
        "there is a network device eth0",
        "there is a route to 1.1.1.1:53",
        "sockets of AF_VSOCK can be made",
        "the root can be written",
        "/usr can be written",
        "/opt/hermitcrab can be written",
        "/run/hermitcrab can be written",
        "/var/run/docker.sock is there",
        "there is a block device",
        "the agent-runner is not PID 1",
        "the memory of PID 1 can be read",
    ] {
        assert!(open.contains(wall), "{wall:?} is not in\n{open}");
    }
    assert!(!verdict.landlock);
}

/// A disk of this machine.
fn disk() -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let disks = ["/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0", "/dev/xvda"];
    let there =
        |path: &&str| std::fs::metadata(path).is_ok_and(|data| data.file_type().is_block_device());
    disks.into_iter().find(there).expect("this machine has a disk")
}

/// The capabilities that this machine itself lacks, so that no container of it can have them.
fn missing_capabilities() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    let bounds = u64::from_str_radix(bounds, 16).unwrap();
    // By their numbers in the kernel's list.
    [(21, "SYS_ADMIN"), (24, "SYS_RESOURCE"), (16, "SYS_MODULE"), (22, "SYS_BOOT"), (39, "BPF")]
        .into_iter()
        .filter(|(number, _)| bounds & (1 << number) == 0)
        .map(|(_, name)| name.to_owned())
        .collect()
}
