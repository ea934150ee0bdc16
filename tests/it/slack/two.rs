//! Two workspaces in one gateway: each answers for itself, whatever happens to the other.

use hermitcrab::gateway;
use hermitcrab::sandbox::fake::FakeSandbox;
use test_servers::slack::{ALICE, Fault, GENERAL, Options, Post, Slack};

use super::{Office, pace, tokens};
use crate::inside::{Inhouse, bounds, home, obliging};

/// An office in a workspace, and the headquarters in another that is reached at the same address.
async fn offices() -> (Office, Slack) {
    let (slack, hq) =
        tokio::join!(Slack::start(Options::default()), Slack::start(Options::workspace(2)));
    let (slack, hq) = (slack.unwrap(), hq.unwrap());
    slack.take_in(&hq);
    let (bot, app) = (&hq.options().bot_token, &hq.options().app_token);
    let env = format!("{}SLACK_BOT_TOKEN_HQ={bot}\nSLACK_APP_TOKEN_HQ={app}\n", tokens(&slack));
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let options = gateway::Options { bounds: bounds(), slack: pace(), ..Default::default() };
    let inhouse = Inhouse::start_in(home(&env), sandbox, options).await;
    let office = Office { slack, inhouse };
    office.register().await;
    let chat = format!("slack:{}/{GENERAL}", hq.options().team_id);
    office.inhouse.json(&["group", "add", "hq", "--chat", &chat, "--json"]).await;
    office.connected().await;
    hq.wait_for(|world| world.sockets() == 1).await;
    (office, hq)
}

/// Alice of that workspace mentions the bot; the channel is of the same name in both.
fn mention(slack: &Slack, text: &str) -> String {
    let text = format!("<@{}> {text}", slack.options().bot_user);
    slack.user_message(Post::new(GENERAL, ALICE, &text))
}

async fn is_answered(slack: &Slack, ts: &str) {
    slack.wait_for(|world| world.answers(GENERAL, ts).len() == 1).await;
}

#[tokio::test]
async fn each_of_two_workspaces_is_answered_in_its_own_thread() {
    let (office, hq) = offices().await;
    for round in 0..3 {
        let text = format!("round {round}");
        let (here, there) = (mention(&office.slack, &text), mention(&hq, &text));
        tokio::join!(is_answered(&office.slack, &here), is_answered(&hq, &there));
    }
    office.settled().await;
    for slack in [&office.slack, &hq] {
        slack.look(|world| assert_eq!((world.said(GENERAL).len(), world.unacked()), (3, 0)));
    }
    let groups = "SELECT DISTINCT chat_id FROM messages ORDER BY chat_id";
    assert_eq!(office.kept(groups), ["slack:T0FAKE001/C0GENERAL", "slack:T0FAKE002/C0GENERAL"]);
    assert!(office.state().await.starts_with("up since "));
    office.close().await;
    hq.stop().await;
}

#[tokio::test]
async fn one_workspace_answers_while_the_other_is_away_and_that_one_when_it_is_back() {
    let (office, hq) = offices().await;
    let before = mention(&hq, "before");
    is_answered(&hq, &before).await;
    hq.fault(Fault::status(503));
    hq.abort_sockets();
    hq.wait_for(|world| world.sockets() == 0).await;
    let missed = mention(&hq, "missed");
    let here = mention(&office.slack, "hello");
    is_answered(&office.slack, &here).await;
    while !office.state().await.contains("but hq is backing off until ") {}
    hq.look(|world| assert!(world.answers(GENERAL, &missed).is_empty()));
    hq.clear_faults();
    is_answered(&hq, &missed).await;
    office.settled().await;
    hq.look(|world| assert_eq!(world.said(GENERAL).len(), 2));
    office.close().await;
    hq.stop().await;
}

#[tokio::test]
async fn a_workspace_that_takes_no_answer_holds_up_no_other() {
    let (office, hq) = offices().await;
    hq.fault(Fault::hang().on("chat.postMessage").first(1));
    let there = mention(&hq, "hello");
    hq.wait_for(|world| world.hung() == 1).await;
    for round in 0..3 {
        let here = mention(&office.slack, &format!("round {round}"));
        is_answered(&office.slack, &here).await;
    }
    hq.look(|world| assert!(world.answers(GENERAL, &there).is_empty()));
    hq.release();
    is_answered(&hq, &there).await;
    office.close().await;
    hq.stop().await;
}

#[tokio::test]
async fn a_workspace_whose_tokens_are_revoked_leaves_the_other_up() {
    let (office, hq) = offices().await;
    hq.revoke("token_revoked");
    hq.abort_sockets();
    while !office.state().await.ends_with(", but hq is refused: token_revoked") {}
    let here = mention(&office.slack, "hello");
    is_answered(&office.slack, &here).await;
    office.close().await;
    hq.stop().await;
}
