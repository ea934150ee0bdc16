//! Ten thousand messages at once on one socket: none is lost, and in each chat they stand in order.

use std::time::{Duration, Instant};

use test_servers::slack::{ALICE, Conversation, Kind, Options, Post, Slack, World};
use tokio::time::{sleep, timeout};

use super::real::{self, column};
use crate::support::gateway::PATIENCE;

const MESSAGES: usize = 10_000;
const CHANNELS: usize = 10;
/// How much memory the gateway may hold afterwards, in MiB; a debug build holds more than the one that is measured.
const MEMORY: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_on_one_socket_are_kept_in_order() {
    // What is not acked in time comes again, as from Slack: at once, and then not for a minute.
    let options = Options { patience: PATIENCE * 2, ..Options::default() };
    let slack = Slack::start(options).await.unwrap();
    let home = real::home(&slack).with("AGENT_ENGINE", "instant").with("LOG_LEVEL", "warn");
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("C0BURST{number:02}")).collect();
    for channel in &channels {
        let members = [ALICE, slack.options().bot_user.as_str()];
        slack.add_conversation(Conversation::new(channel, Kind::Public, channel, &members));
    }
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    real::register(&home, &slack, "team", &names).await;
    let gateway = home.start(None).await.unwrap();
    slack.wait_for(|world| world.sockets() == 1).await;

    let begun = Instant::now();
    for number in 0..MESSAGES {
        let channel = &channels[number % CHANNELS];
        slack.user_message(Post::new(channel, ALICE, &format!("number {number}")));
    }
    let said = begun.elapsed();
    let all = async {
        let count = "SELECT CAST(count(*) AS TEXT) FROM messages";
        while column(&home, count) != [MESSAGES.to_string()] {
            sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        let kept = column(&home, "SELECT content FROM messages").len();
        panic!("{kept} of {MESSAGES} are kept:\n{}", home.read_log());
    }
    let took = begun.elapsed();
    let memory = resident(gateway.pid());
    println!(
        "burst: {MESSAGES} messages said in {:.1} s, all kept after {:.1} s with {} redeliveries; \
         {memory} MiB afterwards",
        said.as_secs_f64(),
        took.as_secs_f64(),
        slack.look(|world| world.deliveries().total() - MESSAGES)
    );

    for (at, channel) in channels.iter().enumerate() {
        let sql =
            format!("SELECT content FROM messages WHERE chat_id LIKE '%{channel}' ORDER BY seq");
        let expected = (at..MESSAGES).step_by(CHANNELS).map(|number| format!("number {number}"));
        let kept = column(&home, &sql);
        assert!(
            kept.iter().cloned().eq(expected),
            "{channel}: {} are kept, or in another order",
            kept.len()
        );
    }
    assert!(memory <= MEMORY, "{memory} MiB");
    assert_eq!(slack.look(World::sockets_opened), 1);
    let ended = timeout(Duration::from_secs(20), gateway.terminate()).await.unwrap();
    assert!(ended.success());
    slack.stop().await;
}

/// The resident memory of a process, in MiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
