//! Who is answered, where, and what wakes the assistant: each change holds at once.

use serde_json::json;
use test_servers::model::{Answer, Script, Turn};
use test_servers::slack::{ALICE, BOB, GENERAL, GROUP_DM, PRIVATE, Post, User};

use super::{Firm, answered};
use crate::slack::real::{json as said, register};

const GUEST: &str = "U0GUEST01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_answered_once_allowed_and_a_thread_may_want_a_mention() {
    let firm = Firm::build(Script::tool()).await;
    register(&firm.home, &firm.slack, "team", &[GENERAL]).await;
    firm.slack.add_user(User::new(GUEST, "guest").guest());
    assert!(firm.slack.join(GENERAL, GUEST));
    let gateway = firm.open().await;

    let asked = firm.slack.user_message(firm.asking(GENERAL, GUEST, "[[bash:echo let me in]]"));
    let own = firm.mention("echo mine", None);
    firm.answers(&own, 1).await;
    let unanswered = |thread: &str| {
        firm.slack.look(|world| assert!(world.answers(GENERAL, thread).is_empty()));
    };
    unanswered(&asked);
    let allow =
        ["group", "set", "team", "--allow-sender", GUEST, "--allow-sender", ALICE, "--json"];
    said(&firm.home, &allow).await;
    // What was refused stays refused; what is said now is answered.
    let asked_again =
        firm.slack.user_message(firm.asking(GENERAL, GUEST, "[[bash:echo let me in]]"));
    let answers = firm.answers(&asked_again, 1).await;
    assert!(answers[0].contains("let me in"), "{answers:?}");
    unanswered(&asked);
    // Whoever is not named may no longer.
    let bob = firm.slack.user_message(firm.asking(GENERAL, BOB, "[[bash:echo bob]]"));

    said(&firm.home, &["group", "set", "team", "--engage", "mention", "--json"]).await;
    firm.slack.user_message(Post::new(GENERAL, ALICE, "[[bash:echo quiet]]").in_thread(&own));
    firm.until(|world| world.unacked() == 0).await;
    let meanwhile = firm.mention("echo meanwhile", None);
    firm.answers(&meanwhile, 1).await;
    let answers = firm.answers(&own, 1).await;
    assert_eq!(answers.len(), 1, "a reply that mentions nobody was answered: {answers:?}");
    firm.mention("echo loud", Some(&own));
    let answers = firm.answers(&own, 2).await;
    assert!(answers[1].contains("loud"), "{answers:?}");
    assert!(firm.latest_request().contains("echo quiet"), "it was not heard either");

    assert!(gateway.terminate().await.success());
    unanswered(&bob);
    firm.slack.look(|world| assert_eq!(answered(world, GENERAL, &own).len(), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_registered_by_asking_and_a_direct_message_of_three_is_answered() {
    let team = test_servers::slack::Options::default().team_id;
    let chat = |channel: &str| format!("slack:{team}/{channel}");
    let register = json!({ "chat": chat(PRIVATE), "name": "quiet" });
    let script = Script { otherwise: Answer::Tool, ..Script::default() }.on(
        "take care",
        [
            Turn::tool("list_chats", json!({})),
            Turn::tool("register_group", register),
            Turn::text("So: {tool_result}"),
        ],
    );
    let firm = Firm::build(script).await;
    let gateway = firm.open().await;
    let before = firm.slack.user_message(firm.asking(PRIVATE, ALICE, "[[bash:echo unheard]]"));
    firm.until(|world| world.acked() >= 2 && world.unacked() == 0).await;

    let words = ["chat", "-m", "take care of them, please"];
    let output = firm.home.command(&words).output().await.unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let registered = format!("the chat {} belongs to the group quiet now", chat(PRIVATE));
    assert!(answer.contains(&registered), "{answer}\n{}", firm.home.read_log());
    let listed = format!("{} (#secret): not registered", chat(PRIVATE));
    assert!(firm.latest_request().contains(&listed), "{}", firm.latest_request());
    let ts = firm.slack.user_message(firm.asking(PRIVATE, ALICE, "[[bash:echo heard]]"));
    let answers = firm.answers_in(PRIVATE, &ts, 1).await;
    assert!(answers[0].contains("heard"), "{answers:?}");

    said(&firm.home, &["group", "set", "quiet", "--chat", &chat(GROUP_DM), "--json"]).await;
    let ts = firm.slack.user_message(firm.asking(GROUP_DM, BOB, "[[bash:echo three of us]]"));
    let answers = firm.answers_in(GROUP_DM, &ts, 1).await;
    assert!(answers[0].contains("three of us"), "{answers:?}");
    assert!(gateway.terminate().await.success());
    firm.slack.look(|world| {
        assert!(world.answers(PRIVATE, &before).is_empty());
        assert_eq!((world.said(PRIVATE).len(), world.said(GROUP_DM).len()), (1, 1));
    });
}
