//! What `agent-runner probe` found from inside a sandbox.

use serde::{Deserialize, Serialize};

/// The file in the ipc directory that it leaves.
pub const PROBE: &str = "probe.json";

/// What holds in a sandbox, seen from where an agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The walls that do not hold, one phrase each.
    pub open: Vec<String>,
    /// What an agent needs and cannot do here, one phrase each.
    pub broken: Vec<String>,
    /// Whether the broker's socket answered.
    pub socket: bool,
    /// Whether Landlock keeps everything but plain files and folders out of the ipc directory.
    pub landlock: bool,
    /// The size of `/tmp` in bytes.
    pub tmp_bytes: u64,
}
