//! `hermitcrab slack check`: what Slack says of the tokens, before anybody waits for an answer.

use test_servers::slack::{ELSEWHERE, GENERAL, Options, Slack};

use super::{json_of, run};
use crate::support::gateway::Home;

fn json_of_output(out: &str) -> serde_json::Value {
    serde_json::from_str(out).unwrap()
}

/// A home with tokens for these workspaces, which one server serves.
fn home(slack: &Slack) -> Home {
    let options = slack.options();
    Home::new()
        .with("SLACK_BOT_TOKEN", &options.bot_token)
        .with("SLACK_APP_TOKEN", &options.app_token)
        .with("SLACK_API_URL", &slack.api_url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_made_from_the_manifest_may_do_all_that_is_needed() {
    let manifest = json_of_output(&run(&Home::new(), &["slack", "manifest"]).await.1);
    let granted = manifest["oauth_config"]["scopes"]["bot"].as_array().unwrap().iter();
    let scopes = granted.map(|scope| scope.as_str().unwrap().to_owned()).collect();
    let slack = Slack::start(Options { scopes, ..Options::default() }).await.unwrap();
    let home = home(&slack);
    let (code, out, err) = run(&home, &["slack", "check"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let team = &slack.options().team_id;
    assert!(out.contains(&format!("({team}): the bot is @")), "{out}");
    assert!(out.contains("✓ slack       SLACK_APP_TOKEN opens connections\n"), "{out}");
    assert!(!out.contains("xoxb-") && !out.contains("xapp-"), "{out}");
    // No gateway runs, so the doctor asks as well.
    let (_, out, _) = run(&home, &["doctor"]).await;
    assert!(out.contains("SLACK_APP_TOKEN opens connections"), "{out}");
    slack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_what_mends_it() {
    let mut options = Options::default();
    options.scopes.remove("files:read");
    let slack = Slack::start(options).await.unwrap();
    let home =
        home(&slack).with("SLACK_APP_TOKEN_HQ", "xapp-odd").with("SLACK_BOT_TOKEN_HQ", "xoxb-odd");
    let chat = format!("slack:{}/C0ELSEWHERE", slack.options().team_id);
    let chats = ["--chat", &chat, "--chat", "slack:T0OTHER/C1"];
    json_of(&home, &[&["group", "add", "work", "--json"][..], &chats].concat()).await;
    let (code, out, err) = run(&home, &["slack", "check"]).await;
    assert_eq!((code, err.as_str()), (1, ""));
    for line in [
        " lacks files:read, to read files that people attach\n",
        "→ add what it lacks at https://api.slack.com/apps",
        "✗ slack       SLACK_BOT_TOKEN_HQ: invalid_auth: Slack does not know the token\n",
        "→ copy the token xoxb-… from https://api.slack.com/apps (Install App) into .env\n",
        "✗ slack       SLACK_APP_TOKEN_HQ: invalid_auth: Slack does not know the token\n",
        &format!("! slack       {chat}: channel_not_found"),
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert!(!out.contains("T0OTHER"), "a workspace that there is no token for:\n{out}");
    let (code, out, _) = run(&home, &["slack", "check", "--json"]).await;
    assert_eq!((code, &json_of_output(&out)[0]["verdict"]), (1, &"good".into()));
    slack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_workspace_twice_is_a_fault() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let bot = slack.options().bot_token.clone();
    let home = home(&slack).with("SLACK_BOT_TOKEN_HQ", &bot).with("SLACK_APP_TOKEN_HQ", "xapp-2");
    let (code, out, _) = run(&home, &["slack", "check"]).await;
    assert_eq!(code, 1);
    assert!(
        out.contains("SLACK_BOT_TOKEN_HQ is for ") && out.contains(", as SLACK_BOT_TOKEN is\n"),
        "{out}"
    );
    slack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_bot_is_not_in_is_named() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let home = home(&slack);
    let chat = |name: &str| format!("slack:{}/{name}", slack.options().team_id);
    let chats = ["--chat", &chat(GENERAL), "--chat", &chat(ELSEWHERE)];
    json_of(&home, &[&["group", "add", "work", "--json"][..], &chats].concat()).await;
    let (code, out, _) = run(&home, &["slack", "check"]).await;
    assert_eq!((code, out.matches("the bot is not in").count()), (0, 1), "{out}");
    assert!(
        out.contains(&format!("! slack       {}: the bot is not in #", chat(ELSEWHERE))),
        "{out}"
    );
    slack.stop().await;
}

#[tokio::test]
async fn the_manifest_comes_as_a_link_as_well() {
    let (code, out, _) = run(&Home::new(), &["slack", "manifest", "--link"]).await;
    assert_eq!((code, out.lines().count()), (0, 1));
    assert!(out.starts_with("https://api.slack.com/apps?new_app=1&manifest_json=%7B"), "{out}");
}

#[tokio::test]
async fn without_tokens_it_says_where_to_begin() {
    let (code, out, err) = run(&Home::new(), &["slack", "check"]).await;
    assert_eq!((code, err.as_str()), (78, ""));
    assert!(
        out.contains("there are no tokens of Slack") && out.contains("hermitcrab slack manifest"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_named_as_that() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let home = home(&slack);
    slack.stop().await;
    let (code, out, _) = run(&home, &["slack", "check"]).await;
    assert_eq!(code, 1);
    for line in
        ["✗ slack       SLACK_BOT_TOKEN: Slack cannot be reached\n", "→ look at the network"]
    {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert!(!out.contains("copy the token") && !out.contains("make a token"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_with_which_no_gateway_would_start_are_among_what_it_finds() {
    let swapped = Home::new().with("SLACK_BOT_TOKEN", "xapp-1").with("SLACK_APP_TOKEN", "xoxb-1");
    let (code, out, err) = run(&swapped, &["slack", "check"]).await;
    assert_eq!((code, err.as_str()), (78, ""));
    assert!(out.contains("✗ settings    SLACK_BOT_TOKEN: expected a bot's token, xoxb-…"), "{out}");
    assert!(!out.contains("there are no tokens"), "{out}");

    let slack = Slack::start(Options::default()).await.unwrap();
    let half = home(&slack).with("SLACK_BOT_TOKEN_SALES", "xoxb-2");
    let (code, out, _) = run(&half, &["slack", "check"]).await;
    assert_eq!(code, 78);
    for line in [
        "✗ settings    SLACK_APP_TOKEN_SALES: expected to be set",
        "✓ slack       SLACK_APP_TOKEN opens",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    slack.stop().await;
}
