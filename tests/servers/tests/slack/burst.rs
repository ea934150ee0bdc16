//! Ten thousand messages at once on one socket.

use std::time::Duration;

use test_servers::slack::{ALICE, DM, Options, Post, Slack};

use crate::client::Socket;

const MESSAGES: usize = 10_000;

#[tokio::test]
async fn a_burst_of_ten_thousand_is_carried_in_order() {
    let options = Options { ack_timeout: Duration::from_secs(60), ..Options::default() };
    let slack = Slack::start(options).await.unwrap();
    let mut socket = Socket::open(&slack).await;
    for number in 0..MESSAGES {
        slack.user_message(Post::new(DM, ALICE, &number.to_string()));
    }
    for number in 0..MESSAGES {
        assert_eq!(socket.event().await["text"], number.to_string());
    }
    slack.wait_for(|world| world.acked() == MESSAGES).await;
    slack.look(|world| {
        let times = world.ack_times();
        println!("p50 {:?}, p99 {:?}", times[MESSAGES / 2], times[MESSAGES * 99 / 100]);
        assert_eq!((world.unacked(), times.len()), (0, MESSAGES));
    });
    slack.stop().await;
}
