//! `chat` as a person at a keyboard meets it, and `chat -m` as a script does.

use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::gateway::{Home, PATIENCE};
use crate::support::pty::Pty;
use crate::support::terminal::Terminal;

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
async fn without_a_sandbox_the_prompt_comes_back_at_once() {
    let home = Home::new().with("SANDBOX", "docker").with("DOCKER_HOST", "unix:///none.sock");
    let mut chat = Pty::start(&home, &["chat"]);
    // Both are typed before the first prompt.
    chat.press("hello\r/status\r");
    chat.expect("No sandbox for the agent yet").await;
    chat.expect("(kept; there is no sandbox").await;
    chat.expect("1 queued").await;
    chat.expect("> ").await;
    chat.press("\x04");
    assert!(chat.ended().await.success());
}

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
async fn a_signal_ends_the_gateway_inside_in_order() {
    for (end, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let home = Home::new();
        let mut chat = Pty::start(&home, &["chat"]);
        chat.expect("> ").await;
        chat.press("run: sleep 1000\r");
        chat.expect("bash: ").await;
        assert!(!sandboxes(&home).is_empty());
        chat.signal(end);
        let status_code = chat.ended().await;
        assert_eq!((status_code.code(), status_code.signal()), (Some(code), None));
        assert_eq!(sandboxes(&home), Vec::<String>::new());
        let status = status(&home).await;
        assert_eq!(status["store"]["unfinished_runs"], 0, "{status}");
        assert_eq!(status["store"]["waiting_conversations"], 1, "{status}");
    }
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
    chat.expect("\x1b[K> ").await;
    let runs = home.command(&["runs", "--json"]).output().await.unwrap();
    let runs: Value = serde_json::from_slice(&runs.stdout).unwrap();
    assert_eq!(runs[0]["state"], "cancelled", "{runs}");
    chat.press("\x04");
    assert!(chat.ended().await.success());
    assert!(gateway.terminate().await.success());
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
    asked.tell(answer(2, "another's", 4)).await;
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

/// `chat -m` with a gateway in the test's hands.
struct Asked {
    child: Child,
    stream: BufReader<UnixStream>,
    /// The message's id.
    id: String,
    _home: Home,
}

impl Asked {
    async fn by(text: &str) -> Self {
        let home = Home::new();
        std::fs::create_dir(home.path().join("store")).unwrap();
        let listener = UnixListener::bind(home.socket()).unwrap();
        let child = spawn(home.command(&["chat", "-m", text]));
        // The first call only looks whether somebody is there.
        let mut stream = loop {
            let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
            let mut stream = BufReader::new(stream);
            if hear(&mut stream).await.is_some_and(|hello| hello["type"] == "hello") {
                break stream;
            }
        };
        let said = hear(&mut stream).await.unwrap();
        let id = said["id"].as_str().unwrap().to_owned();
        let mut asked = Self { child, stream, id, _home: home };
        let welcome = json!({
            "type": "welcome", "assistant": "Andy", "needs_trigger": false, "trigger": "@Andy",
            "sandbox": "none",
        });
        asked.tell(welcome).await;
        asked
    }

    async fn tell(&mut self, frame: Value) {
        self.stream.write_all(format!("{frame}\n").as_bytes()).await.unwrap();
    }

    /// The next answer that is confirmed.
    async fn hear_ack(&mut self) -> u64 {
        loop {
            let frame = timeout(PATIENCE, hear(&mut self.stream)).await.unwrap().unwrap();
            if frame["type"] == "ack" {
                return frame["outbox"].as_u64().unwrap();
            }
        }
    }

    /// Lets it go, and takes what it said.
    async fn ended(self) -> Output {
        drop(self.stream);
        ended(self.child).await
    }
}

async fn hear(stream: &mut BufReader<UnixStream>) -> Option<Value> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    Some(serde_json::from_str(&line).unwrap())
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
