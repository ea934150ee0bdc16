//! Bubblewrap where the gateway is not root: the same tests once more, as another user.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A user id that nobody has here.
const NOBODY_WE_KNOW: u32 = 4217;

#[test]
fn bubblewrap_holds_without_root() {
    // Anybody but root has run these very tests as they are.
    let tests = [
        "lifecycle::bubblewrap_keeps_the_contract",
        "attacks::bubblewrap_holds",
        "limits::processes_in_bubblewrap",
    ];
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // The test binary lies where another user may not go.
    let folder = tempfile::Builder::new().prefix("hermitcrab-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = folder.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    for test in tests {
        let output = Command::new(&copy)
            .args(["--exact", test, "--nocapture"])
            .current_dir("/tmp")
            .uid(NOBODY_WE_KNOW)
            .gid(NOBODY_WE_KNOW)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{test}: {said}");
    }
}
