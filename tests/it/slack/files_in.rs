//! Files that people send: they lie in the group's folder, and the agent is told where.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use hermitcrab::sandbox::fake::{FakeSandbox, Inside};
use serde_json::{Value, json};
use test_servers::slack::{
    ALICE, BOB, DOWNLOAD, Fault, GENERAL, Options, PRIVATE, Post, Slack, User,
};

use super::{Office, pace};
use crate::inside::{done, input, leave};

/// An agent that answers with its prompt, and with what is in the files that are named there.
async fn reading(inside: Inside) -> hermitcrab::sandbox::Exit {
    loop {
        let prompt = input(&inside.ipc(), "prompt").await;
        let (run, mut answer) =
            (prompt["run"].as_u64().unwrap(), prompt["text"].as_str().unwrap().to_owned());
        for named in answer.clone().split("path=\"").skip(1) {
            let path = named.split('"').next().unwrap().replace("&amp;", "&");
            let path = path.strip_prefix("/workspace/group/").unwrap().to_owned();
            let content = std::fs::read(inside.host("/workspace/group").join(path)).unwrap();
            let shown = String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned();
            answer.push_str(&format!("\n{} bytes: {shown}", content.len()));
        }
        leave(&inside.ipc(), "done.json", &done(run, &answer, None));
    }
}

async fn office(options: Options) -> Office {
    let sandbox = FakeSandbox::new();
    sandbox.always(reading);
    let slack = Slack::start(options).await.unwrap();
    let pace = hermitcrab::channel::slack::Pace { step: Duration::from_millis(1_500), ..pace() };
    let office = Office::open_with(slack, sandbox, pace).await;
    office.connected().await;
    office
}

impl Office {
    /// A mention of the bot by Alice.
    fn asking(&self, text: &str) -> Post {
        Post::new(GENERAL, ALICE, &format!("<@{}> {text}", self.slack.options().bot_user))
    }

    /// What the agent answers to it.
    async fn told(&self, post: Post) -> String {
        let ts = self.slack.user_message(post);
        self.read(&ts).await
    }

    /// The answer in a thread, without what makes it harmless in Slack.
    async fn read(&self, ts: &str) -> String {
        let answer = self.answer(ts).await;
        answer.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }

    /// The part of a file's name that says in which chat it was sent.
    fn place(&self) -> String {
        format!("{}-{GENERAL}", self.slack.options().team_id)
    }

    /// Tells of a message as it is with these files and this text.
    fn change(&self, ts: &str, text: &str, files: &Value) {
        let before = self.slack.look(|world| world.message(GENERAL, ts).unwrap().json().clone());
        let mut now = before.clone();
        (now["text"], now["files"]) = (text.into(), files.clone());
        // What it says is in the text.
        now.as_object_mut().unwrap().remove("blocks");
        self.slack.emit(&json!({
            "type": "message", "subtype": "message_changed", "channel": GENERAL,
            "message": now, "previous_message": before,
        }));
    }

    /// Where the group's files lie.
    fn files(&self) -> PathBuf {
        self.inhouse.home.path().join("groups/team/files")
    }

    /// The names of what lies in a folder of the groups; none where there is no such folder.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.inhouse.home.path().join("groups").join(folder));
        let entries = entries.into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Nothing that is unfinished lies about.
    fn is_tidy(&self) -> bool {
        self.names(".arriving").is_empty()
    }

    /// How often a file was asked for.
    fn downloads(&self) -> usize {
        self.slack.look(|world| world.count(DOWNLOAD))
    }

    /// A file as a message shows it, with another address.
    fn at(&self, url: &str) -> Value {
        let name = "report.pdf";
        json!([{ "id": "F1", "name": name, "mimetype": "application/pdf", "size": 10,
                 "url_private_download": url, "mode": "hosted", "file_access": "visible" }])
    }
}

#[tokio::test]
async fn a_file_lies_in_the_groups_folder_and_the_agent_reads_it() {
    let office = office(Options::default()).await;
    let big = vec![b'x'; 3 * 1024 * 1024];
    let post = office.asking("look").file("plan & more.txt", "text/plain", "the plan");
    let ts = office.slack.user_message(post.file("big.bin", "application/x-thing", big));
    let answer = office.read(&ts).await;
    let place = office.place();
    let named = format!(
        "@Andy look
[file: plan &amp; more.txt, text/plain]
[file: big.bin, application/x-thing]
<file name=\"plan &amp; more.txt\" type=\"text/plain\" bytes=\"8\" path=\"/workspace/group/files/{ts}-{place}-plan &amp; more.txt\"/>
<file name=\"big.bin\" type=\"application/x-thing\" bytes=\"3145728\" path=\"/workspace/group/files/{ts}.2-{place}-big.bin\"/></message>"
    );
    assert!(answer.contains(&named), "{answer}");
    assert!(answer.contains("\n8 bytes: the plan\n3145728 bytes: xxx"), "{answer}");
    // It came as a message and as a mention, and each file was fetched once.
    office.slack.wait_for(|world| world.acked() >= 2 && world.unacked() == 0).await;
    assert_eq!((office.downloads(), office.is_tidy()), (2, true));
    // The folder is the agent's, and so is what lies in it.
    let folder = std::fs::metadata(office.files().parent().unwrap()).unwrap();
    for path in [office.files(), office.files().join(format!("{ts}.2-{place}-big.bin"))] {
        let entry = std::fs::metadata(&path).unwrap();
        assert_eq!((entry.uid(), entry.gid()), (folder.uid(), folder.gid()), "{path:?}");
    }
    // With the message, its files go.
    assert!(office.slack.delete(GENERAL, &ts));
    office.slack.wait_for(|world| world.unacked() == 0).await;
    assert_eq!(office.names("team/files"), [""; 0]);
    office.close().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_had_loses_no_message_and_is_named_with_the_reason() {
    let office = office(Options::default()).await;
    let pdf = || office.asking("see").file("report.pdf", "application/pdf", "%PDF 1");
    let may_not = "the app may not read files (files:read)";
    for (fault, said) in [
        (Fault::log_in(), may_not),
        (Fault::status(404), "Slack answers 404 Not Found"),
        (Fault::status(503), "Slack answers 503 Service Unavailable"),
        (Fault::rate_limited(3_600), "Slack answers 429 Too Many Requests"),
        (Fault::drop(), "the connection broke"),
        (Fault::cut(), "the connection broke"),
        (Fault::hang(), "it did not come in time"),
    ] {
        office.slack.fault(fault.on(DOWNLOAD));
        let answer = office.told(pdf()).await;
        let line = format!("@Andy see\n[file: report.pdf, application/pdf: not fetched: {said}]</");
        assert!(answer.contains(&line), "{answer}");
        office.slack.clear_faults();
    }
    // A page in place of the file, with status 200, as in the place of a redirect.
    let log_in = office.at(&format!("{}/login", office.slack.url()));
    let answer = office.told(office.asking("see").with("files", log_in)).await;
    assert!(answer.contains(may_not), "{answer}");
    assert!(office.is_tidy() && office.names("team/files").is_empty());
    // What goes wrong once is tried again.
    for fault in [Fault::status(502), Fault::rate_limited(3), Fault::drop(), Fault::cut()] {
        office.slack.fault(fault.on(DOWNLOAD).first(1));
        let answer = office.told(pdf()).await;
        assert!(answer.contains("\n6 bytes: %PDF 1"), "{answer}");
    }
    office.close().await;
}

#[tokio::test]
async fn what_is_too_large_or_too_much_is_left_out_and_said() {
    let office = office(Options::default()).await;
    let large = vec![0; 25 * 1024 * 1024 + 1];
    let line = "[file: large.bin, image/png: not fetched: it is larger than 25 MiB]</";
    let post = office.asking("see").file("large.bin", "image/png", large);
    assert!(office.told(post).await.contains(line));
    assert_eq!(office.downloads(), 0);
    // The same, and Slack says that it is small.
    let mut file = office.slack.look(|world| world.files().next().unwrap().json().clone());
    file["size"] = 10.into();
    let answer = office.told(office.asking("see").with("files", json!([file]))).await;
    assert!(answer.contains(line), "{answer}");
    assert!(office.is_tidy() && office.names("team/files").is_empty());
    let many = (0..12).fold(office.asking("see"), |post, n| post.file("a", "text/plain", vec![n]));
    let answer = office.told(many).await;
    assert_eq!(answer.matches("<file ").count(), 10);
    let left_out = "[file: a, text/plain: not fetched: only the first 10 files of a message are]";
    assert_eq!(answer.matches(left_out).count(), 2);
    office.close().await;
}

#[tokio::test]
async fn odd_names_lead_nowhere_and_no_file_replaces_another() {
    let office = office(Options::default()).await;
    let long = format!("{}.pdf", "n".repeat(300));
    let names =
        ["../../etc/passwd", ".bashrc", &long, "日本 🎉.png", "a\nb\u{202e}", "same", "same"];
    let post = names
        .iter()
        .fold(office.asking("see"), |post, name| post.file(name, "x/y", (*name).to_owned()));
    let ts = office.slack.user_message(post);
    let answer = office.read(&ts).await;
    assert_eq!(answer.matches("<file ").count(), names.len(), "{answer}");
    let place = office.place();
    let cut = format!("{ts}.3-{place}-{}.pdf", "n".repeat(200 - ts.len() - place.len() - 8));
    let mut expected = [
        format!("{ts}-{place}-.._.._etc_passwd"),
        format!("{ts}.2-{place}-.bashrc"),
        cut,
        format!("{ts}.4-{place}-日本 🎉.png"),
        format!("{ts}.5-{place}-a_b_"),
        format!("{ts}.6-{place}-same"),
        format!("{ts}.7-{place}-same"),
    ];
    expected.sort();
    assert_eq!(office.names("team/files"), expected);
    assert!(answer.contains("\n16 bytes: ../../etc/passwd"), "{answer}");
    office.close().await;
}

#[tokio::test]
async fn a_link_that_the_agent_made_is_not_followed() {
    let office = office(Options::default()).await;
    office.told(office.asking("begin")).await;
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), office.files()).unwrap();
    let post = || office.asking("see").file("a.txt", "text/plain", "secret");
    let answer = office.told(post()).await;
    let note = "[file: a.txt, text/plain: not fetched: it could not be put into files/]</";
    assert!(answer.contains(note), "{answer}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert!(office.is_tidy());
    std::fs::remove_file(office.files()).unwrap();
    assert!(office.told(post()).await.contains("\n6 bytes: secret"));
    office.close().await;
}

#[tokio::test]
async fn the_token_goes_to_no_other_host_and_what_lies_elsewhere_is_named() {
    let office = office(Options::default()).await;
    let foreign = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/files-pri/report.pdf", foreign.local_addr().unwrap());
    let answer = office.told(office.asking("see").with("files", office.at(&url))).await;
    let foreign_line = "not fetched: its address is not one of Slack's]</";
    assert!(answer.contains(foreign_line), "{answer}");
    let drive = json!([{ "id": "F2", "name": "plan", "is_external": true, "mode": "external",
                         "url_private": url }]);
    let answer = office.told(office.asking("see").with("files", drive)).await;
    let line = format!("[file: plan: not fetched: it lies at {url}]</");
    assert!(answer.contains(&line), "{answer}");
    assert!(futures_util::poll!(Box::pin(foreign.accept())).is_pending(), "nobody connected");
    office.close().await;
}

#[tokio::test]
async fn nothing_is_fetched_for_chats_of_no_group_and_nothing_twice() {
    let office = office(Options::default().impatient(Duration::from_millis(200), 3)).await;
    let file = |channel| Post::new(channel, ALICE, "see").file("a.txt", "text/plain", "content");
    office.slack.user_message(file(PRIVATE));
    office.slack.wait_for(|world| world.acked() >= 1 && world.unacked() == 0).await;
    assert_eq!(office.downloads(), 0);
    // The ack is lost, and the message comes again.
    office.slack.ignore_acks(1);
    office.slack.user_message(file(GENERAL));
    office.slack.wait_for(|world| world.acked() >= 2 && world.unacked() == 0).await;
    assert_eq!((office.downloads(), office.names("team/files").len()), (1, 1));
    office.close().await;
}

#[tokio::test]
async fn another_chat_does_not_wait_for_a_file_and_the_same_chat_keeps_its_order() {
    let office = office(Options::default()).await;
    office.slack.fault(Fault::hang().on(DOWNLOAD));
    office.slack.user_message(Post::new(GENERAL, ALICE, "first").file("a", "text/plain", "slow"));
    office.slack.wait_for(|world| world.hung() == 1).await;
    let ts = office.mention("second");
    let elsewhere = Post::new(PRIVATE, ALICE, "meanwhile");
    office.slack.user_message(elsewhere);
    office.slack.wait_for(|world| world.acked() >= 1).await;
    assert_eq!(office.kept("SELECT content FROM messages"), [""; 0]);
    office.slack.clear_faults();
    office.slack.release();
    office.answer(&ts).await;
    let kept = office.kept("SELECT content FROM messages WHERE is_from_me = 0 ORDER BY seq");
    assert_eq!(kept, ["first\n[file: a, text/plain]", "@Andy second"]);
    assert_eq!(office.names("team/files").len(), 1);
    office.close().await;
}

#[tokio::test]
async fn files_of_what_was_missed_come_too_and_what_was_unfinished_goes() {
    let office = office(Options::default()).await;
    office.told(office.asking("before")).await;
    let Office { slack, inhouse } = office;
    inhouse.gateway.stop().await;
    slack.wait_for(|world| world.sockets() == 0).await;
    let arriving = inhouse.home.path().join("groups/.arriving");
    std::fs::create_dir_all(&arriving).unwrap();
    std::fs::write(arriving.join("0123456789abcdef"), "half").unwrap();
    let asked = format!("<@{}> missed", slack.options().bot_user);
    let ts = slack.user_message(Post::new(GENERAL, ALICE, &asked).file("a", "x/y", "missed"));
    let sandbox = FakeSandbox::new();
    sandbox.always(reading);
    let office = Office::again(slack, inhouse.home, sandbox).await;
    assert!(office.answer(&ts).await.contains("\n6 bytes: missed"));
    assert!(office.is_tidy());
    office.close().await;
}

#[tokio::test]
async fn files_of_those_who_may_not_ask_are_named_and_not_fetched() {
    let office = office(Options::default()).await;
    office.slack.add_user(User::new("U0GUEST01", "guest").guest());
    let file = |user: &str| Post::new(GENERAL, user, "psst").file("a", "text/plain", "x");
    office.slack.user_message(file("U0GUEST01"));
    office.told(office.asking("what?")).await;
    let sql = "SELECT content FROM messages WHERE content LIKE 'psst%'";
    let refused =
        "psst\n[file: a, text/plain: not fetched: whoever sent it may not ask the assistant]";
    assert_eq!(office.kept(sql), [refused]);
    assert_eq!((office.downloads(), office.names("team/files").len()), (0, 0));
    office.inhouse.json(&["group", "set", "team", "--allow-sender", ALICE, "--json"]).await;
    office.slack.user_message(file(BOB));
    office.told(office.asking("and?")).await;
    assert_eq!(office.kept(sql), [refused, refused]);
    assert_eq!(office.downloads(), 0);
    office.close().await;
}

#[tokio::test]
async fn the_beginning_of_a_thread_is_bounded_and_its_files_are_only_named() {
    let slack = Slack::start(Options::default()).await.unwrap();
    let root = slack.user_message(Post::new(GENERAL, ALICE, "root").file("a", "x/y", "x"));
    for number in 0..250 {
        let text = format!("talk {number}");
        slack.user_message(Post::new(GENERAL, BOB, &text).in_thread(&root));
    }
    let sandbox = FakeSandbox::new();
    sandbox.always(reading);
    let office = Office::open_with(slack, sandbox, pace()).await;
    office.connected().await;
    office.slack.user_message(office.asking("well?").in_thread(&root));
    office.answer(&root).await;
    let kept = office.kept("SELECT content FROM messages WHERE is_from_me = 0 ORDER BY seq");
    assert_eq!(kept.len(), 202);
    let line = "root\n[file: a, x/y: not fetched: it was sent before you were called]";
    assert_eq!(kept[0], line);
    let (first, last) = (kept[1].as_str(), kept[200].as_str());
    assert_eq!((first, last, kept[201].as_str()), ("talk 50", "talk 249", "@Andy well?"));
    assert_eq!(office.downloads(), 0);
    office.close().await;
}

#[tokio::test]
async fn a_file_that_is_taken_out_of_a_message_goes_and_a_reason_stays() {
    let office = office(Options::default()).await;
    office.slack.fault(Fault::status(404).on(DOWNLOAD).first(1));
    let post = office.asking("see").file("lost", "x/y", "0");
    let ts = office.slack.user_message(post);
    office.answer(&ts).await;
    let post = Post::new(GENERAL, ALICE, "three").file("a", "x/y", "1").file("b", "x/y", "2");
    let three = office.slack.user_message(post.file("c", "x/y", "3"));
    office.slack.wait_for(|world| world.unacked() == 0).await;
    assert_eq!(office.names("team/files").len(), 3);
    let files = |ts: &str| {
        office.slack.look(|world| world.message(GENERAL, ts).unwrap().json()["files"].clone())
    };
    let (lost, mut left) = (files(&ts), files(&three));
    office.change(&ts, "look", &lost);
    // One is shown as deleted, and one not at all.
    left[0] = json!({ "id": left[0]["id"], "mode": "tombstone" });
    left.as_array_mut().unwrap().remove(1);
    office.change(&three, "three", &left);
    office.slack.wait_for(|world| world.unacked() == 0).await;
    let text = |ts: &str| office.kept(&format!("SELECT content FROM messages WHERE id = '{ts}'"));
    assert_eq!(text(&ts), ["look\n[file: lost, x/y: not fetched: Slack answers 404 Not Found]"]);
    let expected = "three\n[file: file: not fetched: it was deleted]\n[file: c, x/y]";
    assert_eq!(text(&three), [expected]);
    assert_eq!(office.names("team/files"), [format!("{three}.3-{}-c", office.place())]);
    // Wherever its chat belongs to by now, the file goes with its message.
    office.inhouse.json(&["group", "remove", "team", "--yes", "--json"]).await;
    assert!(office.slack.delete(GENERAL, &three));
    office.slack.wait_for(|world| world.unacked() == 0).await;
    assert_eq!(office.names("team/files"), [""; 0]);
    office.close().await;
}
