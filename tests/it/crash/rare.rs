//! The rare ways: messages that cannot be answered now, or never, each killed on both sides of what is written about
//! them; and the commands that change groups.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use test_servers::model::{Failure, Fault, Script, Server};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::places::Place::Commit;
use super::places::{Place, points};
use crate::support::gateway::{Home, PATIENCE};
use crate::support::terminal::Terminal;

/// One of the ways, killed at a point.
type Way = fn(String) -> BoxFuture<'static, ()>;

/// What is written, and the way that leads there.
const WAYS: [(&str, Way); 8] = [
    ("outbox_absent", |point| nobody_is_there(point).boxed()),
    ("fail_run", |point| the_model_refuses_once(point).boxed()),
    ("give_up_run", |point| the_credentials_are_not_taken(point).boxed()),
    ("run_moved", |point| the_warm_sandbox_does_not_fit(point).boxed()),
    ("cancel_waiting", |point| what_waits_is_stopped(point).boxed()),
    ("add_group", |point| a_group_is_added(point).boxed()),
    ("change_group", |point| a_group_is_changed(point).boxed()),
    ("remove_group", |point| a_group_is_removed(point).boxed()),
];

/// Where this matrix kills.
pub(super) fn places() -> Vec<Place> {
    WAYS.iter().map(|(operation, _)| Commit(operation)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_now_ends_once_whatever_dies() {
    let begun = Instant::now();
    let mut ways = JoinSet::new();
    for (operation, way) in WAYS {
        for point in points(&[Commit(operation)]) {
            ways.spawn(way(point));
        }
    }
    // Each way asserts that its gateway, or its command, was killed.
    let kills = ways.join_all().await.len();
    println!(
        "crash matrix, the rare ways: every message ended once; {kills} kills at {kills} points; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}

fn home() -> Home {
    Home::new().with("AGENT_ENGINE", "instant").with("LOG_LEVEL", "warn")
}

async fn connect(home: &Home) -> Terminal {
    Terminal::connect(&home.socket(), "main", None, None).await.unwrap()
}

/// Starts a gateway that dies at a point, and does `what` until it is dead.
async fn killed(home: &Home, point: &str, what: impl Future<Output = ()>) {
    let mut gateway = home.start(Some(&format!("{point}=return"))).await.unwrap();
    let what = async {
        what.await;
        std::future::pending::<()>().await;
    };
    let ended = timeout(PATIENCE, async {
        tokio::select! {
            status = gateway.ended() => status,
            () = what => unreachable!("it waits for the end"),
        }
    });
    let status = ended.await.unwrap_or_else(|_| panic!("{point}: alive:\n{}", home.read_log()));
    assert_eq!(status.signal(), Some(9), "{point}:\n{}", home.read_log());
}

/// Says a message and hears everything that comes, without a word.
async fn say_and_listen(home: &Home, text: &str) {
    let mut terminal = connect(home).await;
    terminal.say("first", text).await.unwrap();
    while terminal.next().await.is_some() {}
}

/// Starts a gateway that nothing kills: the message said before ends once, and the next one is answered after it.
///
/// Returns how the first one ended.
async fn ends_once(home: &Home) -> Value {
    let gateway = home.start(None).await.unwrap();
    let talk = async {
        let mut terminal = connect(home).await;
        let first = terminal.answer().await.unwrap();
        terminal.say("second", "[[id:second]]").await.unwrap();
        let second = terminal.answer().await.unwrap();
        assert!(second["text"].as_str().unwrap().contains("[[id:second]]"), "{first} {second}");
        assert!(first["ends"]["through"].as_u64() < second["ends"]["through"].as_u64());
        first
    };
    let first = timeout(PATIENCE, talk).await;
    let first = first.unwrap_or_else(|_| panic!("no answer:\n{}", home.read_log()));
    assert!(gateway.terminate().await.success());
    first
}

fn assert_answered(answer: &Value) {
    assert!(answer["text"].as_str().unwrap().contains("[[id:first]]"), "{answer}");
    assert_eq!(answer["ends"]["answered"], true, "{answer}");
}

async fn nobody_is_there(point: String) {
    let home = home();
    let leave = async {
        let mut terminal = connect(&home).await;
        terminal.say("first", "[[id:first]]").await.unwrap();
        terminal.next_of("kept").await.unwrap();
    };
    killed(&home, &point, leave).await;
    assert_answered(&ends_once(&home).await);
}

/// A home whose engine asks this model.
fn with_model(server: &Server) -> Home {
    home()
        .with("AGENT_ENGINE", "native")
        .with("ANTHROPIC_API_KEY", "sk-test-canary")
        .with("ANTHROPIC_BASE_URL", &server.url())
}

async fn the_model_refuses_once(point: String) {
    let refusal = Fault::refuse(Failure::Invalid("not this time".to_owned())).first(1);
    let server = Server::start(Script::echo().fault(refusal)).await.unwrap();
    let home = with_model(&server);
    killed(&home, &point, say_and_listen(&home, "[[id:first]]")).await;
    assert_answered(&ends_once(&home).await);
    server.stop().await;
}

async fn the_credentials_are_not_taken(point: String) {
    let server = Server::start(Script::echo().fault(Fault::unauthorized())).await.unwrap();
    let home = with_model(&server);
    killed(&home, &point, say_and_listen(&home, "[[id:first]]")).await;
    let answer = ends_once(&home.with("AGENT_ENGINE", "instant")).await;
    assert!(answer["text"].as_str().unwrap().starts_with("I could not answer"), "{answer}");
    assert_eq!(answer["ends"]["answered"], false, "{answer}");
    server.stop().await;
}

async fn the_warm_sandbox_does_not_fit(point: String) {
    let home = home();
    let change = async {
        let mut terminal = connect(&home).await;
        terminal.say("warm", "[[id:warm]]").await.unwrap();
        terminal.answer().await.unwrap();
        is_warm(&mut terminal).await;
        json(&home, &["group", "set", "main", "--allow-web", "example.org", "--json"]).await;
        terminal.say("first", "[[id:first]]").await.unwrap();
        while terminal.next().await.is_some() {}
    };
    killed(&home, &point, change).await;
    assert_answered(&ends_once(&home).await);
}

async fn what_waits_is_stopped(point: String) {
    // Without a sandbox nothing leaves the queue; who comes second has nothing in front of it but the queue.
    let home = home().with("SANDBOX", "docker").with("DOCKER_HOST", "unix:///nowhere.sock");
    let stop = async {
        let mut ahead = Terminal::connect(&home.socket(), "main", Some("t"), None).await.unwrap();
        ahead.say("ahead", "[[id:ahead]]").await.unwrap();
        are_queued(&mut ahead, 1).await;
        let mut terminal = connect(&home).await;
        terminal.say("first", "[[id:first]]").await.unwrap();
        are_queued(&mut terminal, 2).await;
        terminal.send(json!({ "type": "cancel" })).await.unwrap();
        while terminal.next().await.is_some() {}
    };
    killed(&home, &point, stop).await;
    let answer = ends_once(&home.with("SANDBOX", "bubblewrap")).await;
    // Before the commit nobody was told that it is stopped, so it is answered.
    if point.ends_with("after_commit") {
        assert_eq!(answer["text"], "Stopped.", "{answer}");
    } else {
        assert_answered(&answer);
    }
}

/// Asks until so many conversations are in the queue.
async fn are_queued(terminal: &mut Terminal, count: u64) {
    loop {
        terminal.send(json!({ "type": "status" })).await.unwrap();
        let status = terminal.next_of("status").await.unwrap();
        if status["state"]["queued"] == count {
            return;
        }
    }
}

/// Asks until a sandbox waits for the next message.
async fn is_warm(terminal: &mut Terminal) {
    loop {
        terminal.send(json!({ "type": "status" })).await.unwrap();
        let status = terminal.next_of("status").await.unwrap();
        if status["state"]["warm"] == 1 {
            return;
        }
    }
}

/// Runs a command that is to be killed at a point.
async fn command_killed(home: &Home, point: &str, args: &[&str]) {
    let output = home.command(args).env("FAILPOINTS", format!("{point}=return")).output().await;
    assert_eq!(output.unwrap().status.signal(), Some(9), "{point}");
}

/// Runs a command; what it says as JSON.
async fn json(home: &Home, args: &[&str]) -> Value {
    let output = home.command(args).output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The groups besides main, by name.
async fn groups(home: &Home) -> Vec<Value> {
    let mut groups = json(home, &["group", "list", "--json"]).await;
    groups.as_array_mut().unwrap().retain(|group| group["name"] != "main");
    groups.as_array().unwrap().clone()
}

async fn a_group_is_added(point: String) {
    let home = home();
    // The main group is there, so that the first that is added is this one.
    json(&home, &["group", "add", "main", "--json"]).await;
    let add = ["group", "add", "family", "--no-trigger", "--chat", "slack:T01/C02", "--json"];
    command_killed(&home, &point, &add).await;
    if point.ends_with("before_commit") {
        assert_eq!(groups(&home).await, Vec::<Value>::new());
        json(&home, &add).await;
    }
    let [family] = groups(&home).await.try_into().unwrap();
    assert_eq!(family["needs_trigger"], false, "{family}");
    assert_eq!(family["chats"], json!(["slack:T01/C02", "terminal:family"]));
}

async fn a_group_is_changed(point: String) {
    let home = home();
    json(&home, &["group", "add", "family", "--chat", "slack:T01/C02", "--json"]).await;
    let [before] = groups(&home).await.try_into().unwrap();
    let set = ["group", "set", "family", "--no-trigger", "--json"];
    let chats = ["--chat", "slack:T01/C03", "--remove-chat", "slack:T01/C02"];
    let set = [&set[..], &chats[..]].concat();
    command_killed(&home, &point, &set).await;
    if point.ends_with("before_commit") {
        assert_eq!(groups(&home).await, [before], "nothing of it is done");
        json(&home, &set).await;
    }
    let [family] = groups(&home).await.try_into().unwrap();
    assert_eq!(family["needs_trigger"], false, "{family}");
    assert_eq!(family["chats"], json!(["slack:T01/C03", "terminal:family"]));
}

async fn a_group_is_removed(point: String) {
    let home = home();
    json(&home, &["group", "add", "family", "--no-trigger", "--json"]).await;
    let remove = ["group", "remove", "family", "--yes", "--json"];
    command_killed(&home, &point, &remove).await;
    if point.ends_with("before_commit") {
        assert_eq!(groups(&home).await.len(), 1);
        json(&home, &remove).await;
    }
    assert_eq!(groups(&home).await, Vec::<Value>::new());
}
