//! A disk that fills up under the real gateway: it stays up, says so, and loses nothing that it has confirmed.

use std::io::Write;
use std::path::Path;

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
        let said = async {
            loop {
                let frame = terminal.next().await.expect("the gateway stays up");
                if matches!(frame["type"].as_str(), Some("kept" | "not_kept")) {
                    return frame;
                }
            }
        };
        let frame = timeout(PATIENCE, said).await.unwrap();
        if frame["type"] == "not_kept" {
            break frame;
        }
        confirmed.push(id);
    };
    assert!(refused["reason"].as_str().unwrap().contains("disk"), "{refused}");
    let status = home.command(&["status", "--json"]).output().await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["live"]["disk_full"], true, "{status}");

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
    for id in &confirmed {
        let count = answers.matches(&format!("[[id:{id}]]")).count();
        assert_eq!(count, 1, "{id} was confirmed and is answered once: {answers}");
    }
    assert!(gateway.terminate().await.success());
}
