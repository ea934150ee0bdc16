//! Bodies that pass and bodies that do not.

use serde_json::json;

use super::*;

fn reason(body: &Value, form: Form) -> String {
    match check(body, form) {
        Ok(()) => String::new(),
        Err(Failure::Invalid(reason)) => reason,
        Err(other) => panic!("{other:?}"),
    }
}

fn with_messages(messages: Value) -> Value {
    json!({ "model": "m", "max_tokens": 1, "messages": messages })
}

#[test]
fn each_form_has_its_own_fields() {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let full = |mut body: Value| {
        body["messages"] = messages.clone();
        body
    };
    let version = "bedrock-2023-05-31";
    for (form, body, expected) in [
        (Form::Messages, json!({ "model": "m", "max_tokens": 1, "stream": true }), ""),
        (Form::Messages, json!({ "max_tokens": 1 }), "model: Field required"),
        (Form::Messages, json!({ "model": "m" }), "max_tokens: Field required"),
        (Form::Messages, json!({ "model": "m", "max_tokens": 0 }), "max_tokens: Input should be"),
        (Form::Messages, json!({ "model": "m", "max_tokens": 1, "stream": 1 }), "stream: Input"),
        (Form::Messages, json!({ "model": "m", "max_tokens": 1, "seed": 1 }), "seed: Extra inputs"),
        (Form::CountTokens, json!({ "model": "m", "tools": [] }), ""),
        (Form::CountTokens, json!({ "model": "m", "max_tokens": 1 }), "max_tokens: Extra inputs"),
        (Form::Bedrock, json!({ "anthropic_version": version, "max_tokens": 1 }), ""),
        (Form::Bedrock, json!({ "max_tokens": 1 }), "anthropic_version: Field required"),
        (
            Form::Bedrock,
            json!({ "anthropic_version": "2023-06-01", "max_tokens": 1 }),
            "anthropic_version: Input should be",
        ),
        (
            Form::Bedrock,
            json!({ "anthropic_version": version, "max_tokens": 1, "model": "m" }),
            "model: Extra inputs",
        ),
        (
            Form::Bedrock,
            json!({ "anthropic_version": version, "max_tokens": 1, "stream": true }),
            "stream: Extra inputs",
        ),
    ] {
        let got = reason(&full(body.clone()), form);
        assert!(
            got.starts_with(expected) && got.is_empty() == expected.is_empty(),
            "{body}: {got}"
        );
    }
    assert!(reason(&json!([]), Form::Messages).contains("JSON object"));
}

#[test]
fn messages_must_be_well_formed() {
    for (messages, expected) in [
        (json!([{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }]), ""),
        (json!([]), "at least one message"),
        (json!([{ "role": "assistant", "content": "hi" }]), "first message must use"),
        (
            json!([{ "role": "user", "content": "a" }, { "role": "system", "content": "b" }]),
            "messages.1.role",
        ),
        (json!([{ "role": "user" }]), "messages.0.content"),
        (json!([{ "role": "user", "content": "" }]), "non-empty content"),
        (json!([{ "role": "user", "content": [] }]), "non-empty content"),
        (json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": [] }]), ""),
        (json!([{ "role": "user", "content": [{ "type": "text", "text": "" }] }]), "non-empty"),
        (json!([{ "role": "user", "content": [{ "type": "video" }] }]), "'video' is not supported"),
        (json!([{ "role": "user", "content": [{ "type": "text" }] }]), "text.text: Field required"),
        (
            json!([{ "role": "user", "content": [
                { "type": "tool_use", "id": "t", "name": "n", "input": {} },
            ] }]),
            "can only be in `assistant`",
        ),
    ] {
        let got = reason(&with_messages(messages.clone()), Form::Messages);
        assert!(
            got.contains(expected) && got.is_empty() == expected.is_empty(),
            "{messages}: {got}"
        );
    }
}

#[test]
fn every_tool_call_is_answered_in_the_next_message() {
    let ask = json!({ "role": "user", "content": "go" });
    let call = |ids: &[&str]| {
        let call = |id| json!({ "type": "tool_use", "id": id, "name": "bash", "input": {} });
        json!({ "role": "assistant", "content": ids.iter().map(call).collect::<Vec<_>>() })
    };
    let result = |ids: &[&str]| {
        let result = |id| json!({ "type": "tool_result", "tool_use_id": id, "content": "ok" });
        json!({ "role": "user", "content": ids.iter().map(result).collect::<Vec<_>>() })
    };
    for (messages, expected) in [
        (json!([ask, call(&["a", "b"]), result(&["b", "a"])]), ""),
        (json!([ask, call(&["a"]), result(&["a"]), call(&["b"]), result(&["b"]), ask]), ""),
        (json!([ask, call(&["a", "b"]), result(&["a"])]), "immediately after: b."),
        (json!([ask, call(&["a"]), ask]), "messages.1: `tool_use` ids were found without"),
        (json!([ask, call(&["a"])]), "messages.1: `tool_use` ids were found without"),
        (json!([ask, call(&["a"]), ask, result(&["a"])]), "immediately after: a."),
        (json!([ask, result(&["a"])]), "messages.1: unexpected `tool_use_id`"),
        (json!([ask, call(&["a"]), result(&["a", "c"])]), "blocks: c."),
    ] {
        let got = reason(&with_messages(messages.clone()), Form::Messages);
        assert!(
            got.contains(expected) && got.is_empty() == expected.is_empty(),
            "{messages}: {got}"
        );
    }
}

#[test]
fn tools_are_named_well_and_once_and_have_a_schema() {
    let schema = json!({ "type": "object" });
    for (tools, expected) in [
        (json!([{ "name": "bash", "input_schema": schema }]), ""),
        (json!([{ "type": "web_search_20250305", "name": "web_search" }]), ""),
        (json!([{ "name": "b sh", "input_schema": schema }]), "tools.0.custom.name"),
        (json!([{ "name": "bash" }]), "tools.0.custom.input_schema"),
        (
            json!([{ "name": "a", "input_schema": schema }, { "name": "a", "input_schema": schema }]),
            "must be unique",
        ),
    ] {
        let mut body = with_messages(json!([{ "role": "user", "content": "hi" }]));
        body["tools"] = tools.clone();
        let got = reason(&body, Form::Messages);
        assert!(got.contains(expected) && got.is_empty() == expected.is_empty(), "{tools}: {got}");
    }
}

#[test]
fn at_most_four_blocks_are_marked_for_the_cache() {
    let mark = json!({ "type": "ephemeral" });
    let text = json!({ "type": "text", "text": "hi", "cache_control": mark });
    let mut body = with_messages(json!([
        { "role": "user", "content": [text, { "type": "text", "text": "unmarked" }] },
        { "role": "assistant", "content": [
            { "type": "tool_use", "id": "t", "name": "n", "input": { "cache_control": "data" } },
        ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "t", "content": [text] },
        ] },
    ]));
    body["system"] = json!([text]);
    body["tools"] =
        json!([{ "name": "n", "input_schema": { "type": "object" }, "cache_control": mark }]);
    assert_eq!(reason(&body, Form::Messages), "");
    body["system"] = json!([text, text]);
    assert_eq!(
        reason(&body, Form::Messages),
        "A maximum of 4 blocks with cache_control may be provided. Found 5."
    );
}
