//! `status`: why each conversation waits, with a gateway and without one.

use serde_json::{Value, json};
use test_servers::model::{Fault, Script, Server};
use tokio::time::timeout;

use super::{json_of, run, told};
use crate::support::gateway::{Home, PATIENCE};
use crate::support::terminal::Terminal;

/// A home with a single slot, whose engine asks the model at this address.
fn home(model: &str) -> Home {
    Home::new()
        .with("MAX_CONCURRENT_CONTAINERS", "1")
        .with("ANTHROPIC_API_KEY", "sk-test-canary")
        .with("ANTHROPIC_BASE_URL", model)
}

/// Says something in threads of the main group.
async fn say(home: &Home, threads: &[&str]) -> Vec<Terminal> {
    let mut terminals = Vec::new();
    for thread in threads {
        let mut terminal =
            Terminal::connect(&home.socket(), "main", Some(thread), None).await.unwrap();
        terminal.say(thread, "hello").await.unwrap();
        terminal.next_of("kept").await.unwrap();
        terminals.push(terminal);
    }
    terminals
}

/// What the conversations wait for, as soon as it is this, by kind.
async fn waits(home: &Home, kinds: &[&str]) -> Vec<Value> {
    let look = async {
        loop {
            let status = json_of(home, &["status", "--json"]).await;
            let waiting = status["store"]["waiting"].as_array().unwrap().clone();
            let found: Vec<&str> =
                waiting.iter().map(|it| it["waits_for"]["kind"].as_str().unwrap()).collect();
            if found == kinds {
                return waiting;
            }
        }
    };
    let found = timeout(PATIENCE, look).await;
    found.unwrap_or_else(|_| panic!("not {kinds:?}:\n{}", home.read_log()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_told_with_what_for() {
    let server = Server::start(Script::echo().fault(Fault::hang("door"))).await.unwrap();
    let home = home(&server.url());
    let mut gateway = home.start(None).await.unwrap();
    let talking = say(&home, &["a", "b", "c"]).await;
    let waiting = waits(&home, &["run", "turn", "turn"]).await;
    assert_eq!(waiting[0]["conversation"], "terminal:main#a");
    assert_eq!(waiting[0]["waits_for"]["attempt"], 1);
    assert_eq!(waiting[2]["waits_for"], json!({ "kind": "turn", "ahead": 1 }));
    let (_, out, _) = run(&home, &["status"]).await;
    for line in [
        "groups    main\n",
        "waiting   3 conversations, 1 run under way, 0 given up\n",
        "          terminal:main#a: run 1 is at work since ",
        "          terminal:main#b: is next in the queue\n",
        "          terminal:main#c: is in the queue, with 1 ahead\n",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    drop(talking);
    gateway.kill().await;

    waits(&home, &["gateway", "gateway", "gateway"]).await;
    let (_, out, _) = run(&home, &["status"]).await;
    for line in [
        "gateway   none runs; `hermitcrab run` starts one\n",
        "sandbox   looked for when a gateway starts; `hermitcrab doctor` tries it now\n",
        "groups    main\n",
        "          terminal:main#a: run 1 was left unfinished; the next gateway takes it up\n",
        "          terminal:main#b: waits for a gateway\n",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    // Without the key, so that nobody is asked through the door that hangs.
    let mut doctor = home.command(&["doctor"]);
    let doctor = doctor.env("ANTHROPIC_API_KEY", "").output();
    let (_, out, _) = told(&home, &timeout(PATIENCE, doctor).await.unwrap().unwrap());
    assert!(
        out.contains("! sandbox     1 sandbox of a gateway that is gone still lives: "),
        "{out}"
    );
    assert!(out.contains(" (group main)\n"), "{out}");
    server.gate("door").open();
    let gateway = home.start(None).await.unwrap();
    waits(&home, &[]).await;
    assert!(gateway.terminate().await.success());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_sandbox_is_told_before_a_router_has_seen_it_and_after() {
    let home = Home::new()
        .with("SANDBOX", "docker")
        .with("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let (code, _, err) = run(&home, &["chat", "-m", "hello"]).await;
    assert_eq!(code, 69, "{err}");
    let waiting = waits(&home, &["gateway"]).await;
    assert_eq!(waiting[0]["conversation"], "terminal:main");
    let (_, out, _) = run(&home, &["status"]).await;
    assert!(out.contains("waiting   1 conversation, 0 runs under way, 0 given up\n"), "{out}");
    assert!(out.contains("          terminal:main: waits for a gateway\n"), "{out}");

    let gateway = home.start(None).await.unwrap();
    let waiting = waits(&home, &["sandbox"]).await;
    assert_eq!(waiting[0]["waits_for"], json!({ "kind": "sandbox", "run": null, "since": null }));
    let (_, out, _) = run(&home, &["status"]).await;
    assert!(out.contains("          terminal:main: waits for a sandbox; there is none\n"), "{out}");
    assert!(gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_is_there_for_waits_for_a_terminal() {
    let home = Home::new();
    let gateway = home.start(None).await.unwrap();
    drop(say(&home, &["a"]).await);
    waits(&home, &[]).await;
    // While the channel is asked whether somebody is there, the row is being sent.
    let is_told = async {
        loop {
            let outbox = json_of(&home, &["outbox", "--json"]).await;
            let (_, out, _) = run(&home, &["outbox"]).await;
            let waits = out.contains("waits for a terminal: hermitcrab chat\n");
            if waits && outbox[0]["waits_for"] == "terminal" {
                return;
            }
        }
    };
    timeout(PATIENCE, is_told).await.unwrap();
    assert!(gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_asks_for_patience_is_told_with_the_time_and_to_the_chat_without_codes() {
    // An hour is more than a sandbox is held for, so that the run fails and pauses.
    let server = Server::start(Script::echo().fault(Fault::rate_limited(3_600))).await.unwrap();
    let home = home(&server.url());
    let gateway = home.start(None).await.unwrap();
    let mut terminal = say(&home, &["a"]).await.remove(0);
    let waiting = waits(&home, &["retry"]).await;
    let retry = &waiting[0]["waits_for"];
    assert_eq!(retry["failed_attempt"], 1, "{retry}");
    assert!(retry["error"].as_str().unwrap().contains("429"), "{retry}");
    let (_, out, _) = run(&home, &["status"]).await;
    assert!(out.contains("          terminal:main#a: is tried again at 20"), "{out}");
    assert!(out.contains("attempt 1 failed: "), "{out}");
    assert!(out.contains("model     anthropic asks for patience (rate limit"), "{out}");
    assert!(out.contains("), left alone until 20"), "{out}");
    let shown = timeout(PATIENCE, terminal.next_of("waiting")).await.unwrap().unwrap();
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be reached or is overloaded"), "{reason}");
    assert!(!reason.contains("429"), "{reason}");
    assert!(gateway.terminate().await.success());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agent_is_told_while_it_waits_for_the_model_is_not_for_the_chat() {
    let server = Server::start(Script::echo().fault(Fault::internal().first(1))).await.unwrap();
    let home = home(&server.url());
    let gateway = home.start(None).await.unwrap();
    let mut terminal = say(&home, &["a"]).await.remove(0);
    let shown = timeout(PATIENCE, terminal.next_of("waiting")).await.unwrap().unwrap();
    let expected = "the model's provider cannot be reached or is overloaded";
    assert_eq!(shown["reason"], expected);
    let answer = timeout(PATIENCE, terminal.answer()).await.unwrap().unwrap();
    assert_eq!(answer["ends"]["answered"], true, "{answer}");
    assert!(gateway.terminate().await.success());
    server.stop().await;
}
