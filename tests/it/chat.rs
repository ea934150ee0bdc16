//! `chat` as a person at a keyboard meets it.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::Home;
use crate::support::pty::Pty;
use crate::support::stand_in::{Door, Guest};

/// A line whose answer says the name, which the line itself as it is typed does not.
fn say(name: &str) -> String {
    format!("run: echo heard-$((1))-{name}\r")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_come_faster_than_the_answers_are_all_sent_in_order() {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    let names = ["one", "two", "three", "four", "five"];
    chat.press(&names.map(say).concat());
    for name in names {
        chat.expect(&format!("heard-1-{name}")).await;
    }
    // Typed while an answer is waited for: part of a line too.
    chat.expect("> ").await;
    chat.press(&say("six"));
    chat.expect("sent").await;
    chat.press(&(say("seven") + "run: echo heard-$((1))-"));
    chat.expect("heard-1-seven").await;
    chat.expect("> ").await;
    chat.press("eight\r");
    chat.expect("heard-1-eight").await;
    chat.expect("> ").await;
    chat.press("\x04");
    assert!(chat.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_paste_is_one_message_and_the_history_has_it() {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    chat.press("\x1b[200~run: echo heard-$((1))-one\necho heard-$((1))-two\x1b[201~\r");
    chat.expect("heard-1-one").await;
    chat.expect("heard-1-two").await;
    chat.expect("> ").await;
    chat.press("\x1b[A\r");
    chat.expect("heard-1-one").await;
    chat.expect("heard-1-two").await;
    chat.expect("> ").await;
    chat.press("/quit\r");
    assert!(chat.ended().await.success());
    assert_eq!(status(&home).await["store"]["messages"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slash_is_a_command_unless_there_are_two() {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    chat.press("/nope\r");
    chat.expect("There is no command /nope").await;
    chat.expect("//like this").await;
    chat.expect("> ").await;
    chat.press("//nope\r");
    chat.expect("“/nope”").await;
    chat.expect("> ").await;
    chat.press("\x04");
    assert!(chat.ended().await.success());
    assert_eq!(status(&home).await["store"]["messages"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_whole_at_the_edge_of_a_terminal_of_any_width() {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    for (columns, seen) in [
        (80, "no credentials are configured. Put \r\n`ANTHROPIC_API_KEY=…`"),
        (40, "I am only a demo, not a real model: no \r\ncredentials"),
    ] {
        chat.widen(columns);
        chat.press("hello\r");
        chat.expect(seen).await;
        // A line is free when the answer has ended.
        chat.expect("\x1b[J\r\n> ").await;
    }
    chat.press("\x04");
    assert!(chat.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sandbox_the_prompt_comes_back_at_once() {
    let home = Home::new().with("SANDBOX", "docker").with("DOCKER_HOST", "unix:///none.sock");
    let mut chat = Pty::start(&home, &["chat"]);
    // Typed before the first prompt.
    chat.press("hello\r");
    chat.expect("No sandbox for the agent yet").await;
    chat.expect("(kept; there is no sandbox").await;
    chat.press("/status\r");
    chat.expect("1 queued").await;
    chat.expect("> ").await;
    chat.press("\x04");
    assert!(chat.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_session_ends_the_gateway_inside_in_order() {
    ends_in_order(Signal::HUP, 129).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_to_end_ends_the_gateway_inside_in_order() {
    ends_in_order(Signal::TERM, 143).await;
}

async fn ends_in_order(signal: Signal, code: i32) {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    chat.press("run: sleep 1000\r");
    chat.expect("bash: ").await;
    assert!(!sandboxes(&home).is_empty());
    chat.signal(signal);
    chat.expect("stopping; the run in progress gets up to 10 s").await;
    let ended = chat.ended().await;
    assert_eq!((ended.code(), ended.signal()), (Some(code), None));
    assert_eq!(sandboxes(&home), Vec::<String>::new());
    let status = status(&home).await;
    assert_eq!(status["store"]["unfinished_runs"], 0, "{status}");
    assert_eq!(status["store"]["waiting_conversations"], 1, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_wish_to_end_is_granted_at_once_and_in_order() {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    chat.press("run: sleep 1000\r");
    chat.expect("bash: ").await;
    let begun = Instant::now();
    chat.signal(Signal::TERM);
    chat.expect("stopping; the run in progress gets up to 10 s").await;
    chat.press("\x03");
    chat.expect("stopping at once").await;
    assert_eq!(chat.ended().await.code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(sandboxes(&home), Vec::<String>::new());
    let status = status(&home).await;
    assert_eq!(status["store"]["unfinished_runs"], 0, "{status}");
    assert_eq!(status["store"]["waiting_conversations"], 1, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_act_at_once_while_the_assistant_works_and_what_is_said_follows() {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    // One is there before the answer has begun, all the others come while it is on its way.
    chat.press(&("run: sleep 1000\r".to_owned() + &say("one")));
    chat.expect("bash: ").await;
    chat.press("/help\r");
    chat.expect("this list").await;
    chat.press(&say("two"));
    chat.press("/status\r");
    chat.expect("1 at work").await;
    chat.press("run: echo heard-$((1))-");
    chat.expect("-$((1))-").await;
    chat.press("\x03");
    chat.expect("stopping").await;
    // What was half written is still there.
    chat.press("three\r");
    for name in ["one", "two", "three"] {
        chat.expect(&format!("> run: echo heard-$((1))-{name}")).await;
        chat.expect(&format!("heard-1-{name}")).await;
    }
    chat.press("run: sleep 1000\r");
    chat.expect("bash: sleep 1000").await;
    chat.press("/stop\r");
    chat.expect("stopping").await;
    chat.press(&say("four"));
    chat.expect("heard-1-four").await;
    chat.press("\x04");
    assert!(chat.ended().await.success());
    let runs = home.command(&["runs", "--json"]).output().await.unwrap();
    let runs: Vec<Value> = serde_json::from_slice(&runs.stdout).unwrap();
    let cancelled = runs.iter().filter(|run| run["state"] == "cancelled").count();
    assert_eq!((runs.len(), cancelled), (6, 2), "{runs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_before_the_answer_is_shown_it_by_the_next_chat() {
    let home = Home::new();
    let gateway = home.start(None).await.unwrap();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    chat.press(&format!("run: sleep 1; echo heard-$((1))-one\r{}", say("two")));
    chat.expect("bash: ").await;
    chat.press("\x04");
    chat.expect("will be shown at the next chat").await;
    assert!(chat.ended().await.success());
    assert!(!chat.seen().contains("heard-1-one"));
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("heard-1-one").await;
    chat.expect("heard-1-two").await;
    chat.press("/quit\r");
    assert!(chat.ended().await.success());
    assert!(gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_one_terminal_is_seen_in_the_other_before_its_answer() {
    let home = Home::new();
    let mut first = Pty::start(&home, &["chat"]);
    first.expect("> ").await;
    let mut second = Pty::start(&home, &["chat"]);
    second.expect("> ").await;
    first.press(&say("one"));
    second.expect("another terminal> run: echo heard-$((1))-one").await;
    second.expect("heard-1-one").await;
    first.expect("heard-1-one").await;
    assert!(!first.seen().contains("another terminal"));
    second.press("\x04");
    assert!(second.ended().await.success());
    first.press("\x04");
    assert!(first.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_chat_carries_on_when_the_first_takes_its_gateway_along() {
    let home = Home::new();
    let mut first = Pty::start(&home, &["chat"]);
    first.expect("> ").await;
    let mut second = Pty::start(&home, &["chat"]);
    second.expect("> ").await;
    second.press(&say("one"));
    second.expect("heard-1-one").await;
    second.expect("> ").await;
    first.press("/quit\r");
    assert!(first.ended().await.success());
    // Said into the gap, and kept by whoever comes next.
    second.press(&say("two"));
    second.expect("heard-1-two").await;
    second.expect("> ").await;
    second.press("/quit\r");
    assert!(second.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_to_stop_is_stopped_when_the_gateway_is_back() {
    let home = Home::new();
    let mut gateway = home.start(None).await.unwrap();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    chat.press("run: sleep 1000\r");
    chat.expect("bash: ").await;
    gateway.kill().await;
    chat.expect("the gateway is away").await;
    chat.press("\x03");
    chat.expect("; the answer is stopped then").await;
    let gateway = home.start(None).await.unwrap();
    chat.expect("is back)").await;
    // Sent when the answer has ended.
    chat.press(&say("after"));
    chat.expect("heard-1-after").await;
    let runs = home.command(&["runs", "--json"]).output().await.unwrap();
    let runs: Value = serde_json::from_slice(&runs.stdout).unwrap();
    assert_eq!(runs[1]["state"], "cancelled", "{runs}");
    chat.press("\x04");
    assert!(chat.ended().await.success());
    assert!(gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_said_is_kept_also_when_the_chat_is_ended_from_outside() {
    let home = Home::new();
    let mut chat = Pty::start(&home, &["chat"]);
    chat.expect("> ").await;
    chat.press("run: sleep 1000\r");
    chat.expect("bash: ").await;
    // The answer to a command shows that all before it was taken.
    chat.press("one\rtwo\r/help\r");
    chat.expect("this list").await;
    chat.signal(Signal::TERM);
    assert_eq!(chat.ended().await.code(), Some(143));
    assert!(!chat.seen().contains("not sent"), "{}", chat.seen());
    assert_eq!(status(&home).await["store"]["messages"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_said_any_more_is_told_at_the_end() {
    let (home, mut chat, mut guest) = chat_with_three_entered().await;
    guest.tell(json!({ "type": "refused", "reason": "the group is gone" })).await;
    chat.expect("not known whether this was kept: “zero”").await;
    chat.expect("not sent: “one”, “two”").await;
    chat.expect("the group is gone").await;
    assert_eq!(chat.ended().await.code(), Some(1));
    drop(home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_is_told_what_of_it_all_was_not_kept() {
    let (home, mut chat, mut guest) = chat_with_three_entered().await;
    chat.press("/quit\r");
    let one = guest.hear_of("say").await;
    let two = guest.hear_of("say").await;
    assert_eq!((&one["text"], &two["text"]), (&json!("one"), &json!("two")));
    guest.hear_of("status").await;
    guest.tell(json!({ "type": "kept", "id": one["id"], "seq": 2, "addressed": true })).await;
    let full = "the disk is full";
    guest.tell(json!({ "type": "not_kept", "id": two["id"], "reason": full })).await;
    guest.tell_state().await;
    chat.expect("not kept: “two” (the disk is full)").await;
    chat.expect("not known whether this was kept: “zero”").await;
    assert!(chat.ended().await.success());
    assert!(!chat.seen().contains("not sent"), "{}", chat.seen());
    drop(home);
}

/// A chat with a gateway in the test's hands, which has heard "zero" and not said that it is kept; "one" and "two" were
/// entered after it.
async fn chat_with_three_entered() -> (Home, Pty, Guest) {
    let home = Home::new();
    let door = Door::open(&home);
    let mut chat = Pty::start(&home, &["chat"]);
    let mut guest = door.welcome().await;
    guest.hear_of("status").await;
    guest.tell_state().await;
    chat.expect("> ").await;
    chat.press("zero\r");
    assert_eq!(guest.hear_of("say").await["text"], "zero");
    // The answer to a command shows that all before it was taken.
    chat.press("one\rtwo\r/help\r");
    chat.expect("this list").await;
    (home, chat, guest)
}

async fn status(home: &Home) -> Value {
    let output = home.command(&["status", "--json"]).output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The processes that have this home in their command line, other than commands of the test.
fn sandboxes(home: &Home) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let lines = processes.filter_map(|entry| {
        let line = std::fs::read(entry.unwrap().path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    let place = home.path().to_str().unwrap();
    lines.filter(|line| line.contains("bwrap") && line.contains(place)).collect()
}
