//! Names and places that both sides must agree on.

/// Where the agent-runner binary is mounted, read-only.
pub const RUNNER: &str = "/opt/hermitcrab/agent-runner";
/// The group's folder: the agent's working directory.
pub const GROUP: &str = "/workspace/group";
/// Everybody's folder: read-only, except for the main group.
pub const GLOBAL: &str = "/workspace/global";
/// The ipc directory of this sandbox.
pub const IPC: &str = "/workspace/ipc";
/// Parent of the mounts that the owner's allow-list permits.
pub const EXTRA: &str = "/workspace/extra";
/// The agent's home: sessions and whatever its tools keep, one per group.
pub const HOME: &str = "/home/agent";
/// The directory that holds the broker's socket, where sockets can be mounted; read-only.
pub const BROKER_DIR: &str = "/run/hermitcrab";
/// The broker's socket in [`BROKER_DIR`].
pub const BROKER_SOCKET: &str = "broker.sock";
/// The loopback port at which the broker is offered inside the sandbox.
pub const BROKER_PORT: u16 = 8383;

/// Gateway to agent: prompts, follow-ups, cancel, close.
pub const INPUT: &str = "input";
/// Gateway to agent: answers to requests, by request id.
pub const REPLIES: &str = "replies";
/// Agent to gateway: what to say.
pub const MESSAGES: &str = "messages";
/// Agent to gateway: what to do.
pub const TASKS: &str = "tasks";
/// Agent-runner to gateway: signs of life.
pub const PROGRESS: &str = "progress";
/// Agent-runner to gateway: the outcome of a run, written last.
pub const DONE: &str = "done.json";
/// Gateway to agent: the tasks this group may see.
pub const CURRENT_TASKS: &str = "current_tasks.json";
/// Gateway to agent: the groups this group may see.
pub const AVAILABLE_GROUPS: &str = "available_groups.json";

/// The directories of the ipc directory, in the order in which a fresh one is made.
pub const DIRECTORIES: [&str; 5] = [INPUT, REPLIES, MESSAGES, TASKS, PROGRESS];

/// The largest file that the gateway reads from a sandbox, in bytes.
pub const MAX_FILE_BYTES: usize = 256 * 1024;
/// The longest time between two signs of life of a working agent-runner, in milliseconds.
pub const HEARTBEAT_MS: u64 = 5_000;
