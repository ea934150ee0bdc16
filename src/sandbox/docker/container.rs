//! From a [`SandboxSpec`] to what the Engine API is asked for: every wall of a container, in one place.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits,
};
use protocol::layout;

use super::connect::Facts;
use crate::model::SandboxId;
use crate::sandbox::spec::{HOST_NAME, OPEN_FILES};
use crate::sandbox::{self, Access, SandboxError, SandboxSpec};

/// The label that holds the id of the install.
pub(super) const INSTALL: &str = "hermitcrab.install";
/// The label that holds the group.
pub(super) const GROUP: &str = "hermitcrab.group";
/// The label that holds the id of the sandbox.
pub(super) const SANDBOX: &str = "hermitcrab.sandbox";

/// The size of `/dev/shm`, in bytes; it counts as memory.
const SHARED_MEMORY_BYTES: i64 = 64 * 1024 * 1024;

/// The name of a sandbox's container.
pub(super) fn name(install: &str, id: &SandboxId) -> String {
    format!("hermitcrab-{install}-{id}")
}

/// What a sandbox's container is made from.
///
/// # Errors
/// When a path is not text, or a limit is beyond what the API can say.
pub(super) fn body(
    spec: &SandboxSpec,
    install: &str,
    facts: &Facts,
) -> Result<ContainerCreateBody, SandboxError> {
    let labels = [(INSTALL, install), (GROUP, spec.group.as_str()), (SANDBOX, spec.id.as_str())];
    let arguments = ["init".to_owned()].into_iter().chain(spec.runner_args.iter().cloned());
    Ok(ContainerCreateBody {
        hostname: Some(HOST_NAME.to_owned()),
        user: Some(format!("{}:{}", spec.user.uid, spec.user.gid)),
        env: Some(vec![format!("HOME={}", layout::HOME), format!("TZ={}", spec.time_zone)]),
        entrypoint: Some(vec![layout::RUNNER.to_owned()]),
        cmd: Some(arguments.collect()),
        image: Some(spec.image.clone()),
        working_dir: Some(layout::GROUP.to_owned()),
        labels: Some(owned(labels)),
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(host_config(spec, facts)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(spec: &SandboxSpec, facts: &Facts) -> Result<HostConfig, SandboxError> {
    let limits = &spec.limits;
    let memory = number(limits.memory_bytes)?;
    let cpus = i64::from(limits.milli_cpus).min(facts.milli_cpus).saturating_mul(1_000_000);
    let tmp = format!("rw,exec,nosuid,nodev,size={},mode=1777", limits.tmp_bytes);
    let mut security = vec!["no-new-privileges".to_owned()];
    if facts.selinux {
        security.push("label=disable".to_owned());
    }
    Ok(HostConfig {
        network_mode: Some("none".to_owned()),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(security),
        privileged: Some(false),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        userns_mode: facts.user_namespace.map(str::to_owned),
        mounts: Some(mounts(spec)?),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmp)])),
        shm_size: Some(SHARED_MEMORY_BYTES.min(memory)),
        memory: facts.limits.memory.then_some(memory),
        // As much as memory alone: nothing is swapped out.
        memory_swap: facts.limits.memory.then_some(memory),
        nano_cpus: facts.limits.cpus.then_some(cpus),
        pids_limit: facts.limits.pids.then_some(i64::from(limits.pids)),
        ulimits: Some(vec![
            ulimit("core", 0),
            ulimit("fsize", number(limits.file_bytes)?),
            ulimit("nofile", number(OPEN_FILES)?),
        ]),
        // Whatever the agent-runner says on its standard error is words for people, and bounded.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(owned([("max-size", "64k"), ("max-file", "1")])),
        }),
        // The agent-runner is PID 1 and reaps; the exit must be read, so the gateway removes.
        init: Some(false),
        auto_remove: Some(false),
        ..HostConfig::default()
    })
}

/// The mounts, each refused by the daemon when its source is missing.
///
/// The API has no `nosuid` and no `nodev` for binds; no-new-privileges and the device list of the container's cgroup
/// say the same. A read-only mount is not recursive, because old daemons leave what is mounted below it writable.
fn mounts(spec: &SandboxSpec) -> Result<Vec<Mount>, SandboxError> {
    let runner = sandbox::Mount {
        host: spec.runner.clone(),
        inside: layout::RUNNER.into(),
        access: Access::ReadOnly,
    };
    std::iter::once(&runner).chain(&spec.mounts).map(mount).collect()
}

fn mount(mount: &sandbox::Mount) -> Result<Mount, SandboxError> {
    let text = |path: &std::path::Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            SandboxError::failed("mount a path", format!("{} is not text", path.display()))
        })
    };
    let read_only = mount.access == Access::ReadOnly;
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(text(&mount.host)?),
        target: Some(text(&mount.inside)?),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            non_recursive: Some(read_only),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

fn number(value: u64) -> Result<i64, SandboxError> {
    i64::try_from(value).map_err(|error| SandboxError::failed("set a limit", error))
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> HashMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::docker::connect::Controls;
    use crate::sandbox::{Limits, Mount, User};

    fn spec() -> SandboxSpec {
        SandboxSpec {
            id: "s1".parse().unwrap(),
            group: "family".parse().unwrap(),
            image: "image".to_owned(),
            runner: "/store/agent-runner".into(),
            runner_args: vec!["--port".to_owned(), "1".to_owned()],
            user: User { uid: 1000, gid: 1001 },
            mounts: vec![
                Mount {
                    host: "/groups/family".into(),
                    inside: layout::GROUP.into(),
                    access: Access::ReadWrite,
                },
                Mount {
                    host: "/groups/global".into(),
                    inside: layout::GLOBAL.into(),
                    access: Access::ReadOnly,
                },
            ],
            limits: Limits::default(),
            time_zone: "Europe/Lisbon".to_owned(),
        }
    }

    fn facts() -> Facts {
        let limits = Controls { memory: true, cpus: true, pids: true };
        Facts { limits, milli_cpus: 8_000, ..Facts::default() }
    }

    #[test]
    fn every_wall_is_asked_for() {
        let body = body(&spec(), "abc", &facts()).unwrap();
        let host = body.host_config.unwrap();
        assert_eq!(body.user.as_deref(), Some("1000:1001"));
        assert_eq!(body.entrypoint.unwrap(), ["/opt/hermitcrab/agent-runner"]);
        assert_eq!(body.cmd.unwrap(), ["init", "--port", "1"]);
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.cap_add, None);
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(host.memory, Some(2 << 30));
        assert_eq!(host.memory_swap, host.memory);
        assert_eq!(host.nano_cpus, Some(2_000_000_000));
        assert_eq!(host.pids_limit, Some(512));
        assert_eq!(host.binds, None);
        assert_eq!(host.restart_policy, None);
        let mounts = host.mounts.unwrap();
        let access: Vec<_> = mounts.iter().map(|mount| mount.read_only.unwrap()).collect();
        assert_eq!(access, [true, false, true]);
    }

    #[test]
    fn a_small_host_gets_what_it_has() {
        let facts = Facts {
            milli_cpus: 1_000,
            limits: Controls { memory: false, ..facts().limits },
            ..facts()
        };
        let host = body(&spec(), "abc", &facts).unwrap().host_config.unwrap();
        assert_eq!(host.nano_cpus, Some(1_000_000_000));
        assert_eq!((host.memory, host.memory_swap), (None, None));
    }
}
