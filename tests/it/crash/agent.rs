//! The agent's way: a model behind the broker, tools, messages that the agent sends while it works, and messages that
//! people say meanwhile, all in real sandboxes.

use serde_json::json;
use test_servers::model::{Script, Server, Turn};

use super::people::Crowd;
use super::places::Place::{At, Commit};
use super::places::{Place, points};
use super::plain;
use super::rounds::Matrix;
use crate::support::gateway::Home;

/// No more, for the broker lets a group make only so many model calls a minute.
const MESSAGES: usize = 400;

/// The steps that only an agent takes.
const OWN: [Place; 6] = [
    Commit("add_usage"),
    Commit("answer_request"),
    At("run.request_decided"),
    At("run.request_answered"),
    Commit("extend_run"),
    At("run.handed_over"),
];

/// At which hits of its own points the process is killed, and of those that are on every way.
const HITS: [usize; 2] = [0, 2];
const COMMON_HIT: usize = 1;

/// How many kills follow one another: an engine asks a model three times more when it is cut off, not for ever.
const IN_A_ROW: usize = 3;

/// How many sandboxes are killed in the middle of their work.
const STRIKES: usize = 8;

/// Where this matrix kills, besides all places of the short way.
pub(super) fn places() -> Vec<Place> {
    OWN.to_vec()
}

/// A model that sends a note about each message, looks at something, and then answers all that was said.
fn script() -> Script {
    let note = Turn::tool("send_message", json!({ "text": "noted:{new}" }));
    let look = Turn::tool("bash", json!({ "command": "ls" }));
    Script::echo().on("[[id:", [note, look, Turn::text("answered:{unanswered}")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_says_arrives_once_and_in_order_whatever_dies() {
    let server = Server::start(script()).await.unwrap();
    let home = Home::new()
        .with("AGENT_ENGINE", "native")
        .with("ANTHROPIC_API_KEY", "sk-test-canary")
        .with("ANTHROPIC_BASE_URL", &server.url())
        .with("LOG_LEVEL", "warn");
    let mut matrix = Matrix::new("the agent's way", home, Crowd::new(MESSAGES, true)).await;
    let own = HITS.into_iter().flat_map(|hit| points(&OWN).into_iter().map(move |p| (p, hit)));
    let common = points(&plain::WAY).into_iter().map(|point| (point, COMMON_HIT));
    for (round, (point, hit)) in own.chain(common).enumerate() {
        matrix.kill_at(&point, hit).await;
        if round % IN_A_ROW == IN_A_ROW - 1 {
            matrix.settle().await;
        }
    }
    // Now the sandboxes die as well, and the gateway while it writes that down.
    matrix.storm(STRIKES);
    for point in points(&[Commit("fail_run")]) {
        matrix.kill_at(&point, 0).await;
    }
    println!("{}", matrix.finish().await);
    server.stop().await;
}
