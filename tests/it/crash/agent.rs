//! The agent's way: a model behind the broker, tools, messages that the agent sends while it works, and messages that
//! people say meanwhile, all in real sandboxes.

use super::places::Place;
use super::places::Place::{At, Commit};

/// The steps that only an agent takes.
const OWN: [Place; 6] = [
    Commit("add_usage"),
    Commit("answer_request"),
    At("run.request_decided"),
    At("run.request_answered"),
    Commit("extend_run"),
    At("run.handed_over"),
];

/// Where this matrix kills, besides all places of the short way.
pub(super) fn places() -> Vec<Place> {
    OWN.to_vec()
}
