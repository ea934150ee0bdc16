//! The whole gateway, with real sandboxes of both kinds and a model that is scripted.

use std::time::Duration;

use serde_json::Value;
use test_servers::model::{Fault, Script, Server, Turn, Usage};
use tokio::time::timeout;

use crate::support::gateway::{Home, PATIENCE};
use crate::support::terminal::Terminal;

/// Docker where no socket can be mounted, so that model calls go through an exec into the container.
const BRIDGE: &str = "docker by bridge";

/// A home whose gateway asks `server` and uses sandboxes of `kind`.
fn home(kind: &str, server: &Server) -> Home {
    let (kind, broker) = if kind == BRIDGE { ("docker", "exec") } else { (kind, "auto") };
    Home::new()
        .with("SANDBOX", kind)
        .with("SANDBOX_BROKER", broker)
        .with("ANTHROPIC_API_KEY", "sk-test-canary")
        .with("ANTHROPIC_BASE_URL", &server.url())
}

async fn json(home: &Home, args: &[&str]) -> Value {
    let output = home.command(args).output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn ask(home: &Home, group: &str, text: &str) -> String {
    let mut terminal = Terminal::connect(&home.socket(), group, None, None).await.unwrap();
    terminal.say(&format!("{group}-{}", fastrand::u64(..)), text).await.unwrap();
    let answer = timeout(PATIENCE, terminal.answer()).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer:\n{}", home.read_log()));
    answer.expect("the gateway is there")["text"].as_str().unwrap().to_owned()
}

/// Stamps a scenario onto both kinds of sandbox, and onto both ways to the broker.
macro_rules! in_every_kind {
    ($($scenario:ident),* $(,)?) => {
        mod docker {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() { super::$scenario("docker").await; })*
        }
        mod docker_by_bridge {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() { super::$scenario(super::BRIDGE).await; })*
        }
        mod bubblewrap {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() { super::$scenario("bubblewrap").await; })*
        }
    };
}

mod wild;

in_every_kind!(
    a_message_is_answered_from_a_sandbox_without_network_or_key,
    two_groups_at_once_cannot_see_each_other,
    a_follow_up_is_answered_in_the_warm_sandbox,
    no_more_sandboxes_than_slots,
    a_restart_adopts_a_live_run,
    a_stop_ends_the_answer_and_nothing_else,
    a_run_costs_what_went_through_the_broker,
    the_deadline_ends_a_run_that_hangs,
);

/// A model that runs each command when its word is said, and then quotes what came of it.
fn obeying(commands: &[(&str, &str)]) -> Script {
    commands.iter().fold(Script::echo(), |script, (word, command)| {
        let run = Turn::tool("bash", serde_json::json!({ "command": command }));
        script.on(word, [run, Turn::text("{tool_result}")])
    })
}

async fn a_message_is_answered_from_a_sandbox_without_network_or_key(kind: &str) {
    let look = r#"id -u; ls /sys/class/net; env; tr '\0' '\n' < /proc/1/environ
        find / -xdev -type f -newer /proc/1 -size -64k 2>/dev/null | head -50 | xargs cat 2>/dev/null
        (echo > /dev/tcp/1.1.1.1/443) 2>&1; (echo > /dev/tcp/169.254.169.254/80) 2>&1
        getent hosts example.com || echo no names"#;
    let server = Server::start(obeying(&[("look around", look)])).await.unwrap();
    let home = home(kind, &server);
    let gateway = home.start(None).await.unwrap();
    let answer = ask(&home, "main", "look around").await;
    assert!(!answer.contains("sk-test-canary"), "the key is in the sandbox: {answer}");
    assert!(!answer.contains("eth0"), "{answer}");
    assert!(answer.contains("unreachable") && answer.contains("no names"), "{answer}");
    assert!(!answer.starts_with("0\n"), "the agent is root: {answer}");
    let seen = server.requests();
    assert!(seen.iter().all(|seen| seen.header("x-api-key") == Some("sk-test-canary")));
    assert!(gateway.terminate().await.success());
}

async fn two_groups_at_once_cannot_see_each_other(kind: &str) {
    let write = |name: &str| {
        format!("echo secret-of-{name} | tee mine.txt > /home/agent/mine.txt; cat mine.txt")
    };
    let spy =
        "grep -rs secret-of /workspace /home /tmp /run; ls -la /workspace /proc/1/root/workspace";
    let (red, blue) = (write("red"), write("blue"));
    let commands = [("hide red", &*red), ("hide blue", &*blue), ("spy", spy)];
    let server = Server::start(obeying(&commands)).await.unwrap();
    let home = home(kind, &server);
    let gateway = home.start(None).await.unwrap();
    for name in ["red", "blue"] {
        json(&home, &["group", "add", name, "--no-trigger", "--json"]).await;
    }
    let (red, blue) = tokio::join!(ask(&home, "red", "hide red"), ask(&home, "blue", "hide blue"));
    assert!(red.contains("secret-of-red") && blue.contains("secret-of-blue"), "{red} {blue}");
    let (red, blue) = tokio::join!(ask(&home, "red", "spy"), ask(&home, "blue", "spy"));
    assert!(!red.contains("secret-of-blue"), "{red}");
    assert!(!blue.contains("secret-of-red"), "{blue}");
    assert!(red.contains("secret-of-red"), "the spy found nothing at all: {red}");
    assert!(gateway.terminate().await.success());
}

async fn a_follow_up_is_answered_in_the_warm_sandbox(kind: &str) {
    let server = Server::start(Script::echo()).await.unwrap();
    let home = home(kind, &server);
    let gateway = home.start(None).await.unwrap();
    assert!(ask(&home, "main", "[[id:one]]").await.contains("[[id:one]]"));
    assert!(ask(&home, "main", "[[id:two]]").await.contains("[[id:two]]"));
    let runs = json(&home, &["runs", "--json"]).await;
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(
        runs[0]["sandbox"], runs[1]["sandbox"],
        "the second run started a sandbox of its own"
    );
    // The session goes on: the second request holds the first exchange.
    let last = server.requests().last().unwrap().body.to_string();
    assert!(last.contains("[[id:one]]"), "{last}");
    assert!(gateway.terminate().await.success());
}

async fn no_more_sandboxes_than_slots(kind: &str) {
    let script = Script::echo().fault(Fault::hang("hold"));
    let server = Server::start(script).await.unwrap();
    let home = home(kind, &server).with("MAX_CONCURRENT_CONTAINERS", "2");
    let gateway = home.start(None).await.unwrap();
    let groups = ["a", "b", "c", "d", "e"];
    for name in groups {
        json(&home, &["group", "add", name, "--no-trigger", "--json"]).await;
    }
    let answers = groups.map(|name| {
        let home = &home;
        async move { ask(home, name, &format!("[[id:{name}]]")).await }
    });
    let watch = async {
        server.gate("hold").arrived(2).await;
        let status = json(&home, &["status", "--json"]).await;
        assert_eq!(status["live"]["runs"].as_array().unwrap().len(), 2, "{status}");
        assert_eq!(status["live"]["queued"], 3, "{status}");
        assert_eq!(server.count(), 2, "a third run asked the model");
        server.gate("hold").open();
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(answers), watch);
    for (name, answer) in groups.iter().zip(answers) {
        assert!(answer.contains(&format!("[[id:{name}]]")), "{answer}");
    }
    assert!(gateway.terminate().await.success());
}

async fn a_restart_adopts_a_live_run(kind: &str) {
    let script = Script::tool();
    let server = Server::start(script).await.unwrap();
    let home = home(kind, &server);
    let mut gateway = home.start(None).await.unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    let wait = "while [ ! -e go ]; do sleep 0.1; done; echo went";
    terminal.say("m1", &format!("[[bash:{wait}]]")).await.unwrap();
    let tool = timeout(PATIENCE, terminal.next_of("tool")).await.unwrap();
    assert!(tool.is_some(), "{}", home.read_log());
    let before = json(&home, &["runs", "--json"]).await;

    gateway.kill().await;
    let gateway = home.start(None).await.unwrap();
    std::fs::write(home.path().join("groups/main/go"), "").unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    let answer = timeout(PATIENCE, terminal.answer())
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()))
        .unwrap();
    assert!(answer["text"].as_str().unwrap().contains("went"), "{answer}");
    let after = json(&home, &["runs", "--json"]).await;
    assert_eq!(after.as_array().unwrap().len(), 1, "the run began anew: {after}");
    assert_eq!(after[0]["sandbox"], before[0]["sandbox"]);
    assert!(gateway.terminate().await.success());
}

async fn a_stop_ends_the_answer_and_nothing_else(kind: &str) {
    let server = Server::start(Script::tool()).await.unwrap();
    let home = home(kind, &server);
    let gateway = home.start(None).await.unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    terminal.say("m1", "[[bash:sleep 600]]").await.unwrap();
    timeout(PATIENCE, terminal.next_of("tool"))
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()))
        .unwrap();
    terminal.send(serde_json::json!({ "type": "cancel" })).await.unwrap();
    let answer = timeout(PATIENCE, terminal.answer())
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()))
        .unwrap();
    assert_eq!(answer["text"], "Stopped.");
    drop(terminal);
    assert!(ask(&home, "main", "[[bash:echo still here]]").await.contains("still here"));
    assert!(gateway.terminate().await.success());
}

async fn a_run_costs_what_went_through_the_broker(kind: &str) {
    let usage = Usage { input: 1_000, output: 200, cache_write: 0, cache_read: 3_000 };
    let costing = |turn: Turn| Turn { usage: Some(usage), ..turn };
    let look = Turn::tool("bash", serde_json::json!({ "command": "echo seen" }));
    let turns = [costing(look), costing(Turn::text("{tool_result}"))];
    let server = Server::start(Script::echo().on("look", turns)).await.unwrap();
    let home = home(kind, &server).with("ANTHROPIC_MODEL", "claude-sonnet-4-5");
    let gateway = home.start(None).await.unwrap();
    assert!(ask(&home, "main", "look").await.contains("seen"));
    let expected = serde_json::json!({
        "requests": 2, "input_tokens": 2_000, "output_tokens": 400,
        "cache_read_tokens": 6_000, "cache_write_tokens": 0,
        // Two times 3 + 3 + 0.9 thousandths of a dollar.
        "cost_micros": 13_800,
    });
    let runs = json(&home, &["runs", "--json"]).await;
    assert_eq!(runs[0]["usage"], expected, "{runs}");
    let status = json(&home, &["status", "--json"]).await;
    assert_eq!(status["store"]["today"][0]["usage"], expected, "{status}");
    assert!(gateway.terminate().await.success());
}

async fn the_deadline_ends_a_run_that_hangs(kind: &str) {
    let server = Server::start(Script::tool()).await.unwrap();
    let home = home(kind, &server).with("CONTAINER_TIMEOUT", "3000");
    let gateway = home.start(None).await.unwrap();
    json(&home, &["group", "add", "other", "--no-trigger", "--json"]).await;
    let (hung, fine) = tokio::join!(
        ask(&home, "main", "[[bash:trap '' TERM; sleep 600]]"),
        ask(&home, "other", "[[bash:echo fine]]"),
    );
    assert!(hung.contains("was stopped after 3 seconds"), "{hung}");
    assert!(fine.contains("fine"), "{fine}");
    assert!(gateway.terminate().await.success());
}

/// The same model behind Amazon Bedrock: signed requests, event streams, and the agent sees no difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_answered_by_way_of_bedrock() {
    let server = Server::start(Script::tool()).await.unwrap();
    let home = Home::new()
        .with("CLAUDE_CODE_USE_BEDROCK", "1")
        .with("AWS_REGION", "eu-central-1")
        .with("AWS_ACCESS_KEY_ID", "AKIATEST")
        .with("AWS_SECRET_ACCESS_KEY", "secret-canary")
        .with("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &server.url());
    let gateway = home.start(None).await.unwrap();
    let answer = ask(&home, "main", "[[bash:env; echo from bedrock]]").await;
    assert!(answer.contains("from bedrock") && !answer.contains("secret-canary"), "{answer}");
    let asked = server.requests();
    assert!(asked.iter().all(|seen| seen.path.ends_with("/invoke-with-response-stream")));
    assert!(gateway.terminate().await.success());
}

/// A model that first says nothing is asked again; what people see is one answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_provider_costs_patience_and_nothing_else() {
    let script = Script::echo().fault(Fault::rate_limited(1).first(2));
    let server = Server::start(script).await.unwrap();
    let home = home("bubblewrap", &server);
    let gateway = home.start(None).await.unwrap();
    let begun = std::time::Instant::now();
    assert!(ask(&home, "main", "[[id:x]]").await.contains("[[id:x]]"));
    assert!(begun.elapsed() >= Duration::from_secs(1), "retry-after was not honoured");
    assert!(gateway.terminate().await.success());
}

/// The field's file form: a shell in the sandbox drops a message into `messages/`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_may_drop_a_message_and_learns_what_became_of_it() {
    let drop = r#"cd /workspace/ipc/messages; printf '{"type":"message","text":"from a shell"}' > .t; mv .t one.json; \
        printf '{"type":"message","text":"x","chat":"slack:T/C"}' > .t; mv .t two.json; \
        while [ ! -e ../replies/one.json ] || [ ! -e ../replies/two.json ]; do sleep 0.05; done; cat ../replies/two.json"#;
    let server = Server::start(obeying(&[("go", drop)])).await.unwrap();
    let home = home("bubblewrap", &server);
    let gateway = home.start(None).await.unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    terminal.say("m1", "go").await.unwrap();
    let first = timeout(PATIENCE, terminal.answer())
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()))
        .unwrap();
    assert_eq!(first["text"], "from a shell");
    let last = timeout(PATIENCE, terminal.answer())
        .await
        .unwrap_or_else(|_| panic!("{}", home.read_log()))
        .unwrap();
    assert!(last["text"].as_str().unwrap().contains("is not registered"), "{last}");
    assert!(gateway.terminate().await.success());
}
