//! `chat -m` as a script meets it, and whoever looks on.

use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::gateway::{Home, PATIENCE};
use crate::support::pty::Pty;
use crate::support::stand_in::{Door, Guest};
use crate::support::terminal::Terminal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_waits_for_a_gateway_that_is_just_leaving_and_comes_in_its_place() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("store")).unwrap();
    let lock = std::fs::File::create(home.path().join("store/gateway.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut asking = spawn(home.command(&["chat", "-m", "run: echo heard-$((1))"]));
    let mut said = BufReader::new(asking.stderr.take().unwrap()).lines();
    let told = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
    assert!(told.contains("just starting or stopping; waiting for it"), "{told}");
    drop(lock);
    let output = ended(asking).await;
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("heard-1"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_told_what_keeps_the_answer_away() {
    let home = Home::new()
        .with("ANTHROPIC_API_KEY", "key")
        .with("ANTHROPIC_BASE_URL", "http://127.0.0.1:1");
    let mut asking = spawn(home.command(&["chat", "-m", "hello"]));
    let mut said = BufReader::new(asking.stderr.take().unwrap()).lines();
    let told = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
    assert!(told.contains("waiting: ") && told.contains("cannot be reached"), "{told}");
    signal(&asking, Signal::TERM);
    let output = ended(asking).await;
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_eq!(output.stdout, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_looks_on_sees_what_the_agent_does() {
    let home = Home::new();
    let mut asking = Pty::start(&home, &["chat", "-m", "run: sleep 0.5; echo heard-$((1))"]);
    asking.expect("bash: ").await;
    asking.expect("Ctrl-C stops it)").await;
    asking.expect("heard-1").await;
    assert!(asking.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_before_the_end_names_the_run_as_well() {
    let home = Home::new();
    let gateway = home.start(None).await.unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    terminal.say("1", "send: on my way").await.unwrap();
    let seq = terminal.next_of("kept").await.unwrap()["seq"].clone();
    let first = timeout(PATIENCE, terminal.answer()).await.unwrap().unwrap();
    assert_eq!((&first["text"], &first["ends"]), (&json!("on my way"), &Value::Null));
    assert_eq!(first["through"], seq);
    let last = timeout(PATIENCE, terminal.answer()).await.unwrap().unwrap();
    assert_eq!((&last["through"], &last["ends"]["through"]), (&seq, &seq));
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn one_question_gets_the_answer_of_its_own_run() {
    let mut asked = Asked::by("hello").await;
    asked.tell(json!({ "type": "kept", "id": asked.id, "seq": 5, "addressed": true })).await;
    // Of a run for somebody else, who takes it.
    asked.tell(json!({ "type": "answer", "outbox": 1, "text": "so far", "through": 4 })).await;
    asked.tell(json!({ "type": "taken", "outbox": 1 })).await;
    asked.tell(answer(2, "another's", 4)).await;
    asked.tell(json!({ "type": "taken", "outbox": 2 })).await;
    // Longer than an answer for which nobody waits is left to others.
    assert!(timeout(Duration::from_secs(3), asked.hear_ack()).await.is_err());
    asked
        .tell(json!({ "type": "answer", "outbox": 3, "text": "I will look.", "through": 5 }))
        .await;
    asked.tell(answer(4, "mine", 6)).await;
    assert_eq!(asked.hear_ack().await, 3);
    assert_eq!(asked.hear_ack().await, 4);
    let output = asked.ended().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "I will look.\nmine\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn an_answer_for_which_nobody_waits_is_not_lost() {
    let mut asked = Asked::by("hello").await;
    asked.tell(answer(1, "yesterday's", 4)).await;
    asked.tell(json!({ "type": "kept", "id": asked.id, "seq": 5, "addressed": true })).await;
    assert_eq!(asked.hear_ack().await, 1);
    asked.tell(answer(2, "today's", 5)).await;
    assert_eq!(asked.hear_ack().await, 2);
    let output = asked.ended().await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "today's\n");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "hermitcrab: an earlier answer, not given before: yesterday's\n");
}

#[tokio::test]
async fn what_a_reader_who_has_seen_enough_was_given_counts_as_printed() {
    let mut asked = Asked::by("hello").await;
    drop(asked.child.stdout.take());
    asked.tell(json!({ "type": "kept", "id": asked.id, "seq": 5, "addressed": true })).await;
    asked.tell(answer(1, "many lines", 5)).await;
    assert_eq!(asked.hear_ack().await, 1);
    let output = asked.ended().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn a_script_s_message_is_never_a_command() {
    for text in ["/status", "/nope at all", "//twice"] {
        assert_eq!(Asked::by(text).await.text, text);
    }
}

/// `chat -m` with a gateway in the test's hands.
struct Asked {
    child: Child,
    guest: Guest,
    /// The message's id.
    id: String,
    /// The message.
    text: String,
    _home: Home,
}

impl Asked {
    async fn by(text: &str) -> Self {
        let home = Home::new();
        let door = Door::open(&home);
        let child = spawn(home.command(&["chat", "-m", text]));
        let mut guest = door.welcome().await;
        let said = guest.hear().await.unwrap();
        let part = |name: &str| said[name].as_str().unwrap().to_owned();
        Self { child, guest, id: part("id"), text: part("text"), _home: home }
    }

    async fn tell(&mut self, frame: Value) {
        self.guest.tell(frame).await;
    }

    /// The next answer that is confirmed.
    async fn hear_ack(&mut self) -> u64 {
        self.guest.hear_of("ack").await["outbox"].as_u64().unwrap()
    }

    /// Lets it go, and takes what it said.
    async fn ended(self) -> Output {
        drop(self.guest);
        ended(self.child).await
    }
}

fn answer(outbox: u64, text: &str, through: u64) -> Value {
    let ends = json!({ "through": through, "answered": true });
    json!({ "type": "answer", "outbox": outbox, "text": text, "through": through, "ends": ends })
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ended(child: Child) -> Output {
    timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
}
