//! What tools do with the gateway: messages and their answers, and the broker on loopback.

use std::fs;

use protocol::{Input, Outcome, Prompt, Reply, Request};
use serde_json::json;
use test_servers::model::{Script, Server, Turn};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinSet;

use crate::support::{Runner, prompt, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_is_handed_over_and_its_answer_goes_to_the_model() {
    let script = Script::default().on(
        "go",
        [
            Turn::tool("send_message", json!({"text": "On my way."})),
            Turn::tool("send_message", json!({"text": "Hi.", "chat": "slack:T1/C2"})),
            Turn::text("{tool_result}"),
        ],
    );
    let server = Server::start(script).await.unwrap();
    let mut runner = Runner::start(server.url().trim_start_matches("http://"), &[]);
    runner.put(&Input::Prompt(Box::new(prompt(1, "go"))));
    for (expected, ok, text) in [
        (("On my way.", None), true, "sent"),
        (("Hi.", Some("slack:T1/C2")), false, "you may not write there"),
    ] {
        let (id, request) = take_request(&runner);
        let Request::SendMessage { text: said, chat } = request else { panic!("{request:?}") };
        assert_eq!((said.as_str(), chat.as_deref()), expected);
        reply(&runner, &Reply { id, ok, text: text.to_owned() });
    }
    let text = String::from("you may not write there");
    assert_eq!(runner.done(1).outcome, Outcome::Answer { text });
    let last = &server.requests()[2].body["messages"];
    assert_eq!(last[2]["content"][0]["content"][0]["text"], "sent");
    assert_eq!(last[4]["content"][0]["is_error"], true);
    assert_eq!(fs::read_dir(runner.path("ipc/replies")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_tool_of_the_gateway_is_a_request_and_some_are_for_the_main_group() {
    let asked = [
        ("send_file", json!({"path": "a.pdf", "caption": "Here."}), "messages"),
        ("react", json!({"emoji": "eyes"}), "messages"),
        ("list_chats", json!({}), "tasks"),
        ("register_group", json!({"chat": "slack:T1/C2", "name": "family"}), "tasks"),
    ];
    let mut turns: Vec<Turn> =
        asked.iter().map(|(tool, input, _)| Turn::tool(tool, input.clone())).collect();
    turns.push(Turn::tool("send_file", json!({"caption": "of nothing"})));
    turns.push(Turn::text("{tool_result}"));
    let server = Server::start(Script::default().on("go", turns)).await.unwrap();
    let mut runner = Runner::start(server.url().trim_start_matches("http://"), &[]);
    runner.put(&Input::Prompt(Box::new(Prompt { main: true, ..prompt(1, "go") })));
    for (tool, input, mailbox) in asked {
        let (id, request) = take_request_in(&runner, mailbox);
        let request = serde_json::to_value(request).unwrap();
        assert_eq!(request["type"], tool);
        for (name, value) in input.as_object().unwrap() {
            assert_eq!(request[name], *value, "{tool}");
        }
        reply(&runner, &Reply { id, ok: true, text: "done".to_owned() });
    }
    let Outcome::Answer { text } = runner.done(1).outcome else { panic!("no answer") };
    assert!(text.contains("missing field `path`"), "{text}");
    runner.put(&Input::Prompt(Box::new(prompt(2, "[[id:1]]"))));
    runner.done(2);
    let requests = server.requests();
    let offered = |number: usize| requests[number].body["tools"].to_string();
    assert!(offered(0).contains("register_group"));
    let last = offered(requests.len() - 1);
    assert!(last.contains("send_file") && !last.contains("register_group"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_attempt_goes_on_where_the_one_before_was_killed() {
    let calls = Turn::tool("bash", json!({"command": "echo once >> log"}))
        .and_tool("send_message", json!({"text": "On my way."}))
        .and_tool("bash", json!({"command": "echo never >> log"}));
    let script = Script::default()
        .on("and one more", [Turn::text("{tool_result}")])
        .on("go", [calls, Turn::text("Asked again.")]);
    let server = Server::start(script).await.unwrap();
    let address = server.url().trim_start_matches("http://").to_owned();
    let first = Prompt { from: 7, through: 8, ..prompt(1, "go") };
    let mut runner = Runner::start(&address, &[]);
    runner.put(&Input::Prompt(Box::new(first.clone())));
    let (asked, _) = take_request(&runner);
    let places = runner.kill();

    // The next attempt has an ipc directory of its own.
    fs::remove_dir_all(places.path().join("ipc/input")).unwrap();
    fs::create_dir(places.path().join("ipc/input")).unwrap();
    let mut runner = Runner::start_in(places, &address, &[]);
    let text = String::from("and one more");
    runner.put(&Input::Prompt(Box::new(Prompt { run: 2, through: 9, text, ..first })));
    let (again, request) = take_request(&runner);
    assert_eq!(again, asked, "the gateway does it once");
    assert_eq!(request, Request::SendMessage { text: String::from("On my way."), chat: None });
    reply(&runner, &Reply { id: again, ok: true, text: String::from("sent") });
    let done = runner.done(2);
    assert_eq!(done.session.as_deref(), Some("from-7"));
    let text = String::from("interrupted: it is not known how far this call got");
    assert_eq!(done.outcome, Outcome::Answer { text });
    assert_eq!(fs::read_to_string(runner.path("group/log")).unwrap(), "once\n");

    let requests = server.requests();
    assert_eq!(requests.len(), 2, "the model is not asked again for what it has said");
    let messages = requests[1].body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    let content = messages[2]["content"].as_array().unwrap();
    assert_eq!(content.len(), 4, "three results, then the messages of this attempt");
    let said = content[3]["text"].as_str().unwrap();
    assert!(said.starts_with("[Your work was interrupted") && said.ends_with("and one more"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_brokers_socket_serves_the_engine_and_is_offered_on_loopback() {
    // What a program says to the loopback port comes out of the socket as it is.
    let script = Script::default().on(
        "go",
        [
            Turn::tool(
                "bash",
                json!({"command": r#"
                exec 3<>/dev/tcp/127.0.0.1/${ANTHROPIC_BASE_URL##*:}
                printf 'GET /nowhere HTTP/1.0\r\nhost: x\r\n\r\n' >&3
                head -1 <&3 | tr -d '\r'
                env | grep -c "_proxy=$ANTHROPIC_BASE_URL"
            "#}),
            ),
            Turn::text("{tool_result}"),
        ],
    );
    let server = Server::start(script).await.unwrap();
    let places = crate::support::fresh_places();
    let socket = places.path().join("broker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut broker = JoinSet::new();
    let address = server.url().trim_start_matches("http://").to_owned();
    broker.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut inside, _) = listener.accept().await.unwrap();
            let mut outside = TcpStream::connect(&address).await.unwrap();
            connections.spawn(async move {
                tokio::io::copy_bidirectional(&mut inside, &mut outside).await.ok();
            });
        }
    });
    let mut runner = Runner::start_in(places, socket.to_str().unwrap(), &[]);
    runner.put(&Input::Prompt(Box::new(prompt(1, "go"))));
    let text = String::from("HTTP/1.0 404 Not Found\n2\n");
    assert_eq!(runner.done(1).outcome, Outcome::Answer { text });
}

/// Leaves an answer, as the gateway does.
fn reply(runner: &Runner, reply: &Reply) {
    let replies = runner.path("ipc/replies");
    fs::write(replies.join(".new"), serde_json::to_vec(reply).unwrap()).unwrap();
    fs::rename(replies.join(".new"), replies.join(format!("{}.json", reply.id))).unwrap();
}

/// Takes the one request that lies in `messages/`, with its id.
fn take_request(runner: &Runner) -> (String, Request) {
    take_request_in(runner, "messages")
}

fn take_request_in(runner: &Runner, mailbox: &str) -> (String, Request) {
    let directory = runner.path(&format!("ipc/{mailbox}"));
    let path = wait_for(&directory, || {
        let paths = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        paths.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "json"))
    });
    let request = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    (path.file_stem().unwrap().to_str().unwrap().to_owned(), request)
}
