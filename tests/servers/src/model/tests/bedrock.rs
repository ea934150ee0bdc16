//! The Bedrock wire: frames that the SDK's own decoder reads, signatures, exceptions.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::event_stream::Message as Frame;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::model::{Failure, Fault, Keys, Turn};

/// The frames of a stream as the AWS SDK reads them, and whether it found a damaged one.
fn frames(body: &[u8]) -> (Vec<Frame>, bool) {
    let mut decoder = MessageFrameDecoder::new();
    let mut rest = Bytes::copy_from_slice(body);
    let mut frames = Vec::new();
    loop {
        match decoder.decode_frame(&mut rest) {
            Ok(DecodedFrame::Complete(frame)) => frames.push(frame),
            Ok(DecodedFrame::Incomplete) => return (frames, false),
            Err(_) => return (frames, true),
        }
    }
}

fn header<'a>(frame: &'a Frame, name: &str) -> &'a str {
    let header = frame.headers().iter().find(|header| header.name().as_str() == name);
    header.map(|header| header.value().as_string().unwrap().as_str()).unwrap_or_default()
}

/// The event of the model that a `chunk` carries.
fn carried(frame: &Frame) -> String {
    assert_eq!(header(frame, ":message-type"), "event");
    assert_eq!(header(frame, ":event-type"), "chunk");
    assert_eq!(header(frame, ":content-type"), "application/json");
    let payload: Value = serde_json::from_slice(frame.payload()).unwrap();
    String::from_utf8(STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap()).unwrap()
}

fn events(frames: &[Frame]) -> Vec<Value> {
    frames.iter().map(|frame| serde_json::from_str(&carried(frame)).unwrap()).collect()
}

#[tokio::test]
async fn a_stream_is_framed_as_the_sdk_reads_it() {
    let call = Turn::text("One moment.").and_tool("bash", json!({ "command": "date" }));
    let server = start(Script::turns([call])).await;
    let reply =
        invoke(&server, "invoke-with-response-stream", &says_to_bedrock("what time is it?")).await;
    assert_eq!((reply.status, reply.complete), (200, true));
    assert_eq!(reply.header("content-type"), "application/vnd.amazon.eventstream");
    let (frames, damaged) = frames(&reply.body);
    assert!(!damaged);
    let events = events(&frames);
    let order = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds(&events), order);
    assert_eq!(events[0]["message"]["model"], "anthropic.claude:0");
    assert_eq!(written(&events, 0, "text"), "One moment.");
    assert_eq!(written(&events, 1, "partial_json"), r#"{"command":"date"}"#);
    let metrics = &events.last().unwrap()["amazon-bedrock-invocationMetrics"];
    let usage = &events[events.len() - 2]["usage"];
    assert_eq!(metrics["outputTokenCount"], usage["output_tokens"]);
    assert_eq!(
        server.requests()[0].path,
        "/model/anthropic.claude%3A0/invoke-with-response-stream"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_whole_message_says_the_same() {
    let server = start(Script::echo()).await;
    let reply = invoke(&server, "invoke", &says_to_bedrock("[[id:7]]")).await;
    let message = reply.json();
    assert_eq!(message["content"][0]["text"], "echo: [[id:7]]");
    let tokens = message["usage"]["input_tokens"].to_string();
    assert_eq!(reply.header("x-amzn-bedrock-input-token-count"), tokens);
    server.stop().await;
}

#[tokio::test]
async fn the_body_is_that_of_bedrock() {
    let server = start(Script::echo()).await;
    let anthropic = says("hi", true);
    let mut unversioned = says_to_bedrock("hi");
    unversioned["anthropic_version"] = json!("2023-06-01");
    for (operation, body, status, kind) in [
        ("invoke", &anthropic, 400, "ValidationException:"),
        ("invoke", &unversioned, 400, "ValidationException:"),
        ("converse", &says_to_bedrock("hi"), 404, "UnknownOperationException:"),
    ] {
        let reply = invoke(&server, operation, body).await;
        assert_eq!(reply.status, status, "{operation} {body}");
        assert!(reply.header("x-amzn-errortype").starts_with(kind), "{:?}", reply.headers);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_signature_or_the_bearer_token_is_asked_for() {
    let keys = Keys {
        aws_access_key: Some("AKIA".into()),
        aws_region: Some("us-east-1".into()),
        aws_bearer: Some("token".into()),
        ..Keys::default()
    };
    let server = start(Script::echo().keys(keys)).await;
    let body = says_to_bedrock("hi");
    let reply = invoke(&server, "invoke", &body).await;
    let kind = reply.header("x-amzn-errortype").split(':').next().unwrap();
    assert_eq!((reply.status, kind), (403, "InvalidSignatureException"), "signed for eu-west-1");
    for (authorization, status, expected) in [
        ("Bearer token", 200, ""),
        ("Bearer other", 403, "AccessDeniedException"),
        ("AWS4-HMAC-SHA256 Credential=AKIA", 403, "IncompleteSignatureException"),
    ] {
        let headers = [("authorization", authorization)];
        let reply = post(&server, "/model/m/invoke", &headers, &body).await;
        let kind = reply.header("x-amzn-errortype").split(':').next().unwrap();
        assert_eq!((reply.status, kind), (status, expected), "{authorization}");
    }
    let reply = post(&server, "/model/m/invoke", &[], &body).await;
    assert_eq!(reply.json(), json!({ "message": "Missing Authentication Token" }));
    server.stop().await;
}

#[tokio::test]
async fn refusals_are_exceptions_over_http() {
    let faults = [
        Fault::rate_limited(3),
        Fault::overloaded(),
        Fault::internal(),
        Fault::unauthorized(),
        Fault::prompt_too_long(),
        Fault::refuse(Failure::ModelStream),
    ];
    let script = faults.into_iter().fold(Script::echo(), |s, fault| s.fault(fault.first(1)));
    let server = start(script).await;
    for (status, kind, retry) in [
        (429, "ThrottlingException", "3"),
        (503, "ServiceUnavailableException", ""),
        (500, "InternalServerException", ""),
        (403, "UnrecognizedClientException", ""),
        (400, "ValidationException", ""),
        (424, "ModelStreamErrorException", ""),
        (200, "", ""),
    ] {
        let reply =
            invoke(&server, "invoke-with-response-stream", &says_to_bedrock("[[id:1]]")).await;
        let got = reply.header("x-amzn-errortype").split(':').next().unwrap();
        assert_eq!((reply.status, got, reply.header("retry-after")), (status, kind, retry));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_breaks_off_with_an_exception_frame() {
    let script = Script::echo()
        .fault(Fault::breaks(Failure::RateLimited, 2).first(1))
        .fault(Fault::breaks(Failure::ModelStream, 0).first(1));
    let server = start(script).await;
    for (before, name) in [(2, "throttlingException"), (0, "modelStreamErrorException")] {
        let reply = invoke(&server, "invoke-with-response-stream", &says_to_bedrock("hi")).await;
        assert_eq!((reply.status, reply.complete), (200, true));
        let (frames, damaged) = frames(&reply.body);
        assert!(!damaged);
        let (last, rest) = frames.split_last().unwrap();
        assert_eq!(events(rest).len(), before);
        assert_eq!(header(last, ":message-type"), "exception");
        assert_eq!(header(last, ":exception-type"), name);
        let payload: Value = serde_json::from_slice(last.payload()).unwrap();
        assert!(payload["message"].is_string());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_frame_is_damaged_inside_or_outside() {
    let script = Script::echo().fault(Fault::malformed(2).first(1)).fault(Fault::garbled(2));
    let server = start(script).await;
    let body = says_to_bedrock("[[id:1]]");
    let reply = invoke(&server, "invoke-with-response-stream", &body).await;
    let (whole, damaged) = frames(&reply.body);
    assert!(!damaged);
    assert!(serde_json::from_str::<Value>(&carried(&whole[2])).is_err());
    assert!(serde_json::from_str::<Value>(&carried(&whole[3])).is_ok());
    let reply = invoke(&server, "invoke-with-response-stream", &body).await;
    let (read, damaged) = frames(&reply.body);
    assert_eq!((events(&read).len(), damaged), (2, true));
    server.stop().await;
}
