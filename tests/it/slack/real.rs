//! The real binary in a workspace: for tests that start it, kill it, and look at what it has left behind.

use serde_json::Value;
use test_servers::slack::Slack;

use crate::support::gateway::Home;

/// A home whose gateway takes part in this workspace.
pub(super) fn home(slack: &Slack) -> Home {
    let options = slack.options();
    Home::new()
        .with("SLACK_BOT_TOKEN", &options.bot_token)
        .with("SLACK_APP_TOKEN", &options.app_token)
        .with("SLACK_API_URL", &slack.api_url())
}

/// What a command says as JSON.
pub(super) async fn json(home: &Home, args: &[&str]) -> Value {
    let output = home.command(args).output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes these Slack channels the chats of a new group.
pub(super) async fn register(home: &Home, slack: &Slack, group: &str, channels: &[&str]) {
    let team = &slack.options().team_id;
    let chats: Vec<String> = channels.iter().map(|it| format!("slack:{team}/{it}")).collect();
    let (first, rest) = chats.split_first().unwrap();
    json(home, &["group", "add", group, "--chat", first, "--json"]).await;
    for chat in rest {
        json(home, &["group", "set", group, "--chat", chat, "--json"]).await;
    }
}

/// The state of the channel, as `status` shows it.
pub(super) async fn state(home: &Home) -> String {
    let status = json(home, &["status", "--json"]).await;
    let channels = status["live"]["channels"].as_array().unwrap();
    let slack = channels.iter().find(|channel| channel["name"] == "slack").unwrap();
    slack["state"].as_str().unwrap().to_owned()
}

/// The first column of what is in the store, as text.
pub(super) fn column(home: &Home, sql: &str) -> Vec<String> {
    let store = rusqlite::Connection::open(home.path().join("store/messages.db")).unwrap();
    let mut rows = store.prepare(sql).unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}
