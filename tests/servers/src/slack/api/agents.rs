//! Methods of agents: whether one is at work in a thread.
//!
//! Slack's pages do not say with what it refuses an app that is not declared as an agent; people have seen
//! `not_authorized`.

use serde_json::json;

use super::assistant::thread;
use crate::slack::args::Args;
use crate::slack::refusal::Answer;
use crate::slack::world::World;

/// What a session may be, as Slack documents it.
const STATUSES: [&str; 4] = ["active", "processing", "suspended", "closed"];

/// `agents.sessions.setStatus`
pub(super) fn status(world: &mut World, args: &Args) -> Answer {
    if !world.options.is_agent {
        return Err("not_authorized".into());
    }
    let place = thread(world, args)?;
    let status = args.need("status")?;
    if !STATUSES.contains(&status) {
        return Err("invalid_arguments".into());
    }
    world.sessions.insert(place, status.to_owned());
    Ok(json!({ "status": status, "agent_status": status }))
}
