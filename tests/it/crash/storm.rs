//! Sandboxes killed in the middle of their work.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Kills every sandbox of a group of this home, as a kernel out of memory would; how many.
pub(super) fn strike(home: &Path, group: &str) -> usize {
    let folder = home.join("store/sandboxes");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ids = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
    ids.filter(|id| {
        let record = read(&folder.join(format!("{id}.json")));
        let status = read(&folder.join(format!("{id}.status")));
        let ours = record.is_some_and(|record| record["group"] == group);
        ours && status.is_some_and(|status| kill(&status))
    })
    .count()
}

/// The first JSON value of a file, if there is one yet.
fn read(path: &Path) -> Option<Value> {
    let text = std::fs::read(path).ok()?;
    serde_json::Deserializer::from_slice(&text).into_iter().next()?.ok()
}

/// Kills the process that bubblewrap has written down, if it is still the init of that sandbox.
fn kill(status: &Value) -> bool {
    let (Some(pid), Some(namespace)) =
        (status["child-pid"].as_i64(), status["pid-namespace"].as_u64())
    else {
        return false;
    };
    let own = std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let expected = format!("pid:[{namespace}]");
    own.is_ok_and(|own| own == Path::new(&expected))
        && kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).is_ok()
}
