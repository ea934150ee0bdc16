//! A store that refuses under the real gateway, because its disk is full or somebody holds on to it: the gateway stays
//! up, says so, stays quiet, and loses nothing that it has confirmed.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::support::gateway::{Home, PATIENCE};
use crate::support::terminal::Terminal;

/// A small file system of its own, mounted over a folder.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    async fn mount(at: &'a Path) -> Self {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=24m,mode=0755", "tmpfs"]).arg(at);
        let mounted = command.status().await.unwrap().success();
        assert!(mounted, "a file system is mounted: this test needs root, which tests/run sees to");
        Self(at)
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    /// Leaves one page more.
    fn leave_a_page(&self) {
        let ballast = std::fs::OpenOptions::new().write(true).open(self.0.join("ballast")).unwrap();
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length - 4096).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("--lazy").arg(self.0).status();
        drop(unmounted);
    }
}

/// What becomes of what was said: `kept` or `not_kept`.
async fn verdict(terminal: &mut Terminal) -> serde_json::Value {
    let said = async {
        loop {
            let frame = terminal.next().await.expect("the gateway stays up");
            if matches!(frame["type"].as_str(), Some("kept" | "not_kept")) {
                return frame;
            }
        }
    };
    timeout(PATIENCE, said).await.unwrap()
}

/// Sees that a gateway whose disk is full neither spins nor fills its log.
async fn is_at_peace(home: &Home, pid: u32) {
    const WATCHED: Duration = Duration::from_secs(4);
    let lines = || home.read_log().lines().count();
    let (busy_before, lines_before) = (busy(pid), lines());
    tokio::time::sleep(WATCHED).await;
    let (busy, lines) = (busy(pid) - busy_before, lines() - lines_before);
    assert!(home.read_log().contains("be claimed"), "every run was: {}", home.read_log());
    assert!(busy < WATCHED / 20, "{busy:?} of a processor in {WATCHED:?}");
    assert!(lines <= 10, "{lines} lines in {WATCHED:?}:\n{}", home.read_log());
}

/// The processor time that a process has used.
fn busy(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it, in
    // hundredths of a second, which is part of the kernel's interface on every machine that we build for.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_what_was_confirmed_is_kept() {
    let home = Home::new().with("AGENT_ENGINE", "instant");
    let small = Small::mount(home.path()).await;
    let gateway = home.start(None).await.unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    terminal.say("first", "[[id:first]]").await.unwrap();
    let answer = timeout(PATIENCE, terminal.answer()).await.unwrap().unwrap();
    assert_eq!(answer["text"], "ok [[id:first]]");

    small.fill();
    let mut confirmed = vec!["first".to_owned()];
    let refused = loop {
        let id = format!("m{}", confirmed.len());
        assert!(confirmed.len() < 200, "the disk is full, and everything is confirmed");
        terminal.say(&id, &format!("[[id:{id}]] {}", "x".repeat(64 * 1024))).await.unwrap();
        let frame = verdict(&mut terminal).await;
        if frame["type"] == "not_kept" {
            break frame;
        }
        confirmed.push(id);
    };
    assert!(refused["reason"].as_str().unwrap().contains("disk"), "{refused}");
    let status = home.command(&["status", "--json"]).output().await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["live"]["disk_full"], true, "{status}");

    // What is left after a large one was refused is filled with small ones, until there is no room even for these.
    for number in 0.. {
        assert!(number < 200, "the disk is full, and everything is confirmed");
        let id = format!("s{number}");
        terminal.say(&id, &format!("[[id:{id}]]")).await.unwrap();
        if verdict(&mut terminal).await["type"] == "not_kept" {
            break;
        }
        confirmed.push(id);
    }
    // One of another conversation for which there is just room again, so that there is none for its run.
    let mut beside = Terminal::connect(&home.socket(), "main", Some("t"), None).await.unwrap();
    loop {
        small.leave_a_page();
        beside.say("waits", "[[id:waits]]").await.unwrap();
        if verdict(&mut beside).await["type"] == "kept" {
            break;
        }
    }
    is_at_peace(&home, gateway.pid()).await;

    small.make_room();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, Some(1)).await.unwrap();
    terminal.say("last", "[[id:last]]").await.unwrap();
    confirmed.push("last".to_owned());
    let mut answers = String::from("ok [[id:first]]");
    while !answers.contains("[[id:last]]") {
        let answer = timeout(PATIENCE, terminal.answer()).await;
        let answer = answer.unwrap_or_else(|_| panic!("{answers}\n{}", home.read_log())).unwrap();
        answers.push_str(answer["text"].as_str().unwrap());
    }
    let answer = timeout(PATIENCE, beside.answer()).await.unwrap().unwrap();
    assert_eq!(answer["text"], "ok [[id:waits]]");
    for id in &confirmed {
        let count = answers.matches(&format!("[[id:{id}]]")).count();
        assert_eq!(count, 1, "{id} was confirmed and is answered once: {answers}");
    }
    assert!(gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_not_stranded_when_the_store_refuses_at_the_start() {
    let home = Home::new().with("AGENT_ENGINE", "instant");
    let mut gateway = home.start(Some("run.claimed=return")).await.unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    terminal.say("first", "[[id:first]]").await.unwrap();
    assert!(!timeout(PATIENCE, gateway.ended()).await.unwrap().success());

    // Somebody else holds on to the database for longer than the gateway waits for it.
    let other = rusqlite::Connection::open(home.path().join("store/messages.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = home.read_log().len();
    let gateway = home.start(None).await.unwrap();
    let refused = async {
        while !home.read_log()[before..].contains("cannot be written down now") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap_or_else(|_| panic!("{}", home.read_log()));
    other.execute_batch("ROLLBACK").unwrap();
    let mut terminal = Terminal::connect(&home.socket(), "main", None, None).await.unwrap();
    let answer = timeout(PATIENCE, terminal.answer()).await;
    let answer = answer.unwrap_or_else(|_| panic!("{}", home.read_log())).unwrap();
    assert_eq!(answer["text"], "ok [[id:first]]");
    assert!(gateway.terminate().await.success());
}
