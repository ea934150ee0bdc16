//! Several workspaces in one gateway.

use hermitcrab::gateway::Options;
use hermitcrab::sandbox::fake::FakeSandbox;
use test_servers::slack::{self, ALICE, GENERAL, Post, Slack};

use super::{Office, pace};
use crate::inside::{Inhouse, bounds, home, obliging};

/// The server is one workspace, and the settings name one server: here both pairs of tokens ask the same one, which
/// knows only the first.
#[tokio::test]
async fn a_workspace_whose_tokens_are_no_good_is_nobody_elses_trouble() {
    let slack = Slack::start(slack::Options::default()).await.unwrap();
    let other = slack::Options::workspace(2);
    let env = format!(
        "{}SLACK_BOT_TOKEN_HQ={}\nSLACK_APP_TOKEN_HQ={}\n",
        super::tokens(&slack),
        other.bot_token,
        other.app_token
    );
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let options = Options { bounds: bounds(), slack: pace(), ..Options::default() };
    let inhouse = Inhouse::start_in(home(&env), sandbox, options).await;
    let office = Office { slack, inhouse };
    office.register().await;
    office.connected().await;
    let bot = &office.slack.options().bot_user;
    let ts = office.slack.user_message(Post::new(GENERAL, ALICE, &format!("<@{bot}> hello")));
    office.answer(&ts).await;
    let state = office.state().await;
    assert!(
        state.starts_with("up since ") && state.ends_with(", but hq is refused: invalid_auth"),
        "{state}"
    );
    office.close().await;
}

#[tokio::test]
async fn of_two_pairs_for_one_workspace_the_second_is_refused_with_both_names() {
    let slack = Slack::start(slack::Options::default()).await.unwrap();
    let bot = &slack.options().bot_token;
    let second = format!("SLACK_BOT_TOKEN_HQ={bot}\nSLACK_APP_TOKEN_HQ=xapp-another\n");
    let env = format!("{}{second}", super::tokens(&slack));
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let options = Options { bounds: bounds(), slack: pace(), ..Options::default() };
    let inhouse = Inhouse::start_in(home(&env), sandbox, options).await;
    let office = Office { slack, inhouse };
    office.register().await;
    office.connected().await;
    let ts = office.mention("hello");
    office.answer(&ts).await;
    let state = office.state().await;
    let refused =
        "hq is refused: its tokens are for the same workspace as those of the first workspace";
    assert!(state.starts_with("up since ") && state.ends_with(refused), "{state}");
    office.close().await;
}
