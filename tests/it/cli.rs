//! The command line as people and scripts meet it: words, exit codes, JSON.

mod slack;
mod status;

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::support::gateway::{Home, PATIENCE};

/// What a command said and how it ended, with the home's path taken out.
async fn run(home: &Home, args: &[&str]) -> (i32, String, String) {
    let output = timeout(PATIENCE, home.command(args).output()).await.unwrap().unwrap();
    told(home, &output)
}

fn told(home: &Home, output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace(home.path().to_str().unwrap(), "HOME")
    };
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

async fn json_of(home: &Home, args: &[&str]) -> Value {
    let (code, out, err) = run(home, args).await;
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test]
async fn help_is_as_documented() {
    let home = Home::new();
    for command in ["", "run", "chat", "status", "doctor", "group", "runs", "outbox", "slack"] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let (code, out, _) = run(&home, &args).await;
        assert_eq!(code, 0);
        insta::assert_snapshot!(format!("help {command}").trim().replace(' ', "_"), out);
    }
    for command in ["list", "chats", "add", "set", "remove"] {
        let (code, out, _) = run(&home, &["group", command, "--help"]).await;
        assert_eq!(code, 0);
        insta::assert_snapshot!(format!("help_group_{command}"), out);
    }
    let (code, out, _) = run(&home, &["slack", "manifest", "--help"]).await;
    assert_eq!(code, 0);
    insta::assert_snapshot!("help_slack_manifest", out);
    let (code, out, _) = run(&home, &["slack", "check", "--help"]).await;
    assert_eq!(code, 0);
    insta::assert_snapshot!("help_slack_check", out);
}

#[tokio::test]
async fn the_manifest_for_slack_is_json_and_nothing_else() {
    let home = Home::new();
    for (args, name) in
        [(&["slack", "manifest"][..], "Andy"), (&["slack", "manifest", "--name", "Crab"], "Crab")]
    {
        let (code, out, err) = run(&home, args).await;
        let manifest: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &manifest["display_information"]["name"]), (0, &Value::from(name)));
        assert!(err.contains("connections:write"), "{err}");
    }
}

#[tokio::test]
async fn wrong_usage_ends_in_64() {
    let home = Home::new();
    for args in [
        &["nonsense"][..],
        &["runs", "--limit", "0"],
        &["slack", "manifest", "--name", ""],
        &["group", "add", "Bad Name"],
        &["group", "add", "global"],
        &["group", "add", "x", "--allow-web", "https://example.org/"],
        &["group", "add", "x", "--budget", "much"],
        &["group", "add", "x", "--mount", "relative:name"],
        &["group", "set", "main", "--trigger", "@Crab"],
        &["group", "set", "main"],
        &["group", "set", "main", "--remove-chat", "terminal:main"],
        &["group", "set", "main", "--allow-sender", "two words"],
        &["group", "set", "main", "--allow-sender", "U1", "--forbid-sender", "U1"],
        &["group", "set", "main", "--chat", "slack:T/C", "--remove-chat", "slack:T/C"],
        &["chat", "-m", ""],
        &["chat", "-m", " \n\t "],
    ] {
        let (code, out, err) = run(&home, args).await;
        assert_eq!((code, out.as_str()), (64, ""), "{args:?}: {err}");
        assert!(!err.is_empty(), "{args:?}");
    }
    assert!(!home.path().join("store").exists(), "a mistake leaves something behind");
}

#[tokio::test]
async fn wrong_settings_are_told_all_at_once_and_end_in_78() {
    let home = Home::new()
        .with("SANDBOX", "jail")
        .with("POLL_INTERVAL", "often")
        .with("AGENT_ENGINE", "foo");
    std::fs::write(home.path().join(".env"), "ANTHROPIC_API_KEY='sk hunter2'\n").unwrap();
    for args in [&["run"][..], &["chat", "-m", "hello"], &["group", "add", "family"]] {
        let (code, out, err) = run(&home, args).await;
        assert_eq!((code, out.as_str()), (78, ""), "{args:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @r#"
            hermitcrab: 4 settings are wrong:
              ANTHROPIC_API_KEY (.env, line 1): expected one word of visible ASCII, as the provider gave it
              AGENT_ENGINE: expected native, the engine that is built in, found "foo"
              POLL_INTERVAL: expected milliseconds, from 50 to 3600000, found "often"
              SANDBOX: expected auto, docker (also for Podman) or bubblewrap, found "jail"
            "#);
        }
    }
    let (code, out, _) = run(&home, &["doctor"]).await;
    assert_eq!(code, 78);
    let mends = out.matches("→ set it right").count();
    assert_eq!((out.matches('✗').count(), mends), (4, 1), "{out}");
}

#[tokio::test]
async fn what_only_looks_works_with_the_settings_that_are_right() {
    let home = Home::new();
    json_of(&home, &["group", "add", "family", "--json"]).await;
    std::fs::write(home.path().join(".env"), "ANTHROPIC_BASE_URL=not a url\n").unwrap();
    for args in [&["status"][..], &["runs"], &["outbox"], &["group", "list"], &["group", "chats"]] {
        let (code, out, err) = run(&home, args).await;
        assert_eq!(code, 0, "{args:?}: {err}");
        assert!(!out.is_empty(), "{args:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @"hermitcrab: a setting is wrong and counts as not set here; `hermitcrab doctor` says more");
        }
    }
    let (code, out, _) = run(&home, &["doctor"]).await;
    assert_eq!(code, 78, "{out}");
    for part in [
        "✗ settings    ANTHROPIC_BASE_URL (.env, line 1): expected a URL such as https://api.anthropic.com\n",
        "→ set it right in .env",
        "✓ store ",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}

#[tokio::test]
async fn a_home_named_in_env_is_told_where_it_counts() {
    let home = Home::new();
    std::fs::write(home.path().join(".env"), "HERMITCRAB_HOME=/elsewhere\n").unwrap();
    let (_, out, _) = run(&home, &["doctor"]).await;
    assert!(out.contains("HERMITCRAB_HOME (line 1) counts in the environment only"), "{out}");
}

#[tokio::test]
async fn a_home_that_is_a_file_is_named() {
    let home = Home::new();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below")] {
        let place = place.to_str().unwrap();
        for args in [&["--home", place, "status"][..], &["--home", place, "run"]] {
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hermitcrab"));
            let output = timeout(PATIENCE, command.args(args).output()).await.unwrap().unwrap();
            let (code, _, err) = told(&home, &output);
            let shown = place.replace(home.path().to_str().unwrap(), "HOME");
            let expected = format!("a folder, or a place where one can be made, found {shown:?}");
            assert_eq!(code, 78, "{err}");
            assert!(err.contains(&expected), "{err}");
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hermitcrab"));
            let doctor = command.args(["--home", place, "doctor"]).output();
            let (code, out, _) = told(&home, &timeout(PATIENCE, doctor).await.unwrap().unwrap());
            assert_eq!(code, 78, "{out}");
            assert!(out.contains("→ it is an option of this command"), "{out}");
        }
    }
}

#[tokio::test]
async fn looking_at_an_empty_folder_says_how_to_begin_and_leaves_nothing_behind() {
    let home = Home::new();
    let is_empty = || std::fs::read_dir(home.path()).unwrap().next().is_none();
    for listing in ["group list", "runs", "outbox", "status", "doctor"] {
        let args: Vec<&str> = listing.split(' ').collect();
        let (code, out, err) = run(&home, &args).await;
        assert_eq!((code, err.as_str()), (0, ""), "{listing}: {out}");
        for part in ["gateway's home", "`hermitcrab chat` begins one", "--home"] {
            assert!(out.contains(part), "{listing}: {out}");
        }
        assert!(is_empty(), "{listing} leaves something behind");
    }
    let doctor = json_of(&home, &["doctor", "--json"]).await;
    let checks: Vec<&str> = doctor
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    assert!(checks.contains(&"sandbox") && checks.contains(&"model"), "{checks:?}");
    assert!(is_empty(), "doctor leaves something behind");
}

#[tokio::test]
async fn an_empty_home_has_empty_listings() {
    let home = Home::new();
    for listing in [
        &["group", "list", "--json"][..],
        &["group", "chats", "--json"],
        &["runs", "--json"],
        &["outbox", "--json"],
    ] {
        assert_eq!(json_of(&home, listing).await, json!([]), "{listing:?}");
    }
    let status = json_of(&home, &["status", "--json"]).await;
    assert_eq!((&status["live"], &status["store"]), (&Value::Null, &Value::Null));
    assert!(!home.path().join("store").exists(), "looking leaves something behind");
    let (code, _, err) = run(&home, &["runs", "--follow"]).await;
    assert_eq!(code, 69);
    insta::assert_snapshot!(err, @"hermitcrab: there is no gateway's home in HOME yet; `hermitcrab chat` begins one here, --home names another folder");
}

#[tokio::test]
async fn groups_are_added_changed_and_removed() {
    let home = Home::new();
    let added = json_of(
        &home,
        &[
            "group",
            "add",
            "family",
            "--trigger",
            "@José",
            "--allow-web",
            "*.Example.org",
            "--budget",
            "2.5",
            "--mount",
            "/srv/no-such-notes:notes:rw",
            "--chat",
            "slack:T01/C02",
            "--json",
        ],
    )
    .await;
    let folder = home.path().join("groups/family");
    let expected = json!({
        "name": "family",
        "needs_trigger": true,
        "trigger": "@José",
        "engage": "thread",
        "allowed_senders": [],
        "chats": ["slack:T01/C02", "terminal:family"],
        "web_allow": ["*.example.org"],
        "daily_budget_micros": 2_500_000,
        "mounts": [{ "host": "/srv/no-such-notes", "name": "notes", "readonly": false }],
        "folder": "HOME/groups/family",
        "denied": [{
            "finding": "group family: \"/srv/no-such-notes\" is not mounted: \
                        there is no allow-list HOME/.config/hermitcrab/mount-allowlist.json, \
                        and what is asked for is not there either",
            "mend": "allow it in HOME/.config/hermitcrab/mount-allowlist.json, as the README shows, or drop all \
                     mounts of the group: hermitcrab group set family --mount -",
        }],
    });
    assert_eq!(added, expected);
    assert!(folder.is_dir());
    let changed =
        json_of(&home, &["group", "set", "family", "--no-trigger", "--allow-web", "-", "--json"])
            .await;
    assert_eq!(changed["needs_trigger"], false);
    assert_eq!(changed["web_allow"], json!([]));
    assert_eq!(changed["daily_budget_micros"], 2_500_000, "what was not named has changed");
    let listed = json_of(&home, &["group", "list", "--json"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0], changed);

    let (code, _, err) = run(&home, &["group", "add", "family"]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @"hermitcrab: there is a group family already; `hermitcrab group set family` changes it");
    let (code, _, err) = run(&home, &["group", "remove", "family"]).await;
    assert_eq!(code, 64);
    insta::assert_snapshot!(err, @"hermitcrab: say --yes to remove the group family without being asked");
    let removed = json_of(&home, &["group", "remove", "family", "--yes", "--json"]).await;
    assert_eq!(removed, json!({ "removed": "family" }));
    assert!(folder.is_dir(), "the folder of a removed group stays");
    let (code, _, err) = run(&home, &["group", "set", "family", "--no-trigger"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("there is no group family"), "{err}");
}

#[tokio::test]
async fn who_may_wake_the_assistant_is_said_and_never_everybody_by_accident() {
    let home = Home::new();
    let added = ["group", "add", "work", "--engage", "mention", "--allow-sender", "U1", "--json"];
    let added = json_of(&home, &added).await;
    assert_eq!((&added["engage"], &added["allowed_senders"]), (&json!("mention"), &json!(["U1"])));
    let (code, out, _) = run(&home, &["group", "set", "work", "--allow-sender", "U2"]).await;
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @"
    Group work changed; `hermitcrab chat --group work` talks to it.
    Only U1, U2 may wake the assistant in its chats, and you in the terminal; what others say is read as context.
    ");
    let (code, out, _) = run(&home, &["group", "list"]).await;
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @"
    GROUP  TRIGGER  ENGAGE   SENDERS  CHATS          WEB  BUDGET/DAY  MOUNTS
    main   -        thread   -        terminal:main  -    -           -
    work   @Andy    mention  U1 U2    terminal:work  -    -           -
    ");
    let (code, _, err) =
        run(&home, &["group", "set", "work", "--forbid-sender", "U1", "--forbid-sender", "U2"])
            .await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @"hermitcrab: nobody would be named in the group work, and then everybody may wake the assistant; say --allow-sender - if that is meant");
    let (code, _, err) = run(&home, &["group", "set", "work", "--forbid-sender", "U3"]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @"hermitcrab: U3 is not among those whom the group work names; `hermitcrab group list` shows them");
    let (code, _, err) = run(&home, &["group", "set", "work", "--engage", "always"]).await;
    assert_eq!(code, 64);
    assert!(err.contains("mention, thread"), "{err}");
    let changed = ["group", "set", "work", "--forbid-sender", "U1", "--json"];
    assert_eq!(json_of(&home, &changed).await["allowed_senders"], json!(["U2"]));
    let changed = ["group", "set", "work", "--allow-sender", "-", "--json"];
    assert_eq!(json_of(&home, &changed).await["allowed_senders"], json!([]));
}

#[tokio::test]
async fn a_chat_is_taken_from_a_group_before_another_has_it() {
    let home = Home::new();
    json_of(&home, &["group", "add", "work", "--chat", "slack:T01/C02", "--json"]).await;
    for args in [["group", "add", "family"], ["group", "set", "main"]] {
        let (code, _, err) = run(&home, &[&args[..], &["--chat", "slack:T01/C02"]].concat()).await;
        assert_eq!(code, 1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @"hermitcrab: slack:T01/C02 belongs to the group work; take it from there first: hermitcrab group set work --remove-chat slack:T01/C02");
        }
    }
    let groups = json_of(&home, &["group", "list", "--json"]).await;
    assert_eq!(groups.as_array().unwrap().len(), 2, "a group that was refused is there: {groups}");
    assert!(!home.path().join("groups/family").exists());

    let (code, _, err) =
        run(&home, &["group", "set", "main", "--remove-chat", "slack:T01/C02"]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @"hermitcrab: there is no chat slack:T01/C02 in the group main");
    let work =
        json_of(&home, &["group", "set", "work", "--remove-chat", "slack:T01/C02", "--json"]).await;
    assert_eq!(work["chats"], json!(["terminal:work"]));
    let family =
        json_of(&home, &["group", "add", "family", "--chat", "slack:T01/C02", "--json"]).await;
    assert_eq!(family["chats"], json!(["slack:T01/C02", "terminal:family"]));
}

#[tokio::test]
async fn a_new_group_has_a_memory_and_one_that_is_there_keeps_its_own() {
    let home = Home::new();
    json_of(&home, &["group", "add", "family", "--json"]).await;
    let memory = |group: &str| home.path().join("groups").join(group).join("CLAUDE.md");
    let text = std::fs::read_to_string(memory("family")).unwrap();
    assert!(text.starts_with("# family\n") && !text.contains('{'), "{text}");
    std::fs::create_dir(home.path().join("groups/work")).unwrap();
    std::fs::write(memory("work"), "mine").unwrap();
    json_of(&home, &["group", "add", "work", "--json"]).await;
    assert_eq!(std::fs::read_to_string(memory("work")).unwrap(), "mine");
}

#[tokio::test]
async fn what_a_group_does_not_get_is_said_when_it_asks_and_by_doctor() {
    let home = Home::new()
        .with("ANTHROPIC_MODEL", "claude-opus-4-9")
        .with("ANTHROPIC_API_KEY", "sk-test")
        .with("ANTHROPIC_BASE_URL", "http://127.0.0.1:9");
    let list = home.path().join(".config/hermitcrab/mount-allowlist.json");
    std::fs::create_dir_all(list.parent().unwrap()).unwrap();
    std::fs::write(&list, r#"{"allowedRoots": [{"path": "/usr/share"}]}"#).unwrap();
    let mounts =
        ["--mount", "/usr/share:share", "--mount", "/usr/lib:lib", "--mount", "/nowhere:x"];
    let args = [&["group", "add", "family", "--budget", "2"][..], &mounts].concat();
    let (code, _, err) = run(&home, &args).await;
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(err, @r#"
    hermitcrab: group family: "/usr/lib" is not mounted: no allowed root holds it; allow it in HOME/.config/hermitcrab/mount-allowlist.json, as the README shows, or drop all mounts of the group: hermitcrab group set family --mount -
    hermitcrab: group family: "/nowhere" is not mounted: it is not there; allow it in HOME/.config/hermitcrab/mount-allowlist.json, as the README shows, or drop all mounts of the group: hermitcrab group set family --mount -
    hermitcrab: group family: its model calls are refused, because it has a daily budget and the price of claude-opus-4-9 is not known here; name a model with a known price in ANTHROPIC_MODEL, or lift the budget: hermitcrab group set family --budget -
    "#);
    let (_, doctor, _) = run(&home, &["doctor", "--json"]).await;
    let findings: Vec<Value> = serde_json::from_str(&doctor).unwrap();
    let told: Vec<&Value> = findings.iter().filter(|found| found["check"] == "groups").collect();
    assert_eq!(told.len(), 3, "{doctor}");
    for (finding, line) in told.iter().zip(err.lines()) {
        assert_eq!(finding["verdict"], "warning");
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        assert_eq!(line, format!("hermitcrab: {}; {}", text("finding"), text("mend")));
    }

    let gateway = home.start(None).await.unwrap();
    let log = home.read_log();
    assert_eq!(log.matches("the price of claude-opus-4-9 is not known here").count(), 1, "{log}");
    assert!(log.contains("hermitcrab group set family --budget -"), "{log}");
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn a_store_that_is_none_is_refused_with_a_sentence_and_left_alone() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("store")).unwrap();
    let database = home.path().join("store/messages.db");
    std::fs::write(&database, "this is no database, but somebody's diary").unwrap();
    for args in [&["status"][..], &["runs"], &["run"], &["chat", "-m", "hello"]] {
        let (code, _, err) = run(&home, args).await;
        assert_eq!(code, 1, "{args:?}: {err}");
        assert!(err.contains("is damaged"), "{args:?}: {err}");
    }
    assert_eq!(std::fs::read(&database).unwrap(), b"this is no database, but somebody's diary");
}

#[tokio::test]
async fn a_store_that_is_no_folder_is_named_by_whoever_meets_it() {
    let home = Home::new();
    std::fs::write(home.path().join("store"), "mine").unwrap();
    for args in [&["status"][..], &["runs"], &["run"], &["group", "list"], &["chat", "-m", "hello"]]
    {
        let (code, _, err) = run(&home, args).await;
        assert_eq!(code, 1, "{args:?}: {err}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @"hermitcrab: HOME/store is not a folder, as the store must be; move it away, or choose another --home");
        }
    }
    let (code, out, _) = run(&home, &["doctor"]).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("✗ store       HOME/store is not a folder"), "{out}");
    assert!(!out.contains("a gateway runs here"), "{out}");
    assert_eq!(std::fs::read(home.path().join("store")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let home = Home::new();
    let mut command = home.command(&["--help"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_is_answered_without_a_gateway_or_an_account() {
    let home = Home::new();
    let (code, out, err) = run(&home, &["chat", "-m", "run: echo out-of-the-shell"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("out-of-the-shell"), "{out}");
    let runs = json_of(&home, &["runs", "--json"]).await;
    assert_eq!((&runs[0]["state"], &runs[0]["attempt"]), (&json!("done"), &json!(1)));
    assert_eq!(json_of(&home, &["outbox", "--json"]).await, json!([]), "something was left unsent");
    let sent = json_of(&home, &["outbox", "--all", "--json"]).await;
    assert_eq!(sent[0]["state"], "sent");
    let status = json_of(&home, &["status", "--json"]).await;
    assert_eq!(status["store"]["messages"], 1);
    assert_eq!(status["live"], Value::Null, "the gateway of the chat is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_through_a_pipe_is_one_message_and_odd_bytes_are_replaced() {
    let home = Home::new();
    let mut command = home.command(&["chat"]);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"run: printf '%s|' caf\xe9\necho two\n").await.unwrap();
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let (code, out, err) = told(&home, &output);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("caf\u{fffd}|two"), "{out}");
    insta::assert_snapshot!(err, @"hermitcrab: the input is not all UTF-8; what is not was replaced by \u{fffd}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_not_answered_says_why() {
    let home = Home::new();
    json_of(&home, &["group", "add", "family", "--json"]).await;
    let (code, out, err) = run(&home, &["chat", "--group", "family", "-m", "hello"]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    insta::assert_snapshot!(err, @"hermitcrab: the message is kept, but it does not address the assistant; say @Andy in it");
    let (code, _, err) = run(&home, &["chat", "--group", "nobody", "-m", "hello"]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @r#"hermitcrab: there is no group "nobody"; `hermitcrab group list` shows those there are"#);

    let home =
        home.with("SANDBOX", "docker").with("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let (code, out, err) = run(&home, &["chat", "-m", "hello"]).await;
    assert_eq!((code, out.as_str()), (69, ""), "{err}");
    assert!(err.contains("there is no sandbox for the agent"), "{err}");
    assert!(err.contains("the message is kept"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_is_told_who_has_the_store_and_the_first_stops_cleanly() {
    let home = Home::new();
    std::fs::write(home.path().join(".env"), "ANTHROPIC_MODLE=hunter2\nMY_OWN=hunter2\n").unwrap();
    let gateway = home.start(None).await.unwrap();
    let warning = "ANTHROPIC_MODLE (.env, line 1) means nothing; was ANTHROPIC_MODEL meant?";
    let log = home.read_log();
    assert_eq!(
        (log.matches(warning).count(), log.matches("means nothing").count()),
        (1, 1),
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");
    let pid = gateway.pid();
    let (code, _, err) = run(&home, &["run"]).await;
    assert_eq!(code, 75, "{err}");
    assert!(err.contains(&format!("process id {pid}")), "{err}");
    let status = json_of(&home, &["status", "--json"]).await;
    assert_eq!(status["live"]["channels"][0]["name"], "terminal");
    let (code, out, _) = run(&home, &["chat", "-m", "run: echo through-the-socket"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("through-the-socket"), "{out}");

    let stopped = timeout(Duration::from_secs(30), gateway.terminate()).await.unwrap();
    assert!(stopped.success(), "{}", home.read_log());
    assert!(!home.socket().exists());
    let status = json_of(&home, &["status", "--json"]).await;
    assert_eq!(status["live"], Value::Null);
}
