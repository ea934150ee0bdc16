//! Files in both directions, and reactions, with an agent that is real.

use serde_json::json;
use test_servers::model::{Answer, Script, Turn};
use test_servers::slack::{ALICE, DOWNLOAD, Fault, GENERAL, World};

use super::Firm;
use crate::slack::real::register;

/// The files that a thread has got from the bot: what each is called, what it is, what is in it, and what was said.
fn shared(world: &World, thread: &str) -> Vec<(String, String, Vec<u8>, String)> {
    let answers = world.answers(GENERAL, thread).into_iter();
    let with_file = answers.filter_map(|answer| {
        let file = answer.json()["files"].as_array()?.first()?;
        let kept = world.files().find(|kept| file["id"] == kept.id())?;
        let mime = file["mimetype"].as_str()?.to_owned();
        Some((kept.name().to_owned(), mime, kept.bytes().to_vec(), answer.text().to_owned()))
    });
    with_file.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_reads_what_people_send_and_sends_a_file_an_image_and_a_reaction() {
    let make = "mkdir -p out && printf 'all is well' > out/report.txt \
                && printf '\\211PNG\\r\\n\\032\\n\\000' > out/crab.png";
    let script = Script { otherwise: Answer::Tool, ..Script::default() }.on(
        "the report",
        [
            Turn::tool("bash", json!({ "command": make })),
            Turn::tool("send_file", json!({ "path": "out/report.txt", "caption": "Here it is." })),
            Turn::tool("send_file", json!({ "path": "out/crab.png" })),
            Turn::tool("react", json!({ "emoji": "white_check_mark" })),
            Turn::text("That was it."),
        ],
    );
    let firm = Firm::build(script).await;
    register(&firm.home, &firm.slack, "main", &[GENERAL]).await;
    let gateway = firm.open().await;

    let post = firm.asking(GENERAL, ALICE, "[[bash:cat files/*note.txt; cat files/*.bin | wc -c]]");
    let post = post.file("note.txt", "text/plain", "the harbour is closed");
    let ts = firm.slack.user_message(post.file("big.bin", "x/y", vec![7; 3_000_000]));
    let answers = firm.answers(&ts, 1).await;
    let read = answers[0].contains("the harbour is closed") && answers[0].contains("3000000");
    assert!(read, "{answers:?}");

    // In place of a file Slack may show its page for people to log in.
    firm.slack.fault(Fault::log_in().on(DOWNLOAD));
    let post = firm.asking(GENERAL, ALICE, "[[bash:ls files]]");
    let ts = firm.slack.user_message(post.file("lost.txt", "text/plain", "never seen"));
    let answers = firm.answers(&ts, 1).await;
    assert!(!answers[0].contains("lost.txt"), "{answers:?}");
    assert!(firm.latest_request().contains("lost.txt, text/plain: not fetched: the app may not"));
    firm.slack.clear_faults();

    let ts = firm.ask("the report");
    assert_eq!(firm.answers(&ts, 1).await, ["That was it."]);
    let is_there = |world: &World| {
        let message = world.message(GENERAL, &ts).unwrap();
        shared(world, &ts).len() == 2 && !message.reacted("white_check_mark").is_empty()
    };
    firm.until(is_there).await;
    assert!(gateway.terminate().await.success());
    let owned = |name: &str, mime: &str, bytes: &[u8], said: &str| {
        (name.to_owned(), mime.to_owned(), bytes.to_vec(), said.to_owned())
    };
    firm.slack.look(|world| {
        let expected = [
            owned("report.txt", "text/plain", b"all is well", "Here it is."),
            owned("crab.png", "image/png", b"\x89PNG\r\n\x1a\n\0", ""),
        ];
        assert_eq!(shared(world, &ts), expected);
        let bot = world.message(GENERAL, &ts).unwrap().reacted("white_check_mark");
        assert_eq!(bot, [firm.slack.options().bot_user.as_str()]);
        assert_eq!(world.answers(GENERAL, &ts).len(), 3);
    });
}
