//! The Anthropic wire: the order of events, what adds up to what, checks and errors.

use serde_json::json;

use super::*;
use crate::model::{Keys, StopReason, Turn, Usage};

fn two_blocks() -> Script {
    let input = json!({ "command": "echo \"grüß\" | wc -c", "timeout": 10 });
    Script::echo().on(
        "go",
        [
            Turn::text("Ich schaue nach: {last_user}, {model}, {tools}, {messages}.")
                .and_tool("bash", input)
                .usage(Usage { input: 7, output: 5, cache_write: 3, cache_read: 2 }),
            Turn::text("It said {tool_result}.").stop(StopReason::MaxTokens),
        ],
    )
}

fn go(stream: bool) -> Value {
    let mut body = says("go", stream);
    body["tools"] = json!([{ "name": "bash", "input_schema": { "type": "object" } }]);
    body
}

#[tokio::test]
async fn a_stream_has_its_events_in_order() {
    let server = start(two_blocks()).await;
    let reply = ask(&server, &go(true)).await;
    assert_eq!((reply.status, reply.complete), (200, true));
    assert_eq!(reply.header("content-type"), "text/event-stream; charset=utf-8");
    let events = sse_json(&reply);
    let order = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds(&events), order);
    let start = &events[0]["message"];
    assert_eq!((&start["role"], &start["model"]), (&json!("assistant"), &json!("m-1")));
    assert_eq!((&start["content"], &start["stop_reason"]), (&json!([]), &Value::Null));
    assert_eq!(start["usage"]["input_tokens"], 7);
    assert_eq!(written(&events, 0, "text"), "Ich schaue nach: go, m-1, bash, 1.");
    let input: Value = serde_json::from_str(&written(&events, 1, "partial_json")).unwrap();
    assert_eq!(input, json!({ "command": "echo \"grüß\" | wc -c", "timeout": 10 }));
    let delta = &events[events.len() - 2];
    assert_eq!(delta["delta"]["stop_reason"], "tool_use");
    let usage = json!({
        "input_tokens": 7, "output_tokens": 5,
        "cache_creation_input_tokens": 3, "cache_read_input_tokens": 2,
    });
    assert_eq!(delta["usage"], usage);
    server.stop().await;
}

#[tokio::test]
async fn a_whole_message_says_the_same_as_the_stream() {
    let server = start(two_blocks()).await;
    let reply = ask(&server, &go(false)).await;
    assert_eq!(reply.header("content-type"), "application/json");
    let message = reply.json();
    assert_eq!(message["content"][0]["text"], "Ich schaue nach: go, m-1, bash, 1.");
    assert_eq!(message["content"][1]["input"]["timeout"], 10);
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(message["usage"]["output_tokens"], 5);
    server.stop().await;
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_quoted() {
    let server = start(Script::tool()).await;
    let mut body = says("[[bash:id -u]]", true);
    let events = sse_json(&ask(&server, &body).await);
    let call = events[1]["content_block"].clone();
    assert_eq!((&call["name"], &call["input"]), (&json!("bash"), &json!({})));
    assert_eq!(written(&events, 0, "partial_json"), r#"{"command":"id -u"}"#);

    let messages = body["messages"].as_array_mut().unwrap();
    let call = json!({ "type": "tool_use", "id": call["id"], "name": "bash",
                       "input": { "command": "id -u" } });
    let result = json!({ "type": "tool_result", "tool_use_id": call["id"],
                         "content": [{ "type": "text", "text": "65534\n" }] });
    messages.push(json!({ "role": "assistant", "content": [call] }));
    messages.push(json!({ "role": "user", "content": [result] }));
    let events = sse_json(&ask(&server, &body).await);
    assert_eq!(written(&events, 0, "text"), "tool: 65534\n");
    server.stop().await;
}

#[tokio::test]
async fn ids_come_back_from_the_last_message_that_has_text() {
    let server = start(Script::echo()).await;
    let mut body = says("[[id:old]]", false);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": "echo: [[id:old]]" }));
    let texts = ["a [[id:1]]", "b [[id:2]] [[id:1]]"];
    let blocks = texts.map(|text| json!({ "type": "text", "text": text }));
    messages.push(json!({ "role": "user", "content": blocks }));
    let call = json!({ "type": "tool_use", "id": "t", "name": "n", "input": {} });
    messages.push(json!({ "role": "assistant", "content": [call] }));
    let result = json!({ "type": "tool_result", "tool_use_id": "t", "content": "[[id:no]]" });
    messages.push(json!({ "role": "user", "content": [result] }));
    let message = ask(&server, &body).await.json();
    assert_eq!(message["content"][0]["text"], "echo: [[id:1]] [[id:2]] [[id:1]]");
    server.stop().await;
}

#[tokio::test]
async fn a_key_and_a_version_are_asked_for() {
    let keys = Keys { api: Some("sk-1".into()), ..Keys::default() };
    let server = start(Script::echo().keys(keys)).await;
    let version = ("anthropic-version", "2023-06-01");
    for (headers, status, kind, message) in [
        (vec![version], 401, "authentication_error", "x-api-key header is required"),
        (vec![version, ("x-api-key", "no")], 401, "authentication_error", "invalid x-api-key"),
        (
            vec![version, ("authorization", "Bearer no")],
            401,
            "authentication_error",
            "Invalid bearer token",
        ),
        (
            vec![("x-api-key", "sk-1")],
            400,
            "invalid_request_error",
            "anthropic-version: header is required",
        ),
    ] {
        let reply = post(&server, "/v1/messages", &headers, says("hi", true)).await;
        assert_eq!(reply.status, status, "{headers:?}");
        let error = json!({ "type": kind, "message": message });
        assert_eq!((&reply.json()["type"], &reply.json()["error"]), (&json!("error"), &error));
    }
    let bearer = [version, ("authorization", "Bearer sk-1")];
    assert_eq!(post(&server, "/v1/messages", &bearer, says("hi", true)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_in_words() {
    let server = start(Script::echo()).await;
    let version = [("anthropic-version", "2023-06-01")];
    let mut unanswered = says("hi", true);
    let call = json!({ "type": "tool_use", "id": "t_1", "name": "n", "input": {} });
    let messages = unanswered["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": [call] }));
    messages.push(json!({ "role": "user", "content": "and?" }));
    for (path, body, status, part) in [
        ("/v1/messages", "{".to_owned(), 400, "not valid JSON"),
        ("/v1/messages", unanswered.to_string(), 400, "immediately after: t_1"),
        ("/v1/messages/nothing", "{}".to_owned(), 404, "/v1/messages/nothing"),
        ("/", String::new(), 404, "Not found"),
    ] {
        let reply = post(&server, path, &version, &body).await;
        assert_eq!(reply.status, status, "{path} {body}");
        assert!(reply.text().contains(part), "{path} {body}: {}", reply.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_counted_without_an_answer() {
    let server = start(Script::turns([Turn::text("first")])).await;
    let mut body = says("how many?", false);
    let fields = body.as_object_mut().unwrap();
    fields.retain(|name, _| name == "model" || name == "messages");
    let version = [("anthropic-version", "2023-06-01")];
    let reply = post(&server, "/v1/messages/count_tokens", &version, &body).await;
    let tokens = u64::try_from(body.to_string().len() / 4).unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!({ "input_tokens": tokens })));
    let message = ask(&server, &says("hi", false)).await.json();
    assert_eq!(message["content"][0]["text"], "first");
    server.stop().await;
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused_and_not_kept() {
    let server = start(Script::echo()).await;
    let reply = ask(&server, &says(&"x".repeat(33 << 20), false)).await;
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (413, &json!("request_too_large")));
    assert_eq!(server.count(), 0);
    server.stop().await;
}
