//! The wire, type by type: a snapshot that changes is a change of the protocol.
//!
//! Each value is written, compared with its snapshot, and read back. An incompatible change raises
//! [`protocol::VERSION`]; a compatible one keeps the old snapshot readable.
#![expect(clippy::unwrap_used, reason = "a test's helper fails the test it serves")]

use std::fmt::Debug;

use hermitcrab_protocol as protocol;
use protocol::frame::MAX_PAYLOAD_BYTES;
use protocol::{
    AvailableChat, AvailableGroups, Done, Failure, FailureKind, FollowUp, Frame, FrameKind, Input,
    Outcome, Progress, Prompt, Reply, Request, Sign,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Compares the JSON of these values with the snapshot, and reads each back.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, values: &[T]) {
    insta::assert_json_snapshot!(name, values);
    for value in values {
        let json = serde_json::to_string(value).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
    }
}

fn prompt() -> Prompt {
    Prompt {
        version: 1,
        run: 7,
        conversation: String::from("slack-T01-C02"),
        session: Some(String::from("5f2a")),
        from: 40,
        through: 41,
        text: String::from("Hello, \"Andy\"\n"),
        system: String::from("You are Andy."),
        main: false,
        engine: String::from("native"),
        model: String::from("claude-sonnet-4-5"),
        max_output_bytes: 10_485_760,
    }
}

#[test]
fn available_groups() {
    let registered = AvailableChat {
        chat: String::from("slack:T01/C02"),
        name: Some(String::from("general")),
        group: Some(String::from("family")),
        last_activity: Some(String::from("2026-11-21T12:00:00Z")),
        is_registered: true,
    };
    let stranger = AvailableChat {
        chat: String::from("slack:T01/C03"),
        name: None,
        group: None,
        last_activity: None,
        is_registered: false,
    };
    check("available_groups", &[AvailableGroups { groups: vec![registered, stranger] }]);
}

#[test]
fn input() {
    let follow_up = FollowUp { run: 7, after: 41, through: 42, text: String::from("and this") };
    check(
        "input",
        &[
            Input::Prompt(Box::new(prompt())),
            Input::Prompt(Box::new(Prompt { session: None, ..prompt() })),
            Input::FollowUp(follow_up),
            Input::Cancel { run: 7 },
            Input::Close,
        ],
    );
}

#[test]
fn progress() {
    let reason = || String::from("the model's service is busy");
    let signs = vec![
        Sign::Started,
        Sign::Accepted,
        Sign::Heartbeat,
        Sign::Text { delta: String::from("Hel") },
        Sign::Tool { name: String::from("bash"), summary: String::from("ls -la") },
        Sign::Ready { through: 41 },
        Sign::Waiting { reason: reason() },
        Sign::FreshSession { reason: reason() },
    ];
    check("progress", &[Progress { run: 7, signs }, Progress { run: 0, signs: Vec::new() }]);
}

#[test]
fn done() {
    let done =
        |outcome| Done { run: 7, outcome, session: Some(String::from("5f2a")), through: Some(42) };
    let failed =
        |kind| done(Outcome::Failed(Failure { kind, message: String::from("what happened") }));
    let nothing =
        Done { session: None, through: None, ..done(Outcome::Answer { text: String::new() }) };
    check(
        "done",
        &[
            done(Outcome::Answer { text: String::from("**Hi.**") }),
            nothing,
            done(Outcome::Cancelled),
            failed(FailureKind::Overloaded),
            failed(FailureKind::Refused),
            failed(FailureKind::Credentials),
            failed(FailureKind::Other),
        ],
    );
}

#[test]
fn requests_and_replies() {
    let text = || String::from("On my way.");
    check(
        "request",
        &[
            Request::SendMessage { text: text(), chat: None },
            Request::SendMessage { text: text(), chat: Some(String::from("terminal:me")) },
            Request::SendFile {
                path: String::from("out/report.pdf"),
                caption: Some(text()),
                chat: Some(String::from("terminal:me")),
            },
            Request::React { emoji: String::from("thumbsup") },
            Request::RegisterGroup {
                chat: String::from("slack:T01/C02"),
                name: String::from("family"),
                folder: None,
                trigger: Some(String::from("@Crab")),
                requires_trigger: Some(true),
            },
            Request::ListChats {},
        ],
    );
    check("reply", &[Reply { id: String::from("r1"), ok: true, text: String::from("sent") }]);
}

#[test]
fn requests_are_also_read_as_the_field_writes_them() {
    let written =
        r#"{"type": "message", "text": "Hi.", "chatJid": "terminal:me", "groupFolder": "x"}"#;
    let read: Request = serde_json::from_str(written).unwrap();
    let chat = Some(String::from("terminal:me"));
    assert_eq!(read, Request::SendMessage { text: String::from("Hi."), chat });
    let written = r#"{"type": "register_group", "jid": "slack:T01/C02", "name": "The Family", "folder": "family",
        "trigger": "@Andy", "requiresTrigger": false, "timestamp": "2026-11-21T12:00:00Z"}"#;
    let read: Request = serde_json::from_str(written).unwrap();
    let expected = Request::RegisterGroup {
        chat: String::from("slack:T01/C02"),
        name: String::from("The Family"),
        folder: Some(String::from("family")),
        trigger: Some(String::from("@Andy")),
        requires_trigger: Some(false),
    };
    assert_eq!(read, expected);
}

#[test]
fn an_unknown_request_is_told_which_there_are() {
    let unknown = serde_json::from_str::<Request>(r#"{"type": "dance"}"#).unwrap_err().to_string();
    for known in ["send_message", "send_file", "react", "register_group", "list_chats"] {
        assert!(unknown.contains(known), "{unknown}");
    }
    assert!(unknown.len() < 200, "what the agent is shown is cut there: {unknown}");
}

#[test]
fn what_the_agent_runner_writes_is_read_strictly() {
    let strays = [
        serde_json::from_str::<Done>(
            r#"{"run":1,"outcome":{"type":"cancelled"},"session":null,"through":null,"stray":1}"#,
        )
        .is_err(),
        serde_json::from_str::<Done>(r#"{"run":1,"session":null,"through":null}"#).is_err(),
        serde_json::from_str::<Progress>(r#"{"run":1,"signs":[],"stray":1}"#).is_err(),
        serde_json::from_str::<Progress>(r#"{"run":-1,"signs":[]}"#).is_err(),
        serde_json::from_str::<Sign>(r#"{"type":"text","delta":"a","stray":1}"#).is_err(),
        serde_json::from_str::<Sign>(r#"{"type":"dance"}"#).is_err(),
        serde_json::from_str::<Outcome>(r#"{"type":"answer"}"#).is_err(),
    ];
    assert_eq!(strays, [true; 7]);
}

#[test]
fn frames() {
    for (frame, bytes) in [
        (Frame { connection: 1, kind: FrameKind::Open, length: 0 }, [0, 0, 0, 1, 0, 0, 0, 0, 0]),
        (
            Frame { connection: 0x0102_0304, kind: FrameKind::Data, length: MAX_PAYLOAD_BYTES },
            [1, 2, 3, 4, 1, 0, 1, 0, 0],
        ),
        (Frame { connection: 2, kind: FrameKind::Finish, length: 0 }, [0, 0, 0, 2, 2, 0, 0, 0, 0]),
        (
            Frame { connection: u32::MAX, kind: FrameKind::Reset, length: 0 },
            [255, 255, 255, 255, 3, 0, 0, 0, 0],
        ),
    ] {
        assert_eq!(frame.encode(), bytes);
        assert_eq!(Frame::decode(bytes), Some(frame));
    }
    for (bytes, why) in [
        ([0, 0, 0, 1, 4, 0, 0, 0, 0], "no such kind"),
        ([0, 0, 0, 1, 1, 0, 1, 0, 1], "one byte more than a frame may carry"),
        ([0, 0, 0, 1, 1, 255, 255, 255, 255], "far more"),
    ] {
        assert_eq!(Frame::decode(bytes), None, "{why}");
    }
}
