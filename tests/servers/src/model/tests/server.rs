//! The server itself: what it records, how it stops, and scripts written as JSON.

use serde_json::json;

use super::*;
use crate::model::{Fault, FaultKind, Script};

#[tokio::test]
async fn requests_are_recorded_as_they_came() {
    let server = start(Script::echo()).await;
    assert!(server.url().starts_with("http://127.0.0.1:"));
    let headers = [("anthropic-version", "2023-06-01"), ("x-api-key", "sk-test")];
    let body = says("hi", true);
    let (seen, reply) =
        tokio::join!(server.wait_for(1), post(&server, "/v1/messages?beta=true", &headers, &body),);
    assert_eq!(reply.status, 200);
    let [seen] = seen.as_slice() else { panic!("one request") };
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/messages"));
    assert_eq!((seen.header("x-api-key"), &seen.body), (Some("sk-test"), &body));
    ask(&server, &json!("refused")).await;
    assert_eq!((server.count(), server.requests().len()), (2, 2));
    server.stop().await;
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = start(Script::echo()).await;
    let mut client = Client::connect(&server).await;
    let version = [("anthropic-version", "2023-06-01")];
    for n in 0..3 {
        let text = format!("[[id:{n}]]");
        let response = client.send("/v1/messages", &version, says(&text, true)).await;
        let reply = read(response).await;
        assert_eq!(written(&sse_json(&reply), 0, "text"), format!("echo: {text}"));
    }
    server.stop().await;
}

#[tokio::test]
async fn stopping_ends_a_request_that_hangs() {
    let server = start(Script::echo().fault(Fault::hang_after("gate", 1))).await;
    let mut client = Client::connect(&server).await;
    let version = [("anthropic-version", "2023-06-01")];
    let response = client.send("/v1/messages", &version, says("hi", true)).await;
    let (address, gate) = (server.address, server.gate("gate"));
    gate.arrived(1).await;
    let (reply, ()) = tokio::join!(read(response), server.stop());
    assert!(!reply.complete);
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn a_script_is_read_from_json() {
    let script: Script = serde_json::from_value(json!({
        "keys": { "api": "sk-1" },
        "faults": [
            { "kind": { "refuse": { "failure": "rate_limited", "retry_after_s": 2 } }, "first": 1 },
            { "kind": { "hang": { "gate": "g" } } },
        ],
        "rules": [
            { "when": "any", "answer": { "turns": [
                { "blocks": [{ "text": "t" }, { "tool_use": { "name": "n", "input": {} } }],
                  "stop": "max_tokens", "usage": { "input": 5 },
                  "fault": { "kind": { "cut": { "after": 3 } } } },
            ] } },
        ],
        "otherwise": "tool",
    }))
    .unwrap();
    assert_eq!(script.faults[0], Fault::rate_limited(2).first(1));
    assert_eq!(script.faults[1].kind, FaultKind::Hang { gate: "g".into(), after: None });
    assert_eq!(script.rules.len(), 1);
    for wrong in [
        json!({ "rule": [] }),
        json!({ "faults": [{ "kind": { "cut": { "afer": 3 } } }] }),
        json!({ "rules": [{ "when": "never", "answer": "echo" }] }),
        json!({ "otherwise": { "turns": [{ "block": [] }] } }),
    ] {
        assert!(serde_json::from_value::<Script>(wrong.clone()).is_err(), "{wrong}");
    }
}
