//! What the gateway leaves for the agent-runner in `input/`.

use serde::{Deserialize, Serialize};

/// One file of `input/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Input {
    /// Starts a run.
    Prompt(Box<Prompt>),
    /// Adds messages to the run that is under way.
    FollowUp(FollowUp),
    /// Ends the run that is under way; its `done.json` says `cancelled`.
    Cancel {
        /// The run to end; another run is left alone.
        run: u64,
    },
    /// Ends the agent-runner once it is idle.
    Close,
}

/// A run: what was said, and how to work on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// [`crate::VERSION`] of the writer.
    pub version: u32,
    /// The run's id in the gateway's ledger.
    pub run: u64,
    /// The conversation, as a name that is safe in a path; sessions of one conversation never meet another's.
    pub conversation: String,
    /// The session to resume; `None` starts a fresh one.
    pub session: Option<String>,
    /// The first `seq` that the run is about: the same in every attempt at the same messages, and in no other run of
    /// the conversation.
    pub from: u64,
    /// The last `seq` in the text; a later attempt may bring more.
    pub through: u64,
    /// The messages, as text for the model.
    pub text: String,
    /// What the engine is told about itself and its surroundings, before the `CLAUDE.md` files.
    pub system: String,
    /// Whether this is the main group, which may ask more of the gateway.
    #[serde(default)]
    pub main: bool,
    /// Which engine thinks; `native` is built in.
    pub engine: String,
    /// The model's name, as the engine's provider spells it.
    pub model: String,
    /// The most bytes of tool output and answer that one run may produce.
    pub max_output_bytes: u64,
}

/// Messages that arrived while the agent worked.
///
/// They go on exactly where the agent-runner stands, or it leaves them alone: so what a run says it has dealt with never
/// covers a message that it was not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUp {
    /// The run they belong to; dropped when that run is over.
    pub run: u64,
    /// The `seq` that they come after.
    pub after: u64,
    /// The highest `seq` among them; comes back in [`crate::Done::through`] once the engine has taken them.
    pub through: u64,
    /// The messages, as text for the model.
    pub text: String,
}
