//! From a [`SandboxSpec`] to bubblewrap's arguments: every wall, in one place. No shell is involved.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use protocol::layout;

use crate::sandbox::spec::{HOST_NAME, OPEN_FILES};
use crate::sandbox::{Access, SandboxSpec, User};

/// Where programs are found inside.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What of the host's root is there beside `/usr`: links into it on most systems, folders on some.
const ROOTS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What of the host's `/etc` is shown as it is: it changes while the gateway runs, and everybody may know it.
const ETC: [&str; 5] =
    ["alternatives", "ld.so.cache", "pki/ca-trust/extracted", "pki/tls/certs", "ssl/certs"];
/// The size of `/dev/shm`, in bytes.
const SHARED_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// What the agent-runner needs, where it begins as root, to become the agent's user and nobody else.
const TO_BECOME_A_USER: [&str; 3] = ["CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"];

/// What sandboxes take from the host.
#[derive(Debug)]
pub(super) struct Host {
    /// The arguments for the host's programs and their `/etc`.
    roots: Vec<OsString>,
    /// Whether bubblewrap is started as root.
    root: bool,
}

impl Host {
    /// Looks at the host, and writes the files of `/etc` that are ours into `folder`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn look(folder: &Path, user: User) -> io::Result<Self> {
        let mut roots = words(["--ro-bind", "/usr", "/usr"]);
        for name in ROOTS {
            let path = Path::new("/").join(name);
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    let target = path.read_link()?.into_os_string();
                    roots.extend(["--symlink".into(), target, path.into_os_string()]);
                }
                Ok(_) => {
                    let path = path.into_os_string();
                    roots.extend(["--ro-bind".into(), path.clone(), path]);
                }
                Err(_not_there) => {}
            }
        }
        roots.extend(etc(&folder.join("etc"), user)?);
        Ok(Self { roots, root: rustix::process::geteuid().is_root() })
    }

    /// The arguments for one sandbox; `gated` when the agent-runner waits until it is let in.
    pub(super) fn arguments(&self, spec: &SandboxSpec, gated: bool) -> Vec<OsString> {
        let mut arguments = self.walls();
        arguments.extend(self.file_system(spec));
        arguments.extend(words(["--clearenv", "--setenv", "PATH", PATH]));
        arguments.extend(words(["--setenv", "HOME", layout::HOME]));
        arguments.extend(words(["--setenv", "LANG", "C.UTF-8"]));
        arguments.extend(words(["--setenv", "TZ", &spec.time_zone]));
        let beginning = if self.root { "/" } else { layout::GROUP };
        arguments.extend(words(["--chdir", beginning, "--", layout::RUNNER, "init"]));
        if self.root {
            // Root without its capabilities has no way into the group's folder; the agent-runner goes there.
            arguments.extend(words(["--user", &format!("{}:{}", spec.user.uid, spec.user.gid)]));
        }
        if gated {
            arguments.extend(words(["--gate", "stdin"]));
        }
        let limits = &spec.limits;
        let mut rlimits = vec![("core", 0), ("fsize", limits.file_bytes), ("nofile", OPEN_FILES)];
        if !gated {
            // No cgroup holds it, so at least no single program can take everything.
            rlimits.extend([("data", limits.memory_bytes), ("nproc", limits.pids.into())]);
        }
        for (name, value) in rlimits {
            arguments.extend(words(["--rlimit", &format!("{name}={value}")]));
        }
        arguments.extend(spec.runner_args.iter().map(OsString::from));
        arguments
    }

    /// Namespaces, capabilities, and where bubblewrap reports.
    fn walls(&self) -> Vec<OsString> {
        let mut walls = words([
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--as-pid-1",
            "--new-session",
            "--hostname",
            HOST_NAME,
            "--json-status-fd",
            "1",
            "--cap-drop",
            "ALL",
        ]);
        if self.root {
            walls.extend(TO_BECOME_A_USER.iter().flat_map(|name| words(["--cap-add", name])));
        } else {
            walls.extend(words(["--unshare-user"]));
        }
        walls
    }

    fn file_system(&self, spec: &SandboxSpec) -> Vec<OsString> {
        let mut made = Folders::default();
        let mut arguments = self.roots.clone();
        arguments.extend(words(["--proc", "/proc", "--dev", "/dev"]));
        arguments.extend(temporary("/tmp", spec.limits.tmp_bytes));
        arguments.extend(temporary("/dev/shm", SHARED_MEMORY_BYTES));
        arguments.extend(words(["--remount-ro", "/dev"]));
        made.above(Path::new("/var/tmp"), &mut arguments);
        arguments.extend(words(["--symlink", "/tmp", "/var/tmp"]));
        made.above(&Path::new(layout::EXTRA).join("x"), &mut arguments);
        let runner = (&spec.runner, Path::new(layout::RUNNER), Access::ReadOnly);
        let mounts = spec.mounts.iter().map(|mount| (&mount.host, &*mount.inside, mount.access));
        for (host, inside, access) in std::iter::once(runner).chain(mounts) {
            made.above(inside, &mut arguments);
            let option = match access {
                Access::ReadOnly => "--ro-bind",
                Access::ReadWrite => "--bind",
            };
            arguments.extend([option.into(), host.into(), inside.into()]);
        }
        arguments.extend(words(["--remount-ro", "/"]));
        arguments
    }
}

/// The folders above mounts, which bubblewrap itself would make for root alone.
#[derive(Default)]
struct Folders(Vec<PathBuf>);

impl Folders {
    /// Makes the folders above a path that are not made yet.
    fn above(&mut self, path: &Path, arguments: &mut Vec<OsString>) {
        let parents: Vec<_> = path.ancestors().skip(1).collect();
        for parent in parents.into_iter().rev() {
            let is_root = parent.components().all(|part| part == Component::RootDir);
            if !is_root && !self.0.iter().any(|made| made == parent) {
                arguments.extend(words(["--perms", "0755", "--dir"]));
                arguments.push(parent.into());
                self.0.push(parent.to_owned());
            }
        }
    }
}

/// A place in memory that everybody may write, up to a size.
fn temporary(path: &str, bytes: u64) -> Vec<OsString> {
    words(["--perms", "1777", "--size", &bytes.to_string(), "--tmpfs", path])
}

/// Makes the `/etc` of all sandboxes in a folder of the store, and returns the arguments that show it: one mount, and
/// one more for each part of the host's.
fn etc(folder: &Path, user: User) -> io::Result<Vec<OsString>> {
    let host = Path::new("/etc");
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for (name, content) in etc_files(user) {
        std::fs::write(folder.join(name), content)?;
    }
    // Zones are in /usr, and this is a link into it.
    if let Ok(zone) = host.join("localtime").read_link() {
        match std::os::unix::fs::symlink(zone, folder.join("localtime")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let mut arguments = vec!["--ro-bind".into(), folder.into(), host.into()];
    for name in ETC {
        let (shown, place) = (host.join(name), folder.join(name));
        let Ok(metadata) = shown.metadata() else { continue };
        if metadata.is_dir() {
            std::fs::create_dir_all(&place)?;
        } else {
            std::fs::write(&place, "")?;
        }
        arguments.extend(["--ro-bind-try".into(), shown.clone().into(), shown.into()]);
    }
    Ok(arguments)
}

/// The files of `/etc` that are ours.
fn etc_files(user: User) -> [(&'static str, String); 4] {
    let User { uid, gid } = user;
    [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n\
                 agent:x:{uid}:{gid}::{home}:/bin/bash\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
                home = layout::HOME
            ),
        ),
        ("group", format!("root:x:0:\nagent:x:{gid}:\nnogroup:x:65534:\n")),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".to_owned()),
    ]
}

fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Limits, Mount};

    fn arguments(root: bool, gated: bool) -> Vec<String> {
        let host = Host { roots: words(["--ro-bind", "/usr", "/usr"]), root };
        let mount = |host: &str, inside: &str, access| Mount {
            host: host.into(),
            inside: inside.into(),
            access,
        };
        let spec = SandboxSpec {
            id: "s1".parse().unwrap(),
            group: "family".parse().unwrap(),
            image: String::new(),
            runner: "/store/agent-runner".into(),
            runner_args: vec!["--".to_owned(), "bash".to_owned()],
            user: User { uid: 1000, gid: 1001 },
            mounts: vec![
                mount("/groups/family", layout::GROUP, Access::ReadWrite),
                mount("/groups/global", layout::GLOBAL, Access::ReadOnly),
                mount("/data", "/workspace/extra/a/data", Access::ReadOnly),
            ],
            limits: Limits::default(),
            time_zone: "UTC".to_owned(),
        };
        let arguments = host.arguments(&spec, gated);
        arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    fn has(arguments: &[String], run: &[&str]) -> bool {
        arguments.windows(run.len()).any(|window| window == run)
    }

    #[test]
    fn every_wall_is_asked_for() {
        for root in [true, false] {
            let arguments = arguments(root, false);
            for wall in [
                &["--unshare-net"][..],
                &["--unshare-pid"],
                &["--unshare-ipc"],
                &["--unshare-uts"],
                &["--as-pid-1"],
                &["--new-session"],
                &["--cap-drop", "ALL"],
                &["--ro-bind", "/usr", "/usr"],
                &["--remount-ro", "/"],
                &["--remount-ro", "/dev"],
                &["--clearenv"],
                &["--bind", "/groups/family", "/workspace/group"],
                &["--ro-bind", "/groups/global", "/workspace/global"],
                &["--dir", "/workspace/extra/a", "--ro-bind", "/data", "/workspace/extra/a/data"],
                &["--rlimit", "nproc=512"],
            ] {
                assert!(has(&arguments, wall), "{wall:?} of {arguments:?}");
            }
            assert!(arguments.ends_with(&["--".to_owned(), "bash".to_owned()]));
            assert!(!has(&arguments, &["--die-with-parent"]), "it would end with the gateway");
            assert_eq!(has(&arguments, &["--user", "1000:1001"]), root);
            assert_eq!(has(&arguments, &["--unshare-user"]), !root);
            assert_eq!(has(&arguments, &["--cap-add"]), root);
        }
    }

    #[test]
    fn a_sandbox_with_a_cgroup_waits_for_it() {
        assert!(has(&arguments(true, true), &["--gate", "stdin"]));
        assert!(!has(&arguments(true, true), &["--rlimit", "nproc=512"]));
        assert!(!has(&arguments(true, false), &["--gate", "stdin"]));
    }
}
