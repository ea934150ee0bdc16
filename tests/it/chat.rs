//! `chat` as a person at a keyboard meets it, and `chat -m` as a script does.

use crate::support::gateway::Home;
use crate::support::pty::Pty;

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
    let status = home.command(&["status", "--json"]).output().await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["store"]["messages"], 2);
}
