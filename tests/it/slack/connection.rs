//! The connection: refused, refreshed, lost, silent, one too many.

use std::time::{Duration, Instant};

use hermitcrab::channel::slack::Pace;
use hermitcrab::sandbox::fake::FakeSandbox;
use test_servers::slack::{Fault, Options, Slack, World};

use super::{Office, pace};
use crate::inside::obliging;
use crate::support::gateway::Home;

#[tokio::test]
async fn a_token_that_is_no_good_is_a_state_and_not_a_loop() {
    let slack = Slack::start(Options::default()).await.unwrap();
    slack.revoke("invalid_auth");
    let office = Office::open(slack).await;
    office.slack.wait_for(|world| world.count("auth.test") == 1).await;
    while office.state().await != "refused: invalid_auth" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    office.slack.look(|world| {
        assert_eq!((world.count("auth.test"), world.count("apps.connections.open")), (1, 0));
    });
    office.close().await;
}

#[tokio::test]
async fn a_socket_that_is_refreshed_is_replaced_while_it_is_still_read() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let office = Office::open(slack).await;
    office.connected().await;
    // The server gives a socket that it is about to close nothing more: what is said then is caught up with.
    let mut threads = vec![office.mention("at first")];
    office.answer(&threads[0]).await;
    for round in 0..3 {
        office.slack.disconnect("refresh_requested", Duration::from_millis(300));
        threads.push(office.mention(&format!("round {round}")));
        let opened = round + 2;
        office.slack.wait_for(|world| world.sockets_opened() == opened).await;
        office.connected().await;
    }
    for ts in &threads {
        office.answer(ts).await;
    }
    office.slack.look(|world| assert_eq!(world.count("chat.postMessage"), 4));
    office.close().await;
}

#[tokio::test]
async fn a_socket_that_falls_silent_is_lost() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    office.slack.stall_sockets();
    office.slack.wait_for(|world| world.sockets_opened() == 2).await;
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.close().await;
}

#[tokio::test]
async fn a_connection_that_breaks_comes_back() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    office.slack.abort_sockets();
    office.slack.wait_for(|world| world.sockets_opened() == 2 && world.sockets() == 1).await;
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.close().await;
}

#[tokio::test]
async fn sockets_that_are_one_too_many_are_asked_for_ever_more_seldom() {
    let slack = Slack::start(Options { max_sockets: 0, ..Options::default() }).await.unwrap();
    let office = Office::open(slack).await;
    office.slack.wait_for(|world| world.count("apps.connections.open") == 4).await;
    let state = office.state().await;
    assert!(state.ends_with(": too_many_websockets") || state == "connecting", "{state}");
    office.slack.look(|world| {
        let calls = world.calls("apps.connections.open");
        let waits: Vec<_> = calls.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        // 20, 40 and 80 ms, and up to a quarter more.
        for (wait, least) in waits.iter().zip([20, 40, 80]) {
            assert!(*wait >= Duration::from_millis(least), "{waits:?}");
        }
    });
    office.close().await;
}

#[tokio::test]
async fn a_link_that_is_disabled_is_a_state() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    office.slack.disconnect("link_disabled", Duration::ZERO);
    while office.state().await != "refused: link_disabled" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    office.slack.look(|world| assert_eq!(world.count("apps.connections.open"), 1));
    office.close().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_and_asked_again() {
    let slack = Slack::start(Options::default()).await.unwrap();
    slack.fault(Fault::hang().on("apps.connections.open").first(1));
    slack.fault(Fault::status(503).on("apps.connections.open").first(1));
    slack.fault(Fault::rate_limited(1).on("apps.connections.open").first(1));
    let office = Office::open(slack).await;
    office.connected().await;
    let ts = office.mention("hello");
    office.answer(&ts).await;
    office.close().await;
}

#[tokio::test]
async fn a_lost_ack_makes_a_redelivery_and_no_second_answer() {
    let options = Options::default().impatient(Duration::from_millis(200), 3);
    let office = Office::open(Slack::start(options).await.unwrap()).await;
    office.connected().await;
    office.slack.ignore_acks(2);
    let ts = office.mention("hello");
    office.answer(&ts).await;
    // Two each of the message and the mention, and what the bot said itself.
    office.slack.wait_for(|world| world.deliveries().total() == 5 && world.acked() == 3).await;
    assert_eq!(office.kept("SELECT content FROM messages WHERE is_from_me = 0"), ["@Andy hello"]);
    assert_eq!(office.slack.look(|world| world.answers(super::GENERAL, &ts).len()), 1);
    office.close().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_later_is_a_state_too() {
    let office = Office::open(Slack::start(Options::default()).await.unwrap()).await;
    office.connected().await;
    office.slack.revoke("token_revoked");
    office.slack.abort_sockets();
    while office.state().await != "refused: token_revoked" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    office.slack.look(|world| {
        assert_eq!((world.count("auth.test"), world.count("apps.connections.open")), (2, 1));
    });
    office.close().await;
}

#[tokio::test]
async fn a_token_that_is_good_again_is_noticed_and_what_waits_leaves_at_once() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let pace = Pace { refused: Duration::from_millis(100), ..pace() };
    let office = Office::open_with(slack, sandbox, pace).await;
    office.connected().await;
    let before = office.mention("before");
    office.answer(&before).await;
    office.slack.revoke("invalid_auth");
    let asked = office.mention("while the app is not installed");
    // The socket stays, for it has a token of its own.
    while office.state().await != "refused: invalid_auth" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    office.slack.restore();
    let restored = Instant::now();
    office.answer(&asked).await;
    assert!(restored.elapsed() < Duration::from_secs(10), "{:?}", restored.elapsed());
    assert!(office.state().await.starts_with("up since "));
    assert_eq!(office.slack.look(World::sockets_opened), 1);
    office.close().await;
}

/// The address of a socket lets anybody in who has it.
#[tokio::test]
async fn no_level_of_the_log_lets_a_secret_out() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let (options, url) = (slack.options(), slack.api_url());
    let mut home = Home::new().with("LOG_LEVEL", "trace").with("SLACK_API_URL", &url);
    for (name, token) in
        [("SLACK_BOT_TOKEN", &options.bot_token), ("SLACK_APP_TOKEN", &options.app_token)]
    {
        home = home.with(name, token);
    }
    let gateway = home.start(None).await.unwrap();
    while !home.read_log().contains(" connected channel.name=") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.terminate().await;
    let log = home.read_log();
    for secret in ["ticket-", &options.bot_token, &options.app_token] {
        assert!(!log.contains(secret), "{secret} stands in the log");
    }
    slack.stop().await;
}
