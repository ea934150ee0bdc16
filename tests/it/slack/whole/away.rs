//! More than one workspace, and what was said while the gateway was away.

use test_servers::model::Script;
use test_servers::slack::{ALICE, BOB, GENERAL, Options, Post, Slack};
use tokio::time::timeout;

use super::{Firm, answered};
use crate::slack::real::{column, register};
use crate::support::gateway::PATIENCE;

/// More than two pages of a history.
const TALK: usize = 450;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workspaces_are_each_answered_in_their_own_thread() {
    let options = Options { patience: PATIENCE / 2, ..Options::workspace(2) };
    let hq = Slack::start(options).await.unwrap();
    let firm = Firm::build(Script::tool())
        .await
        .with("SLACK_BOT_TOKEN_HQ", &hq.options().bot_token)
        .with("SLACK_APP_TOKEN_HQ", &hq.options().app_token);
    firm.slack.take_in(&hq);
    register(&firm.home, &firm.slack, "team", &[GENERAL]).await;
    register(&firm.home, &hq, "hq", &[GENERAL]).await;
    let gateway = firm.open().await;
    hq.wait_for(|world| world.sockets() == 1).await;

    let here = firm.mention("echo of the firm > mine; ls; echo here", None);
    let text = format!("<@{}> [[bash:ls; echo there]]", hq.options().bot_user);
    let there = hq.user_message(Post::new(GENERAL, ALICE, &text));
    let answers = firm.answers(&here, 1).await;
    assert!(answers[0].contains("here") && answers[0].contains("mine"), "{answers:?}");
    hq.wait_for(|world| !answered(world, GENERAL, &there).is_empty()).await;
    let answers = hq.look(|world| answered(world, GENERAL, &there));
    assert!(answers[0].contains("there") && !answers[0].contains("mine"), "{answers:?}");
    assert!(gateway.terminate().await.success());
    for slack in [&firm.slack, &hq] {
        slack.look(|world| assert_eq!((world.said(GENERAL).len(), world.unacked()), (1, 0)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_while_the_gateway_was_away_is_kept_in_order_and_answered_once() {
    let firm = Firm::build(Script::tool()).await;
    register(&firm.home, &firm.slack, "team", &[GENERAL]).await;
    let gateway = firm.open().await;
    let first = firm.mention("echo first", None);
    firm.answers(&first, 1).await;
    assert!(gateway.terminate().await.success());
    firm.until(|world| world.sockets() == 0).await;

    let mut talk: Vec<String> = (0..TALK).map(|number| format!("talk {number}")).collect();
    for text in &talk {
        firm.slack.user_message(Post::new(GENERAL, BOB, text));
    }
    let post = Post::new(GENERAL, ALICE, "[[bash:cat files/*minutes.txt]]").in_thread(&first);
    firm.slack.user_message(post.file("minutes.txt", "text/plain", "nothing was decided"));
    let missed = firm.mention("echo missed", None);

    let gateway = firm.open().await;
    let now = firm.mention("echo now", None);
    for (thread, count, word) in
        [(&missed, 1, "missed"), (&first, 2, "nothing was decided"), (&now, 1, "now")]
    {
        let answers = firm.answers(thread, count).await;
        assert!(answers[count - 1].contains(word), "{word}: {answers:?}");
    }
    let ended = timeout(PATIENCE, gateway.terminate()).await.unwrap();
    assert!(ended.success());
    firm.slack.look(|world| {
        let said = world.said(GENERAL);
        assert_eq!(said.len(), 4, "{said:#?}");
    });
    talk.extend(["@Andy [[bash:echo missed]]", "@Andy [[bash:echo now]]"].map(str::to_owned));
    let top = "SELECT content FROM messages WHERE is_from_me = 0 AND seq > 1 \
               AND (content LIKE 'talk %' OR content LIKE '%missed%' OR content LIKE '%now]%') ORDER BY seq";
    assert_eq!(column(&firm.home, top), talk);
}
