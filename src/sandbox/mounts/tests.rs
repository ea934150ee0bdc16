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
            "me/work/site/.environment",
            "me/work/site/.env",
            "me/work/.SSH/keys",
            "me/work/private/deep",
            "me/notes",
            "me/.aws",
            "me/hermitcrab/store/ipc",
            "me/hermitcrab/groups/other",
            "elsewhere",
        ] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("me/notes/file.txt"), "x").unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join("me/work/out")).unwrap();
        symlink(dir.path().join("me/notes"), dir.path().join("me/work/in")).unwrap();
        Self { dir }
    }

    /// The real path of the host's root.
    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn policy(&self, list: &str) -> Policy {
        let path = self.root().join("list.json");
        std::fs::write(&path, list.replace("ROOT", self.root().to_str().unwrap())).unwrap();
        let home = self.root().join("me");
        let closed = vec![home.join("hermitcrab"), "/proc".into(), "/run".into()];
        Policy::new(list::load(&path, Some(&home)), Some(home), closed)
    }

    fn usual(&self) -> Policy {
        self.policy(
            r#"{"allowedRoots": [
                    {"path": "~/work", "allowReadWrite": true, "description": "what I work on"},
                    {"path": "~/work/private", "allowReadWrite": false},
                    {"path": "ROOT/me/notes"},
                    {"path": "~/hermitcrab", "allowReadWrite": true},
                    {"path": "/nowhere/at/all"}],
                "blockedPatterns": ["secret-plan", "work/archive"]}"#,
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
    std::fs::create_dir_all(host.root().join("me/work/archive/old")).unwrap();
    std::fs::create_dir_all(host.root().join("me/work/secret-plan-b")).unwrap();
    let _socket = UnixListener::bind(host.root().join("me/work/some.sock")).unwrap();
    for (path, expected) in [
        ("~/work/site", Ok("me/work/site")),
        ("~/work", Ok("me/work")),
        ("~/notes/file.txt", Ok("me/notes/file.txt")),
        // A name that begins like a blocked one is another name.
        ("~/work/site/.environment", Ok("me/work/site/.environment")),
        ("~/work/secret-plan-b", Ok("me/work/secret-plan-b")),
        // A link is where it leads.
        ("~/work/in", Ok("me/notes")),
        ("~/work/out", Err("no allowed root")),
        ("~/work/site/.env", Err(".env")),
        ("~/work/.SSH/keys", Err(".ssh")),
        ("~/work/archive/old", Err("work/archive")),
        ("~/.aws", Err(".aws")),
        ("~/elsewhere", Err("it is not there")),
        ("~/work/../elsewhere", Err("no \"..\"")),
        ("work/site", Err("must be absolute")),
        ("~", Err("is never mounted")),
        ("~/hermitcrab", Err("is never mounted")),
        ("~/hermitcrab/groups/other", Err("is never mounted")),
        ("/", Err("root of the host")),
        ("/proc/self", Err("/proc is never mounted")),
        ("~/work/some.sock", Err("neither a folder nor a file")),
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
    let lenient = r#"{"allowedRoots": [{"path": "~/work", "allowReadWrite": true}], "nonMainReadOnly": false}"#;
    let (usual, lenient) = (host.usual(), host.policy(lenient));
    let (main, other) = (GroupName::main(), "other".parse::<GroupName>().unwrap());
    for (policy, group, path, readonly, expected) in [
        (&usual, &main, "~/work/site", false, Access::ReadWrite),
        (&usual, &main, "~/work/site", true, Access::ReadOnly),
        (&usual, &main, "~/notes", false, Access::ReadOnly),
        // The innermost root decides.
        (&usual, &main, "~/work/private/deep", false, Access::ReadOnly),
        (&usual, &other, "~/work/site", false, Access::ReadOnly),
        (&lenient, &other, "~/work/site", false, Access::ReadWrite),
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
        r#"{"allowedRoots": "~/work"}"#,
        r#"{"allowedRoots": [], "nonMainReadonly": false}"#,
        r#"{"allowedRoots": [{"path": "~/work", "readWrite": true}]}"#,
    ] {
        let decided = host.policy(list).decide(&GroupName::main(), &request("~/work", "x", true));
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
        "work",
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
        "me",
        "elsewhere",
        "",
        "~",
        "file.txt",
        ".SSH",
    ];
    const STARTS: [&str; 6] = ["~", "ROOT", "ROOT/me", "", "/", "/proc/self/root"];
    let host = Host::new();
    let (root, policy) = (host.root(), host.usual());
    let parts = proptest::collection::vec(proptest::sample::select(&PARTS), 0..6);
    let start = proptest::sample::select(&STARTS);
    proptest!(|(start in start, parts in parts, readonly: bool)| {
        let path = format!("{start}/{}", parts.join("/")).replace("ROOT", root.to_str().unwrap());
        if let Ok(mount) = policy.decide(&GroupName::main(), &request(&path, "x", readonly)) {
            let allowed = ["me/work", "me/notes"].map(|name| root.join(name));
            prop_assert!(allowed.iter().any(|allowed| mount.host.starts_with(allowed)), "{}", path);
            prop_assert!(mount.host.iter().all(|name| name != ".env" && name != ".SSH"), "{}", path);
            prop_assert_eq!(&mount.host.canonicalize().unwrap(), &mount.host);
        }
    });
}
