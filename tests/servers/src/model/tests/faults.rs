//! Faults on the Anthropic wire.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde_json::json;

use super::*;
use crate::model::{Failure, Fault, Turn};

#[tokio::test]
async fn refusals_strike_the_first_requests_and_then_no_more() {
    let faults = [
        Fault::rate_limited(7).first(2),
        Fault::overloaded().first(1),
        Fault::internal().first(1),
        Fault::unauthorized().first(1),
        Fault::prompt_too_long().first(1),
    ];
    let server = start(faults.into_iter().fold(Script::echo(), Script::fault)).await;
    for (status, kind, retry) in [
        (429, "rate_limit_error", "7"),
        (429, "rate_limit_error", "7"),
        (529, "overloaded_error", ""),
        (500, "api_error", ""),
        (401, "authentication_error", ""),
        (400, "invalid_request_error", ""),
        (200, "", ""),
    ] {
        let reply = ask(&server, &says("[[id:1]]", false)).await;
        let got = reply.json()["error"]["type"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (reply.status, got.as_str(), reply.header("retry-after")),
            (status, kind, retry)
        );
        assert_eq!(status == 400, reply.text().contains("prompt is too long"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_is_cut_after_so_many_whole_events() {
    let script = Script::echo()
        .fault(Fault::cut(0).first(1))
        .fault(Fault::cut(4).first(1))
        .fault(Fault::cut(4).first(1));
    let server = start(script).await;
    for (stream, events) in [(true, 0), (true, 4)] {
        let reply = ask(&server, &says("[[id:1]]", stream)).await;
        assert_eq!((reply.status, reply.complete), (200, false));
        assert_eq!(sse_json(&reply).len(), events);
    }
    let reply = ask(&server, &says("[[id:1]]", false)).await;
    assert!(!reply.complete && !reply.body.is_empty());
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    let reply = ask(&server, &says("[[id:1]]", true)).await;
    assert_eq!(written(&sse_json(&reply), 0, "text"), "echo: [[id:1]]");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_breaks_off_with_an_error_event() {
    let server = start(Script::echo().fault(Fault::breaks(Failure::Overloaded, 3).first(2))).await;
    let reply = ask(&server, &says("hi", true)).await;
    assert_eq!((reply.status, reply.complete), (200, true));
    let events = sse_json(&reply);
    assert_eq!(kinds(&events), ["message_start", "content_block_start", "ping", "error"]);
    assert_eq!(events[3]["error"], json!({ "type": "overloaded_error", "message": "Overloaded" }));
    assert_eq!(ask(&server, &says("hi", false)).await.status, 529);
    assert_eq!(ask(&server, &says("hi", true)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn an_event_is_damaged_inside_or_outside() {
    let script = Script::echo().fault(Fault::malformed(3).first(1)).fault(Fault::garbled(3));
    let server = start(script).await;
    let reply = ask(&server, &says("hi", true)).await;
    let events = sse(reply.text());
    assert!(serde_json::from_str::<Value>(&events[3].1).is_err());
    assert!(serde_json::from_str::<Value>(&events[4].1).is_ok());
    let reply = ask(&server, &says("hi", true)).await;
    assert!(reply.complete && std::str::from_utf8(&reply.body).is_err());
    server.stop().await;
}

#[tokio::test]
async fn slow_answers_take_their_time_and_say_the_same() {
    let faults = [Fault::slow(5, 0).first(1), Fault::slow(0, 1).first(1)];
    let server = start(faults.into_iter().fold(Script::echo(), Script::fault)).await;
    let started = Instant::now();
    let events = sse_json(&ask(&server, &says("[[id:1]]", true)).await);
    assert!(started.elapsed() >= Duration::from_millis(5) * u32::try_from(events.len()).unwrap());
    assert_eq!(written(&events, 0, "text"), "echo: [[id:1]]");
    let started = Instant::now();
    let reply = ask(&server, &says("[[id:1]]", false)).await;
    let bytes = u32::try_from(reply.body.len()).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(1) * bytes);
    assert_eq!(reply.json()["content"][0]["text"], "echo: [[id:1]]");
    server.stop().await;
}

#[tokio::test]
async fn a_hanging_request_waits_for_its_gate_and_no_other() {
    let script = Script::echo()
        .on("wait", [Turn::text("at last").fault(Fault::hang("one"))])
        .on("other", [Turn::text("later").fault(Fault::hang("two"))]);
    let server = start(script).await;
    let (one, two) = (server.gate("one"), server.gate("two"));
    let mut client = Client::connect(&server).await;
    let version = [("anthropic-version", "2023-06-01")];
    let mut waiting = Box::pin(client.send("/v1/messages", &version, says("wait", false)));
    tokio::select! {
        _ = &mut waiting => panic!("answered before the gate was open"),
        () = one.arrived(1) => {}
    }
    two.open();
    assert_eq!(ask(&server, &says("other", false)).await.json()["content"][0]["text"], "later");
    assert!(waiting.as_mut().now_or_never().is_none());
    one.open();
    assert_eq!(read(waiting.await).await.json()["content"][0]["text"], "at last");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_hangs_between_events() {
    let server = start(Script::echo().fault(Fault::hang_after("gate", 3))).await;
    let gate = server.gate("gate");
    let mut client = Client::connect(&server).await;
    let version = [("anthropic-version", "2023-06-01")];
    let response = client.send("/v1/messages", &version, says("[[id:1]]", true)).await;
    let mut body = response.into_body();
    let mut text = Vec::new();
    while text.windows(2).filter(|pair| *pair == b"\n\n").count() < 3 {
        text.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    gate.arrived(1).await;
    assert!(body.frame().now_or_never().is_none());
    gate.open();
    text.extend(body.collect().await.unwrap().to_bytes());
    let reply = Reply { status: 200, headers: HeaderMap::new(), body: text, complete: true };
    assert_eq!(written(&sse_json(&reply), 0, "text"), "echo: [[id:1]]");
    server.stop().await;
}
