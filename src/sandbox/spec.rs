//! What a group's sandbox is made from: its mounts, its user, its limits, and the folders on the host.

use std::path::{Path, PathBuf};

use protocol::layout;
use tracing::warn;

use super::{Access, Limits, Mount, SandboxError, SandboxSpec, User, folders, mounts};
use crate::config::Settings;
use crate::model::{Group, SandboxId};

/// The name of every sandbox's host.
pub(crate) const HOST_NAME: &str = "hermitcrab";
/// How many files one process in a sandbox may have open.
pub(crate) const OPEN_FILES: u64 = 4096;

/// The user of the sandboxes where the gateway itself is root, as the default image knows them.
const AGENT: User = User { uid: 1000, gid: 1000 };

/// Who everything inside a sandbox runs as: the gateway's own user, so that files are shared without further ado;
/// never root.
#[must_use]
pub fn user() -> User {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid == 0 { AGENT } else { User { uid, gid } }
}

/// What a sandbox of this group is made from. The folders that it mounts are made, except the ipc directory.
///
/// A mount that the group asks for and the allow-list refuses is left out; [`refused_mounts`] says which and why.
///
/// # Errors
/// When a folder cannot be made, or belongs to another user.
pub fn build(
    settings: &Settings,
    group: &Group,
    id: &SandboxId,
    runner: &Path,
) -> Result<SandboxSpec, SandboxError> {
    let user = user();
    let (store, groups) = (settings.store_dir(), settings.groups_dir());
    let name = group.name.as_str();
    let global = if group.name.is_main() { Access::ReadWrite } else { Access::ReadOnly };
    let mut mounts = vec![
        mount(own(groups.join(name), user)?, layout::GROUP, Access::ReadWrite),
        mount(own(groups.join("global"), user)?, layout::GLOBAL, global),
        mount(store.join("ipc").join(name).join(id.as_str()), layout::IPC, Access::ReadWrite),
        mount(own(store.join("sessions").join(name), user)?, layout::HOME, Access::ReadWrite),
        mount(own(broker_dir(&store, id), user)?, layout::BROKER_DIR, Access::ReadOnly),
    ];
    if !group.settings.additional_mounts.is_empty() {
        let (allowed, refused) = decide(settings, group);
        for refusal in refused {
            warn!(group.name = %group.name, %refusal, "a mount is left out");
        }
        mounts.extend(allowed);
    }
    Ok(SandboxSpec {
        id: id.clone(),
        group: group.name.clone(),
        image: settings.sandbox.image.clone(),
        runner: runner.to_owned(),
        runner_args: Vec::new(),
        user,
        mounts,
        limits: Limits::default(),
        time_zone: settings.time_zone.clone(),
    })
}

/// The folder of a sandbox's door to the broker.
pub(crate) fn broker_dir(store: &Path, id: &SandboxId) -> PathBuf {
    store.join("broker").join(id.as_str())
}

/// Makes a folder that belongs to the agent, and returns it.
///
/// # Errors
/// When it cannot be made, or belongs to another user.
pub(crate) fn own(path: PathBuf, user: User) -> Result<PathBuf, SandboxError> {
    match folders::own(&path, user) {
        Ok(()) => Ok(path),
        Err(source) => {
            Err(SandboxError::failed(format!("prepare the folder {}", path.display()), source))
        }
    }
}

/// The mounts that a group asks for and does not get, one sentence each.
#[must_use]
pub fn refused_mounts(settings: &Settings, group: &Group) -> Vec<String> {
    decide(settings, group).1.iter().map(ToString::to_string).collect()
}

/// Asks the allow-list about every mount of a group.
fn decide(settings: &Settings, group: &Group) -> (Vec<Mount>, Vec<mounts::Refusal>) {
    let policy = mounts::Policy::load(settings);
    let mut allowed: Vec<Mount> = Vec::new();
    let mut refused = Vec::new();
    for request in &group.settings.additional_mounts {
        match policy.decide(&group.name, request) {
            Ok(mount)
                if allowed.iter().any(|other| mounts::overlap(&other.inside, &mount.inside)) =>
            {
                refused.push(mounts::Refusal::new(
                    request,
                    "another mount of the group is in its place",
                ));
            }
            Ok(mount) => allowed.push(mount),
            Err(refusal) => refused.push(refusal),
        }
    }
    (allowed, refused)
}

fn mount(host: PathBuf, inside: &str, access: Access) -> Mount {
    Mount { host, inside: inside.into(), access }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MountRequest;

    fn built(home: &Path, settings: &Settings, group: &Group) -> Vec<(String, String, Access)> {
        let spec = build(settings, group, &"s1".parse().unwrap(), Path::new("/runner")).unwrap();
        assert_ne!((spec.user.uid, spec.user.gid), (0, 0));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let below = |path: &Path| path.strip_prefix(home).map_or_else(|_| text(path), text);
        spec.mounts
            .iter()
            .map(|mount| (text(&mount.inside), below(&mount.host), mount.access))
            .collect()
    }

    #[test]
    fn a_group_gets_these_mounts_and_no_other() {
        use Access::{ReadOnly, ReadWrite};
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let settings = Settings::defaults(&home);
        for (name, global) in [("main", ReadWrite), ("family", ReadOnly)] {
            let group = Group::new(name.parse().unwrap());
            let expected = [
                ("/workspace/group", format!("groups/{name}"), ReadWrite),
                ("/workspace/global", "groups/global".to_owned(), global),
                ("/workspace/ipc", format!("store/ipc/{name}/s1"), ReadWrite),
                ("/home/agent", format!("store/sessions/{name}"), ReadWrite),
                ("/run/hermitcrab", "store/broker/s1".to_owned(), ReadOnly),
            ];
            let expected = expected.map(|(inside, host, access)| (inside.to_owned(), host, access));
            assert_eq!(built(&home, &settings, &group), expected, "{name}");
            assert!(!home.join("store/ipc").exists(), "the ipc directory is made by its owner");
        }
    }

    #[test]
    fn more_mounts_are_had_only_with_the_owners_leave() {
        let home = tempfile::tempdir().unwrap();
        let owner = home.path().canonicalize().unwrap();
        let mut settings = Settings::defaults(&owner.join("gateway"));
        settings.sandbox.mount_allowlist = owner.join(".config/hermitcrab/mount-allowlist.json");
        for folder in ["data/photos", "data/more", ".config/hermitcrab", "gateway"] {
            std::fs::create_dir_all(owner.join(folder)).unwrap();
        }
        let mut group = Group::new("family".parse().unwrap());
        let request = |host: &str, inside: &str| MountRequest {
            host_path: host.into(),
            container_path: inside.into(),
            readonly: true,
        };
        group.settings.additional_mounts = vec![
            request("~/data/photos", "photos"),
            request("~/data/more", "photos/more"),
            request("~/gateway/store", "store"),
        ];
        assert_eq!(built(&owner, &settings, &group).len(), 5);
        assert_eq!(refused_mounts(&settings, &group).len(), 3, "there is no list");

        let list = r#"{"allowedRoots": [{"path": "~/"}]}"#;
        std::fs::write(&settings.sandbox.mount_allowlist, list).unwrap();
        let mounts = built(&owner, &settings, &group);
        let photos =
            ("/workspace/extra/photos".to_owned(), "data/photos".to_owned(), Access::ReadOnly);
        assert_eq!(mounts.get(5..), Some(&[photos][..]));
        let refused = refused_mounts(&settings, &group).join("\n");
        for reason in ["another mount of the group is in its place", "is never mounted"] {
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
