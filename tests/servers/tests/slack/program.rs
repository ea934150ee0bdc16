//! The server as a program: its one line, what can be asked of it, and its end by Ctrl-C.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::client::{get, post, send};

#[tokio::test]
async fn it_says_where_it_is_and_does_what_it_is_asked() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slack"))
        .args(["--workspace", "2", "--retry-delays-ms", "10,20"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let place: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let (url, api) = (place["url"].as_str().unwrap(), place["api_url"].as_str().unwrap());
    let token = place["bot_token"].as_str().unwrap();
    assert_eq!((&place["team_id"], api), (&json!("T0FAKE002"), format!("{url}/api").as_str()));

    let ask = async |op: &str, args: Value| {
        let reply =
            send(post(&format!("{url}/_fake/{op}"), "", "", args.to_string())).await.unwrap();
        if reply.status == 200 { reply.json() } else { json!(String::from_utf8_lossy(&reply.body)) }
    };
    let file = json!({ "name": "a.txt", "content": "x" });
    let ts = ask("user_message", json!({ "text": "hello", "file": file })).await["ts"].clone();
    assert_eq!(ask("react", json!({ "ts": ts, "name": "eyes" })).await["ok"], true);
    assert_eq!(ask("edit", json!({ "ts": ts, "text": "other" })).await["ok"], true);
    let fault = json!({ "method": "auth.test", "first": 1, "kind": { "error": { "code": "fatal_error" } } });
    assert_eq!(ask("fault", fault).await, json!({}));
    for error in [json!("fatal_error"), json!(null)] {
        let answer = send(get(&format!("{api}/auth.test"), token)).await.unwrap().json();
        assert_eq!(answer["error"], error);
    }
    let messages = ask("messages", json!({})).await;
    assert_eq!(
        (&messages[0]["text"], &messages[0]["files"][0]["name"]),
        (&json!("other"), &json!("a.txt"))
    );
    assert_eq!(ask("calls", json!({ "method": "auth.test" })).await.as_array().unwrap().len(), 2);
    assert_eq!(ask("state", json!({})).await["deliveries"], 3);
    for op in ["abort", "stall", "release", "clear_faults", "restore"] {
        assert_eq!(ask(op, json!({})).await, json!({}), "{op}");
    }
    assert!(ask("sing", json!({})).await.as_str().unwrap().contains("unknown variant"));
    assert!(ask("edit", json!({ "tss": 1 })).await.as_str().unwrap().contains("unknown field"));

    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    assert!(child.wait().await.unwrap().success());
    assert_eq!(lines.next_line().await.unwrap(), None);
}
