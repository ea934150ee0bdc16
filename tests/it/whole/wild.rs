//! Agents that go wild in real sandboxes: each one's own run fails, with one plain sentence, and nobody else's.
//!
//! The gateway is in this process, so that little disk is much here, and so that its memory can be measured.

use std::time::Duration;

use futures_util::future::join_all;
use hermitcrab::gateway::{Bounds, Gateway, Options};
use test_servers::model::Server;

use super::{BRIDGE, ask, home, json, obeying};

/// What the gateway may take of memory, whatever agents do; in a debug build, and the model's stand-in included.
const MEMORY_KIB: u64 = 64 * 1024;

in_every_kind!(an_agent_that_goes_wild_fails_alone);

/// What somebody says, what the agent then does, and what is said in the chat.
struct Wild {
    word: &'static str,
    command: &'static str,
    sentence: &'static str,
}

const STOPPED: &str =
    "I could not answer: the agent was stopped after 30 seconds. Send your message again to retry.";
const FILLED: &str = "I could not answer: the agent filled more than 32 MiB of disk and was stopped. Send your message again to retry.";

const WILD: [Wild; 6] = [
    Wild {
        word: "flood",
        command: "head -c 1073741824 /dev/zero | tr '\\0' x",
        sentence: "I could not answer: the agent produced more output than the limit of 10485760 bytes. Send your message again to retry.",
    },
    Wild {
        word: "fork",
        // The shell itself forks once only, while it can: one that could not would give up by itself.
        command: "bomb() { bomb | bomb & }; bomb & while :; do :; done",
        sentence: STOPPED,
    },
    Wild { word: "hang", command: "trap '' TERM; sleep 600", sentence: STOPPED },
    Wild {
        word: "home",
        command: "head -c 100000000 /dev/zero > ~/full; sleep 600",
        sentence: FILLED,
    },
    Wild {
        word: "folder",
        command: "head -c 100000000 /dev/zero > full; sleep 600",
        sentence: FILLED,
    },
    Wild {
        word: "files",
        command: "mkdir many; for i in $(seq 20000); do : > many/$i; done; sleep 600",
        sentence: FILLED,
    },
];

/// What is bounded without an end of the run: the agent is told.
const EAT: &str = "python3 -c \"x = 'a' * 8 * 2**30; print('ate', len(x))\"";
const TEMPORARY: &str = "head -c 4294967296 /dev/zero > /tmp/full; ls -s /tmp/full; rm /tmp/full";

async fn an_agent_that_goes_wild_fails_alone(kind: &str) {
    let mut commands: Vec<_> = WILD.iter().map(|wild| (wild.word, wild.command)).collect();
    commands.extend([("eat", EAT), ("temporary", TEMPORARY)]);
    let server = Server::start(obeying(&commands)).await.unwrap();
    let home = home(kind, &server)
        .with("CONTAINER_TIMEOUT", "30000")
        .with("MAX_CONCURRENT_CONTAINERS", "9");
    let bounds = Bounds {
        growth: 32 * 1024 * 1024,
        measure: Duration::from_millis(200),
        ..Bounds::default()
    };
    let options = Options { bounds, ..Options::default() };
    let gateway = Gateway::start_with(home.settings(), options).await.unwrap();
    for (word, _) in &commands {
        json(&home, &["group", "add", word, "--no-trigger", "--json"]).await;
    }
    assert!(ask(&home, "main", "[[id:before]]").await.contains("[[id:before]]"));
    let before = memory_kib("VmRSS");

    let wild = join_all(WILD.iter().map(|wild| ask(&home, wild.word, wild.word)));
    let told = join_all(["eat", "temporary"].map(|word| ask(&home, word, word)));
    let calm = ask(&home, "main", "[[id:calm]]");
    let (wild, told, calm) = tokio::join!(wild, told, calm);
    assert!(calm.contains("[[id:calm]]"), "{calm}");
    for (expected, answer) in WILD.iter().zip(wild) {
        assert_eq!(answer, expected.sentence, "{}", expected.word);
    }
    assert!(!told[0].contains("ate 8"), "memory was not limited: {}", told[0]);
    assert!(!told[1].contains("4194304"), "{}", told[1]);
    let grown = memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < MEMORY_KIB, "{grown} KiB");

    let runs = json(&home, &["runs", "--json", "--limit", "100"]).await;
    let runs = runs.as_array().unwrap();
    for wild in &WILD {
        let mut own = runs.iter().filter(|run| run["group"] == wild.word);
        let run = own.next().unwrap();
        assert_eq!((&run["state"], &run["attempt"]), (&"given_up".into(), &1.into()), "{run}");
        assert!(run["error"].is_string() && own.next().is_none(), "{run}");
    }
    // Everybody goes on, also those who went wild.
    for (word, _) in &commands {
        assert!(ask(&home, word, "[[id:after]]").await.contains("[[id:after]]"), "{word}");
    }
    gateway.stop().await;
}

/// A line of what the kernel says of this process: its memory now, or at the most.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
