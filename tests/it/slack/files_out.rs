//! What agents ask for beside answers: files, reactions, chats. Each is done once, and the agent is told.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::{FakeSandbox, Inside};
use serde_json::{Value, json};
use test_servers::model::{Script, Server, Turn};
use test_servers::slack::{
    ALICE, DM, Fault, GENERAL, Options, PRIVATE, Post, Slack, UPLOAD, World,
};
use tokio::time::timeout;

use super::{Office, pace, tokens};
use crate::inside::{done, input, leave, take};
use crate::support::gateway::{Home, PATIENCE};

/// An agent that asks for what its prompt makes it ask for, one after the other, and answers with what it was told.
async fn asking(inside: Inside, ask: fn(&str) -> Vec<Value>) -> Exit {
    let (ipc, group) = (inside.ipc(), inside.host("/workspace/group"));
    loop {
        let prompt = input(&ipc, "prompt").await;
        let run = prompt["run"].as_u64().unwrap();
        std::fs::write(group.join("report.txt"), "as it was").unwrap();
        let mut told = Vec::new();
        for (number, request) in ask(prompt["text"].as_str().unwrap()).iter().enumerate() {
            let mailbox = match request["type"].as_str().unwrap() {
                "register_group" | "list_chats" | "dance" => "tasks",
                _ => "messages",
            };
            let name = format!("{run}-{number}.json");
            leave(&ipc.join(mailbox), &name, &request.to_string());
            let reply = take(ipc.join("replies").join(name)).await;
            told.push(format!("{}: {}", reply["ok"], reply["text"].as_str().unwrap()));
            std::fs::write(group.join("report.txt"), "changed since").unwrap();
        }
        leave(&ipc, "done.json", &done(run, &told.join("\n"), None));
    }
}

async fn office_that_asks(ask: fn(&str) -> Vec<Value>) -> Office {
    let sandbox = FakeSandbox::new();
    sandbox.always(move |inside| asking(inside, ask));
    let slack = Slack::start(Options::default()).await.unwrap();
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    office
}

/// A thread's messages with a file: its name, its bytes, and what was said with it.
fn shared(world: &World, ts: &str) -> Vec<(String, Vec<u8>, String)> {
    let answers = world.answers(GENERAL, ts).into_iter();
    let with_file = answers.filter_map(|answer| {
        let file = answer.json()["files"].as_array()?.first()?.clone();
        let bytes = world.files().find(|known| file["id"] == known.id())?.bytes().to_vec();
        Some((file["name"].as_str()?.to_owned(), bytes, answer.text().to_owned()))
    });
    with_file.collect()
}

/// The answer of words alone.
async fn words(office: &Office, ts: &str) -> String {
    let words = |world: &World| {
        let answers = world.answers(GENERAL, ts);
        let found = answers.iter().find(|answer| answer.json()["files"].is_null());
        found.map(|answer| answer.text().to_owned())
    };
    office.slack.wait_some(words).await
}

fn copies(home: &Path) -> usize {
    std::fs::read_dir(home.join("store/outgoing")).unwrap().count()
}

fn a_file(_prompt: &str) -> Vec<Value> {
    vec![json!({"type": "send_file", "path": "report.txt", "caption": "for *you* <!here>"})]
}

fn the_report() -> Vec<(String, Vec<u8>, String)> {
    let caption = "for *you* &lt;!here&gt;".to_owned();
    vec![("report.txt".to_owned(), b"as it was".to_vec(), caption)]
}

#[tokio::test]
async fn a_file_arrives_once_in_its_thread_as_it_was_whatever_slack_puts_off() {
    let office = office_that_asks(a_file).await;
    for method in ["files.getUploadURLExternal", UPLOAD, "files.completeUploadExternal"] {
        office.slack.fault(Fault::rate_limited(1).on(method).first(1));
    }
    let ts = office.mention("please");
    assert_eq!(words(&office, &ts).await, "true: it will be sent");
    office.settled().await;
    office.slack.look(|world| {
        assert_eq!(shared(world, &ts), the_report());
        assert_eq!(world.answers(GENERAL, &ts).len(), 2, "the file, and then the answer");
        assert!(!world.answers(GENERAL, &ts)[0].json()["files"].is_null());
    });
    assert_eq!(copies(office.inhouse.home.path()), 0);
    let rows = office.inhouse.json(&["outbox", "--all", "--json"]).await;
    let listed = rows[1]["text"].as_str().unwrap();
    assert!(listed.ends_with("[file: report.txt, 1 KB: groups/team/report.txt]"), "{listed}");
    office.close().await;
}

#[tokio::test]
async fn a_file_whose_arrival_is_in_doubt_is_looked_for_by_its_id() {
    for (fault, completed) in [(Fault::drop_after(), 1), (Fault::drop(), 2)] {
        let office = office_that_asks(a_file).await;
        office.slack.fault(fault.on("files.completeUploadExternal").first(1));
        let ts = office.mention("please");
        words(&office, &ts).await;
        office.settled().await;
        office.slack.look(|world| {
            assert_eq!(shared(world, &ts), the_report());
            assert_eq!(world.count("files.completeUploadExternal"), completed);
            assert_eq!(world.count(UPLOAD), 1);
        });
        office.close().await;
    }
}

#[tokio::test]
async fn what_slack_forgot_of_a_file_is_brought_again_and_what_it_refuses_is_given_up() {
    let office = office_that_asks(a_file).await;
    let refuse = |code| Fault::error(code).on("files.completeUploadExternal").first(1);
    office.slack.fault(refuse("file_not_found"));
    let ts = office.mention("please");
    words(&office, &ts).await;
    office.settled().await;
    office.slack.look(|world| assert_eq!(shared(world, &ts), the_report()));
    office.slack.fault(refuse("not_in_channel"));
    let ts = office.mention("and again");
    words(&office, &ts).await;
    office.settled().await;
    office.slack.look(|world| assert_eq!(shared(world, &ts), []));
    assert_eq!(copies(office.inhouse.home.path()), 0);
    let rows = office.inhouse.json(&["outbox", "--json"]).await;
    assert!(rows[0]["error"].as_str().unwrap().contains("invite it there"), "{rows}");
    office.close().await;
}

/// The words that stand in a thread.
async fn all_words(office: &Office, ts: &str, count: usize) -> Vec<String> {
    let words = |world: &World| {
        let answers = world.answers(GENERAL, ts);
        (answers.len() >= count)
            .then(|| answers.iter().map(|answer| answer.text().to_owned()).collect())
    };
    office.slack.wait_some(words).await
}

#[tokio::test]
async fn people_are_told_what_slack_refuses_of_what_was_promised_to_them() {
    let office = office_that_asks(|_prompt| {
        vec![
            json!({"type": "send_file", "path": "report.txt"}),
            json!({"type": "react", "emoji": "party_crab"}),
        ]
    })
    .await;
    let scope = Fault::error("missing_scope").on("files.getUploadURLExternal");
    office.slack.fault(scope.first(1));
    office.slack.fault(Fault::error("invalid_name").on("reactions.add").first(1));
    let ts = office.mention("please");
    let mut said = all_words(&office, &ts, 3).await;
    said.sort();
    assert_eq!(
        said,
        [
            "The file report.txt could not be sent: \
             the app lacks a scope; add it and install the app again.",
            "The reaction :party_crab: could not be sent: the workspace has no such emoji.",
            "true: it will be sent\ntrue: it will be sent",
        ]
    );
    office.settled().await;
    assert_eq!(copies(office.inhouse.home.path()), 0);
    assert_eq!(office.slack.look(|world| world.answers(GENERAL, &ts).len()), 3);

    // Where nothing can be said, it is not tried.
    for method in ["files.getUploadURLExternal", "reactions.add"] {
        office.slack.fault(Fault::error("is_archived").on(method));
    }
    let ts = office.mention("once more");
    words(&office, &ts).await;
    office.settled().await;
    assert_eq!(office.slack.look(|world| world.answers(GENERAL, &ts).len()), 1);
    office.close().await;
}

#[tokio::test]
async fn a_reaction_arrives_on_the_message_that_asked_and_is_there_once() {
    let office = office_that_asks(|_prompt| {
        let react = |emoji: &str| json!({"type": "react", "emoji": emoji});
        vec![react(":eyes:"), react("eyes"), react("🦀"), json!({"type": "dance"})]
    })
    .await;
    office.slack.fault(Fault::drop_after().on("reactions.add").first(1));
    let ts = office.mention("look at this");
    let told = words(&office, &ts).await;
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told[..2], ["true: it will be sent", "true: it will be sent"]);
    assert!(told[2].starts_with("false: say the emoji's name"), "{told:?}");
    assert!(
        told[3].contains("unknown variant `dance`") && told[3].contains("send_file"),
        "{told:?}"
    );
    office.settled().await;
    let bot = &office.slack.options().bot_user;
    office.slack.look(|world| {
        assert_eq!(world.message(GENERAL, &ts).unwrap().reacted("eyes"), [bot]);
    });
    let failed = office.kept("SELECT error FROM outbox WHERE state = 'failed'");
    assert_eq!(failed, [""; 0]);
    office.close().await;
}

#[tokio::test]
async fn a_chat_is_registered_by_asking_in_the_main_group_and_nowhere_else() {
    fn register(prompt: &str) -> Vec<Value> {
        let slack = |channel: &str| format!("slack:{}/{channel}", Options::default().team_id);
        let ask = |chat: &str, name: &str| json!({"type": "register_group", "chat": slack(chat), "name": name});
        if !prompt.contains("register") {
            return Vec::new();
        }
        vec![
            json!({"type": "list_chats"}),
            ask(PRIVATE, "main"),
            ask(PRIVATE, "No Name"),
            ask(GENERAL, "private"),
            json!({"type": "register_group", "jid": slack(PRIVATE), "name": "The Quiet Ones",
                   "folder": "private", "trigger": "@Andy"}),
            json!({"type": "send_message", "text": "welcome", "chat": slack(PRIVATE)}),
        ]
    }
    let office = office_that_asks(register).await;
    office.inhouse.json(&["group", "set", "main", "--chat", &office.chat(DM), "--json"]).await;
    office.slack.user_message(Post::new(PRIVATE, ALICE, "nobody hears this"));
    let ts = office.mention("register it");
    let told = words(&office, &ts).await;
    let told: Vec<&str> = told.lines().collect();
    for at in [0, 1, 4] {
        assert_eq!(told[at], "false: only the main group may ask this", "{told:?}");
    }
    assert!(told[5].ends_with("is not registered for this group"), "{told:?}");
    assert_eq!(office.kept("SELECT name FROM registered_groups ORDER BY name"), ["main", "team"]);

    office.slack.user_message(Post::new(DM, ALICE, "register it"));
    let said = |world: &World| world.said(DM).first().map(|said| said.text().to_owned());
    let told = office.slack.wait_some(said).await;
    let (general, private) = (office.chat(GENERAL), office.chat(PRIVATE));
    for expected in [
        format!("{general} (#general): group team"),
        format!("{private} ("),
        "): not registered".to_owned(),
        "false: the owner alone gives a chat to the main group".to_owned(),
        format!("false: the chat {general} belongs to the group team"),
        format!("true: the chat {private} belongs to the group private now"),
    ] {
        assert!(told.contains(&expected), "{expected} is not in {told}");
    }
    assert!(told.ends_with("true: it will be sent"), "{told}");
    office.slack.wait_for(|world| world.said(PRIVATE).len() == 1).await;
    let asked = format!("<@{}> are you there?", office.slack.options().bot_user);
    let ts = office.slack.user_message(Post::new(PRIVATE, ALICE, &asked));
    office.settled().await;
    let owners = office.kept("SELECT group_name FROM runs ORDER BY id");
    assert_eq!(owners, ["team", "main", "private"], "{ts} is answered");
    office.close().await;
}

/// The real binary, agent-runner and sandbox: killed at each step between the upload and the note that it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_real_agent_arrives_once_wherever_the_gateway_is_killed() {
    let make = json!({"command": "mkdir -p out && printf 'as it was' > out/report.txt"});
    let file = json!({"path": "out/report.txt", "caption": "Here it is."});
    let script = Script::default().on(
        "report",
        [
            Turn::tool("bash", make),
            Turn::tool("send_file", file),
            Turn::tool("react", json!({"emoji": "white_check_mark"})),
            Turn::text("That was it."),
        ],
    );
    for point in
        ["store.outbox_begun.before_commit", "outbox.begun", "outbox.taken", "outbox.confirmed"]
    {
        let (slack, model) = (
            Slack::start(Options::default()).await.unwrap(),
            Server::start(script.clone()).await.unwrap(),
        );
        let mut home = Home::new()
            .with("AGENT_ENGINE", "native")
            .with("ANTHROPIC_API_KEY", "sk-test-canary")
            .with("ANTHROPIC_BASE_URL", &model.url());
        for line in tokens(&slack).lines() {
            let (name, value) = line.split_once('=').unwrap();
            home = home.with(name, value);
        }
        let chat = format!("slack:{}/{GENERAL}", slack.options().team_id);
        let add = ["group", "add", "team", "--chat", &chat, "--json"];
        assert!(home.command(&add).output().await.unwrap().status.success());
        let mut gateway = home.start(Some(&format!("{point}=return"))).await.unwrap();
        slack.wait_for(|world| world.sockets() == 1).await;
        let asked = format!("<@{}> the report", slack.options().bot_user);
        let ts = slack.user_message(Post::new(GENERAL, ALICE, &asked));
        let status = timeout(PATIENCE, gateway.ended()).await;
        let status = status.unwrap_or_else(|_| panic!("{point}: alive:\n{}", home.read_log()));
        assert_eq!(status.signal(), Some(9), "{point}:\n{}", home.read_log());
        let gateway = home.start(None).await.unwrap();
        let answered = slack.wait_for(|world| world.answers(GENERAL, &ts).len() >= 2);
        timeout(PATIENCE, answered)
            .await
            .unwrap_or_else(|_| panic!("{point}:\n{}", home.read_log()));
        assert!(gateway.terminate().await.success());
        slack.look(|world| {
            let report = ("report.txt".to_owned(), b"as it was".to_vec(), "Here it is.".to_owned());
            assert_eq!(shared(world, &ts), [report], "{point}");
            let answers = world.answers(GENERAL, &ts);
            assert_eq!(answers.len(), 2, "{point}");
            assert_eq!(answers[1].text(), "That was it.");
            let asked = world.message(GENERAL, &ts).unwrap();
            assert_eq!(asked.reacted("white_check_mark").len(), 1, "{point}");
        });
        assert_eq!(copies(home.path()), 0, "{point}");
        model.stop().await;
        slack.stop().await;
    }
}
