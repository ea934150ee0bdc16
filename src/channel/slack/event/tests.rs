//! Frames as Slack writes them, and odd ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::message::FileSource;
use super::*;
use crate::model::OutboxId;

/// A message as it comes in a channel.
fn message(fields: &Value) -> Value {
    let mut message = json!({
        "type": "message", "channel": "C1", "channel_type": "channel", "user": "U1",
        "ts": "1700000000.000100", "text": "hello", "team": "T1",
    });
    let more = fields.as_object().unwrap().clone();
    message.as_object_mut().unwrap().extend(more);
    message
}

fn frame(event: &Value) -> Value {
    json!({
        "type": "events_api", "envelope_id": "e-1", "retry_attempt": 0, "retry_reason": "",
        "payload": { "type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": event },
    })
}

fn event(event: &Value) -> Event {
    let Frame::Envelope(Envelope { payload: Payload::Event(event), .. }) =
        Frame::parse(&frame(event))
    else {
        panic!("{event} is an event");
    };
    event
}

fn said(fields: &Value) -> Message {
    let Event::Said(message) = event(&message(fields)) else { panic!("{fields} is a message") };
    *message
}

#[test]
fn frames_are_told_apart() {
    let unknown = |kind: &str| Frame::Unknown { kind: kind.to_owned() };
    for (json, frame) in [
        (json!({ "type": "hello", "num_connections": 2 }), Frame::Hello),
        (json!({ "type": "hello" }), Frame::Hello),
        (json!({ "type": "disconnect", "reason": "warning" }), Frame::Goodbye(Goodbye::Warning)),
        (
            json!({ "type": "disconnect", "reason": "refresh_requested", "debug_info": 7 }),
            Frame::Goodbye(Goodbye::Refresh),
        ),
        (
            json!({ "type": "disconnect", "reason": "too_many_websockets" }),
            Frame::Goodbye(Goodbye::TooManySockets),
        ),
        (
            json!({ "type": "disconnect", "reason": "link_disabled" }),
            Frame::Goodbye(Goodbye::LinkDisabled),
        ),
        (json!({ "type": "disconnect" }), Frame::Goodbye(Goodbye::Other(String::new()))),
        (json!({ "type": "novelty" }), unknown("novelty")),
        (json!([1, 2]), unknown("")),
        (json!(null), unknown("")),
        (
            json!({ "type": "novelty", "envelope_id": "e", "payload": { "type": "inner" } }),
            Frame::Envelope(Envelope {
                id: "e".to_owned(),
                payload: Payload::Unknown { kind: "novelty.inner".to_owned() },
            }),
        ),
        (
            json!({ "type": "slash_commands", "envelope_id": "e", "payload": { "command": "/ask" } }),
            Frame::Envelope(Envelope {
                id: "e".to_owned(),
                payload: Payload::Unknown { kind: "slash_commands".to_owned() },
            }),
        ),
        (
            json!({ "type": "interactive", "envelope_id": "e", "payload": { "type": "view_closed" },
                "retry_attempt": 2, "retry_reason": "timeout" }),
            Frame::Envelope(Envelope {
                id: "e".to_owned(),
                payload: Payload::Unknown { kind: "interactive.view_closed".to_owned() },
            }),
        ),
    ] {
        assert_eq!(Frame::parse(&json), frame, "{json}");
    }
}

#[test]
fn nothing_odd_takes_the_text_away() {
    for fields in [
        json!({ "metadata": { "event_type": "x", "event_payload": { "a": { "b": 1 }, "c": 2 } } }),
        json!({ "attachments": [{ "fields": [{ "short": "true", "value": 7 }] }] }),
        json!({ "files": [{ "url_private": "", "size": "big" }, null, 7] }),
        json!({ "files": "none", "blocks": 7, "attachments": {}, "edited": true }),
        json!({ "subtype": "never_heard_of", "novelty": { "deep": [[[]]] } }),
        json!({ "user": { "id": "U1" }, "bot_id": "", "thread_ts": 7, "reply_count": -1 }),
        json!({ "blocks": [{ "type": "novelty" }], "channel_type": "novelty", "team": "?" }),
    ] {
        assert_eq!(said(&fields).text, "hello", "{fields}");
    }
}

#[test]
fn words_are_found_wherever_they_are() {
    let rich = |elements: Value| json!([{ "type": "rich_text", "elements": elements }]);
    let section =
        |elements: Value| rich(json!([{ "type": "rich_text_section", "elements": elements }]));
    let items = json!([
        { "type": "rich_text_section", "elements": [{ "type": "text", "text": "a" }] },
        { "type": "rich_text_section", "elements": [{ "type": "text", "text": "b" }] },
    ]);
    let plain = json!([{ "type": "text", "text": "a\nb" }]);
    for (fields, text) in [
        (
            json!({ "text": "words", "blocks": section(json!([{ "type": "text", "text": "x" }])) }),
            "words",
        ),
        (json!({ "text": 7 }), "7"),
        (
            json!({ "text": " ", "blocks": section(json!([
                { "type": "user", "user_id": "UBOT" }, { "type": "text", "text": " a<b & " },
                { "type": "link", "url": "https://x.io/?a&b", "text": "x" },
                { "type": "link", "url": "https://y.io" }, { "type": "channel", "channel_id": "C1" },
                { "type": "usergroup", "usergroup_id": "S1" }, { "type": "broadcast", "range": "here" },
                { "type": "emoji", "name": "tada" }, { "type": "color", "value": "#fff" },
                { "type": "date", "timestamp": 1, "format": "{date}", "fallback": "Jan" },
                { "type": "novelty", "text": "new" },
            ])) }),
            "<@UBOT> a&lt;b &amp; <https://x.io/?a&amp;b|x><https://y.io><#C1><!subteam^S1><!here>:tada:\
             #fff<!date^1^{date_num}|Jan>new",
        ),
        (
            json!({ "text": "", "blocks": rich(json!([
                { "type": "rich_text_list", "style": "ordered", "elements": items },
                { "type": "rich_text_list", "style": "bullet", "indent": 1, "elements": items },
                { "type": "rich_text_quote", "elements": plain },
                { "type": "rich_text_preformatted", "elements": plain },
            ])) }),
            "1. a\n2. b\n  - a\n  - b\n> a\n> b\n```\na\nb\n```",
        ),
        (
            json!({ "text": "", "blocks": [
                { "type": "header", "text": { "type": "plain_text", "text": "H & h" } },
                { "type": "divider" },
                { "type": "section", "text": { "type": "mrkdwn", "text": "*b* <@U1>" },
                  "fields": [{ "type": "mrkdwn", "text": "f" }] },
                { "type": "context", "elements": [{ "type": "image", "alt_text": "pic" }] },
                { "type": "markdown", "text": "**m**" },
                { "type": "table", "rows": [[{ "type": "raw_text", "text": "1" }, { "type": "raw_text", "text": "2" }]] },
                { "type": "actions", "elements": [{ "type": "button", "text": { "text": "Press" } }] },
                { "type": "novelty", "text": { "type": "plain_text", "text": "new" } },
            ] }),
            "H &amp; h\n*b* <@U1>\nf\npic\n**m**\n1 | 2\nnew",
        ),
        (
            json!({ "text": "", "attachments": [
                { "pretext": "p", "title": "t", "text": "x", "fallback": "no",
                  "fields": [{ "title": "k", "value": 7 }, { "value": true, "short": "true" }] },
                { "fallback": "instead" },
                { "blocks": section(json!([{ "type": "text", "text": "inside" }])) },
            ] }),
            "p\nt\nx\nk: 7\ntrue\ninstead\ninside",
        ),
        (json!({ "text": "" }), ""),
        (json!({ "text": null, "files": [{ "id": "F1" }] }), ""),
    ] {
        assert_eq!(said(&fields).text, text, "{fields}");
    }
}

#[test]
fn what_is_passed_on_is_kept_apart() {
    let message = said(&json!({ "text": "", "attachments": [
        { "is_share": true, "author_name": "bob", "text": "old words", "files": [] },
        { "is_share": true },
        { "text": "preview" },
    ] }));
    assert_eq!(message.text, "preview");
    assert_eq!(message.forwarded, ["bob:\nold words"]);
}

#[test]
fn a_message_says_where_it_stands() {
    let plain = said(&json!({}));
    assert_eq!(plain.chat.as_str(), "C1");
    assert_eq!(
        (plain.chat_kind, plain.thread, plain.is_reply()),
        (Some(ChatKind::Public), None, false)
    );
    let root = said(
        &json!({ "thread_ts": "1700000000.000100", "reply_count": 3, "latest_reply": "1700000009.000000" }),
    );
    assert!(!root.is_reply());
    assert_eq!(root.latest_reply, "1700000009.000000".parse().ok());
    assert!(said(&json!({ "thread_ts": "1690000000.000000" })).is_reply());
    for (fields, kind) in [
        (json!({ "channel_type": "group" }), Some(ChatKind::Private)),
        (json!({ "channel_type": "im" }), Some(ChatKind::Direct)),
        (json!({ "channel_type": "mpim" }), Some(ChatKind::GroupDirect)),
        (json!({ "channel_type": null }), None),
        (json!({ "channel_type": null, "channel": "D1" }), Some(ChatKind::Direct)),
    ] {
        assert_eq!(said(&fields).chat_kind, kind, "{fields}");
    }
    let history = json!({ "ts": "1.000001", "text": "old", "edited": { "ts": "2.000002" } });
    let old = Message::parse(&history, "C7".parse().ok()).unwrap();
    assert_eq!((old.chat.as_str(), old.edited), ("C7", "2.000002".parse().ok()));
    assert_eq!(Message::parse(&history, None), Err("channel"));
}

#[test]
fn speakers_are_recognised() {
    let me = Me { user: "UBOT".parse().unwrap(), bot: "B1".parse().ok() };
    let person = Speaker::Person("U1".parse().unwrap());
    for (fields, speaker) in [
        (json!({}), person.clone()),
        (json!({ "subtype": "file_share" }), person.clone()),
        (json!({ "subtype": "thread_broadcast" }), person.clone()),
        (json!({ "subtype": "me_message" }), person.clone()),
        (json!({ "subtype": "never_heard_of", "app_id": "A1" }), person),
        (json!({ "user": "UBOT" }), Speaker::Me),
        (json!({ "bot_id": "B1" }), Speaker::Me),
        (json!({ "user": "UBOT", "subtype": "channel_join" }), Speaker::Me),
        (json!({ "bot_id": "B2" }), Speaker::Bot),
        (json!({ "subtype": "bot_message" }), Speaker::Bot),
        (json!({ "user": "USLACKBOT" }), Speaker::Bot),
        (json!({ "user": null }), Speaker::Bot),
        (json!({ "subtype": "channel_join" }), Speaker::Platform),
        (json!({ "subtype": "pinned_item" }), Speaker::Platform),
    ] {
        assert_eq!(said(&fields).speaker(&me), speaker, "{fields}");
    }
    let nameless = Me { bot: None, ..me };
    assert_ne!(said(&json!({})).speaker(&nameless), Speaker::Me);
}

#[test]
fn files_say_where_they_can_be_had() {
    let url = |url: &str| FileSource::Url(url.to_owned());
    for (file, source) in [
        (json!({ "url_private": "a", "url_private_download": "b" }), url("b")),
        (json!({ "url_private": "a", "url_private_download": "" }), url("a")),
        (json!({ "url_private": "", "id": "F1" }), FileSource::AskFor),
        (json!({ "url_private": "" }), FileSource::Gone),
        (json!({ "id": "F1", "file_access": "check_file_info" }), FileSource::AskFor),
        (json!({ "id": "F1", "mode": "tombstone", "url_private": "a" }), FileSource::Gone),
        (json!({ "id": "F1", "mode": "hidden_by_limit" }), FileSource::Gone),
        (json!({ "mode": "external", "url_private": "a" }), FileSource::External("a".to_owned())),
    ] {
        let message = said(&json!({ "files": [file] }));
        assert_eq!(message.files[0].source, source, "{file}");
    }
    let transcription = json!({ "status": "complete", "preview": { "content": "hi there" } });
    let file = json!({ "id": "F1", "name": "a.m4a", "mimetype": "audio/mp4", "size": 7, "transcription": transcription });
    let expected = File {
        id: Some("F1".to_owned()),
        name: "a.m4a".to_owned(),
        kind: Some("audio/mp4".to_owned()),
        bytes: Some(7),
        source: FileSource::AskFor,
        transcript: Some("hi there".to_owned()),
    };
    assert_eq!(said(&json!({ "files": [file] })).files, [expected]);
    let many = vec![json!({ "id": "F1" }); 200];
    assert_eq!(said(&json!({ "files": many })).files.len(), 100);
}

#[test]
fn our_own_messages_carry_their_row() {
    let metadata = |kind: &str, outbox: Value| json!({ "metadata": { "event_type": kind, "event_payload": { "outbox": outbox, "x": {} } } });
    for (fields, row) in [
        (metadata(METADATA_TYPE, json!("12")), Some(OutboxId(12))),
        (metadata(METADATA_TYPE, json!(12)), Some(OutboxId(12))),
        (metadata(METADATA_TYPE, json!("-1")), None),
        (metadata(METADATA_TYPE, json!({})), None),
        (metadata("other", json!("12")), None),
        (json!({ "metadata": {} }), None),
    ] {
        assert_eq!(said(&fields).outbox, row, "{fields}");
    }
}

#[test]
fn edits_and_deletions_name_their_message() {
    let edit = |now: Value, before: Value| {
        json!({ "type": "message", "subtype": "message_changed", "channel": "C1", "ts": "9.000000",
            "message": now, "previous_message": before })
    };
    let now = json!({ "ts": "1.000001", "text": "new", "user": "U1", "thread_ts": "1.000000" });
    for (before, differs) in [
        (json!({ "text": "old" }), true),
        (json!({ "text": "new" }), false),
        (json!(null), true),
        (json!({ "text": "new", "files": [{ "id": "F1" }] }), true),
    ] {
        let Event::Edited { message, changed } = event(&edit(now.clone(), before)) else {
            panic!("an edit")
        };
        assert_eq!((message.text.as_str(), message.is_reply(), changed), ("new", true, differs));
        assert_eq!((message.chat.as_str(), message.ts), ("C1", "1.000001".parse().unwrap()));
    }
    let (chat, ts): (ConversationId, Ts) = ("C1".parse().unwrap(), "1.000001".parse().unwrap());
    let tomb =
        json!({ "ts": "1.000001", "subtype": "tombstone", "text": "This message was deleted." });
    let deleted = json!({ "type": "message", "subtype": "message_deleted", "channel": "C1", "ts": "9.000000", "deleted_ts": "1.000001" });
    for json in [edit(tomb, json!({ "text": "old" })), deleted] {
        assert_eq!(event(&json), Event::Deleted { chat: chat.clone(), ts }, "{json}");
    }
}

#[test]
fn other_events_are_read() {
    let (chat, user): (ConversationId, UserId) = ("C1".parse().unwrap(), "U1".parse().unwrap());
    let item = json!({ "type": "message", "channel": "C1", "ts": "1.000001" });
    let reaction = |change| {
        let name = "eyes".to_owned();
        Event::Reaction(Reaction {
            change,
            user: user.clone(),
            name,
            chat: chat.clone(),
            ts: "1.000001".parse().unwrap(),
        })
    };
    let react =
        |kind: &str| json!({ "type": kind, "user": "U1", "reaction": "eyes", "item": item });
    let unreadable = |kind: &str, lacks| Event::Unreadable { kind: kind.to_owned(), lacks };
    let thread = "1.000001".parse().ok();
    let stopped = Event::Stopped { user: Some(user.clone()), chat: chat.clone(), thread };
    for (json, expected) in [
        (react("reaction_added"), reaction(Change::Came)),
        (react("reaction_removed"), reaction(Change::Went)),
        (
            json!({ "type": "reaction_added", "user": "U1", "reaction": "x", "item": { "type": "file" } }),
            unreadable("reaction_added", "channel"),
        ),
        (
            json!({ "type": "channel_rename", "channel": { "id": "C1", "name": "new" } }),
            Event::Renamed { chat: chat.clone() },
        ),
        (
            json!({ "type": "agent_session_stopped", "user": "U1", "channel": "C1", "thread_ts": "1.000001" }),
            stopped.clone(),
        ),
        (
            json!({ "type": "agent_session_stopped", "user_id": "U1", "session": { "channel_id": "C1", "thread_ts": "1.000001" } }),
            stopped,
        ),
        (json!({ "type": "tokens_revoked", "tokens": { "bot": ["U1"] } }), Event::TokensRevoked),
        (json!({ "type": "app_uninstalled" }), Event::AppUninstalled),
        (
            json!({ "type": "novelty", "channel": "C1" }),
            Event::Unknown { kind: "novelty".to_owned() },
        ),
        (
            json!({ "type": "message", "subtype": "message_replied", "channel": "C1" }),
            Event::Unknown { kind: "message.message_replied".to_owned() },
        ),
        (json!({ "type": "message", "ts": "1.000001" }), unreadable("message", "channel")),
        (json!({ "type": "message", "channel": "C1", "ts": 7 }), unreadable("message", "ts")),
        (json!(null), Event::Unknown { kind: String::new() }),
    ] {
        assert_eq!(event(&json), expected, "{json}");
    }
    let mention = event(&message(&json!({ "type": "app_mention" })));
    assert!(matches!(mention, Event::Mentioned(message) if message.text == "hello"));
}

/// Any JSON, with the keys that matter likely.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}|C1|U1|1\\.000001|message|rich_text".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let key = "type|subtype|text|blocks|attachments|elements|files|message|item|channel|user|ts|[a-z]";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(key, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_field_takes_the_text_away(text in "\\PC*[^\\s\\pC]\\PC*", mut fields in json()) {
        let Some(fields) = fields.as_object_mut() else { return Ok(()) };
        for named in ["type", "subtype", "channel", "ts", "text", "message"] {
            fields.remove(named);
        }
        fields.insert("text".to_owned(), text.clone().into());
        prop_assert_eq!(said(&Value::Object(fields.clone())).text, text);
    }

    #[test]
    fn any_frame_is_a_value(json in json()) {
        let envelope = json!({ "type": "events_api", "envelope_id": "e", "payload": { "event": json } });
        prop_assert!(matches!(Frame::parse(&envelope), Frame::Envelope(_)));
        drop(Frame::parse(&json));
    }
}
