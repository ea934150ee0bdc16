//! What the gateway and the agent-runner say to each other: the files of the ipc directory, and the frames of
//! the broker bridge.
//!
//! Types and names only. The two sides are not always built together, so every file that opens a conversation
//! carries [`VERSION`], enums are tagged by `type`, and nothing is flattened or untagged.
//!
//! The ipc directory, as both sides see it (`layout` has the names):
//!
//! | path | written by | what |
//! |---|---|---|
//! | `input/<number>.json` | gateway | [`Input`], taken in the order of the numbers |
//! | `replies/<request id>.json` | gateway | [`Reply`] to one [`Request`] |
//! | `available_groups.json` | gateway | [`AvailableGroups`]: what this group may see |
//! | `current_tasks.json` | gateway | the tasks that this group may see |
//! | `messages/<id>.json` | agent | [`Request`]: something to say |
//! | `tasks/<id>.json` | agent | [`Request`]: something to do |
//! | `progress/<number>.json` | agent-runner | [`Progress`], a batch of signs of life |
//! | `done.json` | agent-runner | [`Done`], the last file of a run |
//! | `probe.json` | agent-runner | [`Probe`], when a sandbox is only tried |
//!
//! Every file is written under a name that begins with a dot, then renamed.

pub mod frame;
pub mod input;
pub mod layout;
pub mod output;
pub mod probe;
pub mod snapshot;

pub use frame::{Frame, FrameKind};
pub use input::{FollowUp, Input, Prompt};
pub use output::{Done, Failure, FailureKind, Outcome, Progress, Reply, Request, Sign};
pub use probe::Probe;
pub use snapshot::{AvailableChat, AvailableGroups};

/// The version of this protocol; raised when an old reader would misread a new writer.
pub const VERSION: u32 = 1;

/// The engines of the agent-runner, by the names that the settings and a prompt have for them: `native` thinks,
/// `instant` answers at once for tests and benches.
pub const ENGINES: [&str; 2] = ["native", "instant"];
