//! The allow-list's decisions, as tables.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use proptest::prelude::*;

use super::*;

/// A host with a few folders, a gateway's home, and a policy.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in [
            "ada/projects/site/.environment",
            "ada/projects/site/.env",
            "ada/projects/.SSH/keys",
            "ada/projects/private/deep",
            "ada/notes",
            "ada/.aws",
            "ada/hermitcrab/store/ipc",
            "ada/hermitcrab/groups/other",
            "elsewhere",
        ] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("ada/notes/file.txt"), "x").unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join("ada/projects/out")).unwrap();
        symlink(dir.path().join("ada/notes"), dir.path().join("ada/projects/in")).unwrap();
        Self { dir }
    }

    /// The real path of the host's root.
    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn policy(&self, list: &str) -> Policy {
        let path = self.root().join("list.json");
        std::fs::write(&path, list.replace("ROOT", self.root().to_str().unwrap())).unwrap();
        let home = self.root().join("ada");
        let closed = vec![home.join("hermitcrab"), "/proc".into(), "/run".into()];
        Policy::new(list::load(&path, Some(&home)), Some(home), closed)
    }

    fn usual(&self) -> Policy {
        self.policy(
            r#"{"allowedRoots": [
                    {"path": "~/projects", "allowReadWrite": true, "description": "what I work on"},
                    {"path": "~/projects/private", "allowReadWrite": false},
                    {"path": "ROOT/ada/notes"},
                    {"path": "~/hermitcrab", "allowReadWrite": true},
                    {"path": "/nowhere/at/all"}],
                "blockedPatterns": ["secret-plan", "projects/archive"]}"#,
        )
    }
}

fn request(host: &str, inside: &str, readonly: bool) -> MountRequest {
    MountRequest { host_path: host.into(), container_path: inside.into(), readonly }
}

#[test]
fn paths_are_allowed_under_a_root_and_nowhere_else() {
    let host = Host::new();
    let policy = host.usual();
    std::fs::create_dir_all(host.root().join("ada/projects/archive/old")).unwrap();
    std::fs::create_dir_all(host.root().join("ada/projects/secret-plan-b")).unwrap();
    let _socket = UnixListener::bind(host.root().join("ada/projects/some.sock")).unwrap();
    for (path, expected) in [
        ("~/projects/site", Ok("ada/projects/site")),
        ("~/projects", Ok("ada/projects")),
        ("~/notes/file.txt", Ok("ada/notes/file.txt")),
        // A name that begins like a blocked one is another name.
        ("~/projects/site/.environment", Ok("ada/projects/site/.environment")),
        ("~/projects/secret-plan-b", Ok("ada/projects/secret-plan-b")),
        // A link is where it leads.
        ("~/projects/in", Ok("ada/notes")),
        ("~/projects/out", Err("no allowed root")),
        ("~/projects/site/.env", Err(".env")),
        ("~/projects/.SSH/keys", Err(".ssh")),
        ("~/projects/archive/old", Err("projects/archive")),
        ("~/.aws", Err(".aws")),
        ("~/elsewhere", Err("it is not there")),
        ("~/projects/../elsewhere", Err("no \"..\"")),
        ("projects/site", Err("must be absolute")),
        ("~", Err("is never mounted")),
        ("~/hermitcrab", Err("is never mounted")),
        ("~/hermitcrab/groups/other", Err("is never mounted")),
        ("/", Err("root of the host")),
        ("/proc/self", Err("/proc is never mounted")),
        ("~/projects/some.sock", Err("neither a folder nor a file")),
    ] {
        let decided = policy.decide(&GroupName::main(), &request(path, "x", true));
        match (decided, expected) {
            (Ok(mount), Ok(real)) => assert_eq!(mount.host, host.root().join(real), "{path}"),
            (Err(refusal), Err(reason)) => {
                assert!(refusal.to_string().contains(reason), "{path}: {refusal}");
            }
            (decided, _) => panic!("{path}: {decided:?}"),
        }
    }
}

#[test]
fn writing_needs_the_request_the_root_and_the_group() {
    let host = Host::new();
    let lenient = r#"{"allowedRoots": [{"path": "~/projects", "allowReadWrite": true}], "nonMainReadOnly": false}"#;
    let (usual, lenient) = (host.usual(), host.policy(lenient));
    let (main, other) = (GroupName::main(), "other".parse::<GroupName>().unwrap());
    for (policy, group, path, readonly, expected) in [
        (&usual, &main, "~/projects/site", false, Access::ReadWrite),
        (&usual, &main, "~/projects/site", true, Access::ReadOnly),
        (&usual, &main, "~/notes", false, Access::ReadOnly),
        // The innermost root decides.
        (&usual, &main, "~/projects/private/deep", false, Access::ReadOnly),
        (&usual, &other, "~/projects/site", false, Access::ReadOnly),
        (&lenient, &other, "~/projects/site", false, Access::ReadWrite),
    ] {
        let mount = policy.decide(group, &request(path, "x", readonly)).unwrap();
        assert_eq!(mount.access, expected, "{group} {path} {readonly}");
    }
}

#[test]
fn places_in_the_sandbox_stay_below_extra() {
    for (name, expected) in [
        ("site", Some("/workspace/extra/site")),
        ("a/b", Some("/workspace/extra/a/b")),
        ("", None),
        (".", None),
        ("..", None),
        ("a/../../group", None),
        ("/workspace/group", None),
        ("a\nb", None),
    ] {
        assert_eq!(inside(Path::new(name)).ok(), expected.map(PathBuf::from), "{name:?}");
    }
}

#[test]
fn without_a_valid_list_nothing_is_mounted() {
    let host = Host::new();
    for list in [
        "",
        "{}",
        "[]",
        r#"{"allowedRoots": "~/projects"}"#,
        r#"{"allowedRoots": [], "nonMainReadonly": false}"#,
        r#"{"allowedRoots": [{"path": "~/projects", "readWrite": true}]}"#,
    ] {
        let decided =
            host.policy(list).decide(&GroupName::main(), &request("~/projects", "x", true));
        assert!(decided.unwrap_err().to_string().contains("is not valid"), "{list}");
    }
    let missing = list::load(&host.root().join("missing.json"), None);
    assert!(missing.unwrap_err().contains("there is no allow-list"));
}

#[test]
fn a_list_that_others_can_change_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new();
    let path = host.root().join("list.json");
    std::fs::write(&path, r#"{"allowedRoots": []}"#).unwrap();
    list::load(&path, None).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(list::load(&path, None).unwrap_err().contains("can be changed by others"));
}

/// However a path is spelled, what is mounted lies under an allowed root and outside what is closed.
#[test]
fn nothing_outside_the_roots_is_ever_mounted() {
    const PARTS: [&str; 18] = [
        "projects",
        "site",
        "notes",
        "hermitcrab",
        "groups",
        "store",
        "in",
        "out",
        "private",
        ".env",
        "..",
        ".",
        "ada",
        "elsewhere",
        "",
        "~",
        "file.txt",
        ".SSH",
    ];
    const STARTS: [&str; 6] = ["~", "ROOT", "ROOT/ada", "", "/", "/proc/self/root"];
    let host = Host::new();
    let (root, policy) = (host.root(), host.usual());
    let parts = proptest::collection::vec(proptest::sample::select(&PARTS), 0..6);
    let start = proptest::sample::select(&STARTS);
    proptest!(|(start in start, parts in parts, readonly: bool)| {
        let path = format!("{start}/{}", parts.join("/")).replace("ROOT", root.to_str().unwrap());
        if let Ok(mount) = policy.decide(&GroupName::main(), &request(&path, "x", readonly)) {
            let allowed = ["ada/projects", "ada/notes"].map(|name| root.join(name));
            prop_assert!(allowed.iter().any(|allowed| mount.host.starts_with(allowed)), "{}", path);
            prop_assert!(mount.host.iter().all(|name| name != ".env" && name != ".SSH"), "{}", path);
            prop_assert_eq!(&mount.host.canonicalize().unwrap(), &mount.host);
        }
    });
}
