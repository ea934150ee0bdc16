//! What is said, read, streamed and shown.

use std::time::Duration;

use serde_json::{Value, json};
use test_servers::slack::{
    ALICE, BOB, Conversation, DM, ELSEWHERE, GENERAL, HistoryFrom, Kind, Options, Post, Slack,
};

use crate::client::{Socket, ask, call, start};

fn texts(answer: &Value) -> Vec<&str> {
    let messages = answer["messages"].as_array().unwrap().iter();
    messages.map(|message| message["text"].as_str().unwrap()).collect()
}

fn cursor(answer: &Value) -> &str {
    answer["response_metadata"]["next_cursor"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn the_bot_says_changes_and_takes_back() {
    let slack = start().await;
    let root = slack.user_message(Post::new(GENERAL, ALICE, "root"));
    let metadata =
        json!({ "event_type": "out", "event_payload": { "id": 7, "deep": { "n": [1] } } });
    let args = json!({ "channel": GENERAL, "thread_ts": root, "text": "answer", "metadata": metadata,
        "blocks": [{ "type": "markdown", "text": "answer" }] });
    let said = call(&slack, "chat.postMessage", args).await;
    let ts = said["ts"].as_str().unwrap();
    assert_eq!(said["message"]["metadata"], metadata);
    let root_now = slack.look(|world| world.message(GENERAL, &root).unwrap().json().clone());
    assert_eq!((&root_now["reply_count"], &root_now["thread_ts"]), (&json!(1), &json!(root)));

    let changed = json!({ "channel": GENERAL, "ts": ts, "text": "other" });
    let changed = call(&slack, "chat.update", changed).await;
    assert_eq!((&changed["text"], &changed["message"]["blocks"]), (&json!("other"), &json!(null)));
    for (method, channel, ts, expected) in [
        ("chat.update", GENERAL, root.as_str(), "cant_update_message"),
        ("chat.delete", GENERAL, root.as_str(), "cant_delete_message"),
        ("chat.update", GENERAL, "1.000001", "message_not_found"),
        ("chat.update", "C0UNKNOWN", ts, "channel_not_found"),
        ("chat.update", ELSEWHERE, ts, "not_in_channel"),
    ] {
        let args = json!({ "channel": channel, "ts": ts, "text": "x" });
        assert_eq!(call(&slack, method, args).await["error"], expected, "{method} {channel}");
    }
    let gone = call(&slack, "chat.delete", json!({ "channel": GENERAL, "ts": ts })).await;
    assert_eq!(
        (gone["ok"].clone(), slack.look(|world| world.said(GENERAL).len())),
        (json!(true), 0)
    );
    slack.archive(GENERAL);
    let late = call(&slack, "chat.postMessage", json!({ "channel": GENERAL, "text": "x" })).await;
    assert_eq!(late["error"], "is_archived");
}

#[tokio::test]
async fn history_comes_in_pages_that_stay_where_they_are() {
    let slack = start().await;
    let root = slack.user_message(Post::new(GENERAL, ALICE, "1"));
    for text in ["2", "3", "4", "5"] {
        slack.user_message(Post::new(GENERAL, BOB, text));
    }
    slack.user_message(Post::new(GENERAL, BOB, "in the thread").in_thread(&root));
    slack.user_message(Post::new(GENERAL, BOB, "6").broadcast(&root));
    let first = ask(&slack, "conversations.history", "channel=C0GENERAL&limit=4").await;
    assert_eq!((texts(&first), &first["has_more"]), (vec!["6", "5", "4", "3"], &json!(true)));
    slack.user_message(Post::new(GENERAL, BOB, "7"));
    let query = format!("channel=C0GENERAL&limit=4&cursor={}", cursor(&first));
    let second = ask(&slack, "conversations.history", &query).await;
    assert_eq!((texts(&second), &second["has_more"]), (vec!["2", "1"], &json!(false)));
    let query = format!("channel=C0GENERAL&oldest={root}");
    assert_eq!(texts(&ask(&slack, "conversations.history", &query).await).last(), Some(&"2"));
    let query = format!("channel=C0GENERAL&latest={root}&inclusive=true");
    assert_eq!(texts(&ask(&slack, "conversations.history", &query).await), ["1"]);

    let thread =
        ask(&slack, "conversations.replies", &format!("channel=C0GENERAL&ts={root}&limit=2")).await;
    assert_eq!(texts(&thread), ["1", "in the thread"]);
    let query = format!("channel=C0GENERAL&ts={root}&limit=2&cursor={}", cursor(&thread));
    let thread = ask(&slack, "conversations.replies", &query).await;
    assert_eq!((texts(&thread), cursor(&thread)), (vec!["6"], ""));
    let unknown = ask(&slack, "conversations.replies", "channel=C0GENERAL&ts=1.000001").await;
    assert_eq!(unknown["error"], "thread_not_found");
    let bad = ask(&slack, "conversations.history", "channel=C0GENERAL&cursor=x").await;
    assert_eq!(bad["error"], "invalid_cursor");
}

#[tokio::test]
async fn history_can_begin_at_either_end() {
    let options = Options { history_from: HistoryFrom::Oldest, ..Options::default() };
    let slack = Slack::start(options).await.unwrap();
    let oldest = slack.user_message(Post::new(GENERAL, ALICE, "0"));
    for text in ["1", "2", "3"] {
        slack.user_message(Post::new(GENERAL, ALICE, text));
    }
    let query = format!("channel=C0GENERAL&limit=2&oldest={oldest}");
    let first = ask(&slack, "conversations.history", &query).await;
    assert_eq!(texts(&first), ["2", "1"]);
    let query = format!("{query}&cursor={}", cursor(&first));
    assert_eq!(texts(&ask(&slack, "conversations.history", &query).await), ["3"]);
    let all = ask(&slack, "conversations.history", "channel=C0GENERAL&limit=2").await;
    assert_eq!(texts(&all), ["3", "2"]);
}

#[tokio::test]
async fn metadata_is_whole_only_when_asked_for() {
    let slack = start().await;
    let metadata = json!({ "event_type": "out", "event_payload": { "id": 7 } });
    let args = json!({ "channel": GENERAL, "text": "x", "metadata": metadata });
    call(&slack, "chat.postMessage", args).await;
    let some = ask(&slack, "conversations.history", "channel=C0GENERAL").await;
    assert_eq!(some["messages"][0]["metadata"], json!({ "event_type": "out" }));
    let all =
        ask(&slack, "conversations.history", "channel=C0GENERAL&include_all_metadata=true").await;
    assert_eq!(all["messages"][0]["metadata"], metadata);
}

#[tokio::test]
async fn a_stream_knows_one_way_and_ends() {
    let options = Options { stream_limit: 10, ..Options::default() };
    let slack = Slack::start(options).await.unwrap();
    let root = slack.user_message(Post::new(GENERAL, ALICE, "root"));
    let base = json!({ "channel": GENERAL, "thread_ts": root, "markdown_text": "ab" });
    assert_eq!(
        call(&slack, "chat.startStream", base.clone()).await["error"],
        "missing_recipient_team_id"
    );
    let mut whole = base.clone();
    whole["recipient_team_id"] = "T0FAKE001".into();
    whole["recipient_user_id"] = ALICE.into();
    let ts = call(&slack, "chat.startStream", whole).await["ts"].clone();
    let with = |key: &str, value: Value| json!({ "channel": GENERAL, "ts": ts, key: value });
    let chunk = json!([{ "type": "markdown_text", "text": "x" }]);
    for (method, args, expected) in [
        ("chat.appendStream", with("markdown_text", "cd".into()), json!(null)),
        ("chat.appendStream", with("chunks", chunk), json!("streaming_mode_mismatch")),
        ("chat.appendStream", with("markdown_text", "0123456789".into()), json!("msg_too_long")),
        ("chat.update", with("text", "x".into()), json!("streaming_state_conflict")),
        ("chat.stopStream", with("markdown_text", "e".into()), json!(null)),
        (
            "chat.appendStream",
            with("markdown_text", "f".into()),
            json!("message_not_in_streaming_state"),
        ),
        ("chat.update", with("text", "final".into()), json!(null)),
    ] {
        assert_eq!(call(&slack, method, args.clone()).await["error"], expected, "{method} {args}");
        if method == "chat.stopStream" {
            assert_eq!(slack.look(|world| world.said(GENERAL)[0].text().to_owned()), "abcde");
        }
    }
    // In direct messages Slack knows for whom it is.
    let root = slack.user_message(Post::new(DM, ALICE, "root"));
    let args = json!({ "channel": DM, "thread_ts": root });
    assert_eq!(call(&slack, "chat.startStream", args).await["ok"], true);
}

#[tokio::test]
async fn slack_closes_a_stream_that_is_too_old() {
    let slack =
        Slack::start(Options { stream_ttl: Duration::ZERO, ..Options::default() }).await.unwrap();
    let root = slack.user_message(Post::new(DM, ALICE, "root"));
    let args = json!({ "channel": DM, "thread_ts": root, "markdown_text": "a" });
    let ts = call(&slack, "chat.startStream", args).await["ts"].clone();
    let more = json!({ "channel": DM, "ts": ts, "markdown_text": "b" });
    let refused = call(&slack, "chat.appendStream", more).await;
    assert_eq!(refused["error"], "message_not_in_streaming_state");
    let update =
        call(&slack, "chat.update", json!({ "channel": DM, "ts": ts, "text": "ab" })).await;
    assert_eq!(update["ok"], true);
}

#[tokio::test]
async fn a_status_is_cleared_by_what_the_bot_says() {
    let slack = start().await;
    let root = slack.user_message(Post::new(GENERAL, ALICE, "root"));
    let status = |text: &str, thread: &str| json!({ "channel_id": GENERAL, "thread_ts": thread, "status": text });
    let set = call(&slack, "assistant.threads.setStatus", status("thinks", &root)).await;
    assert_eq!(
        (&set["ok"], slack.look(|w| w.status(GENERAL, &root).to_owned())),
        (&json!(true), "thinks".into())
    );
    call(&slack, "chat.postMessage", json!({ "channel": GENERAL, "text": "elsewhere" })).await;
    assert_eq!(slack.look(|world| world.status(GENERAL, &root).to_owned()), "thinks");
    call(&slack, "chat.postMessage", json!({ "channel": GENERAL, "thread_ts": root, "text": "x" }))
        .await;
    assert_eq!(slack.look(|world| world.status(GENERAL, &root).to_owned()), "");
    assert!(slack.look(|world| world.statuses().last().unwrap().by_reply));
    let unknown = call(&slack, "assistant.threads.setStatus", status("x", "1.000001")).await;
    assert_eq!(unknown["error"], "invalid_thread_ts");
    let mut long = status("x", &root);
    long["loading_messages"] = json!(vec!["x"; 11]);
    assert_eq!(
        call(&slack, "assistant.threads.setStatus", long).await["error"],
        "invalid_arguments"
    );
}

#[tokio::test]
async fn conversations_are_listed_by_kind_and_membership() {
    let slack = start().await;
    slack.add_conversation(
        Conversation::new("C0SHARED", Kind::Public, "shared", &[ALICE, "U0BOT0001"])
            .with("is_ext_shared", true),
    );
    slack.add_usergroup("S0TEAM", "team");
    for (method, query, expected) in [
        ("conversations.list", "", vec!["C0GENERAL", "C0NOTIN01", "C0SHARED"]),
        ("users.conversations", "", vec!["C0GENERAL", "C0SHARED"]),
        (
            "users.conversations",
            "types=private_channel,im,mpim",
            vec!["C0PRIVATE", "D0ALICE01", "G0MPIM001"],
        ),
    ] {
        let answer = ask(&slack, method, query).await;
        let channels = answer["channels"].as_array().unwrap().iter();
        assert_eq!(
            channels.map(|channel| channel["id"].as_str().unwrap()).collect::<Vec<_>>(),
            expected
        );
    }
    let page = ask(&slack, "conversations.list", "limit=2").await;
    let query = format!("limit=2&cursor={}", cursor(&page));
    assert_eq!(ask(&slack, "conversations.list", &query).await["channels"][0]["id"], "C0SHARED");
    let info = ask(&slack, "conversations.info", "channel=D0ALICE01").await;
    assert_eq!(
        (&info["channel"]["is_im"], &info["channel"]["user"]),
        (&json!(true), &json!(ALICE))
    );
    for (users, expected) in [(ALICE, DM), (BOB, "D0BOB0001"), ("U0ALICE01,U0BOB0001", "G0MPIM001")]
    {
        let open = call(&slack, "conversations.open", json!({ "users": users })).await;
        assert_eq!(open["channel"]["id"], expected);
    }
    assert_eq!(ask(&slack, "usergroups.list", "").await["usergroups"][0]["handle"], "team");
    assert_eq!(ask(&slack, "bots.info", "bot=B0BOT0001").await["bot"]["user_id"], "U0BOT0001");
}

#[tokio::test]
async fn a_trigger_opens_one_view() {
    let slack = start().await;
    let mut socket = Socket::open(&slack).await;
    slack.slash(GENERAL, ALICE, "/ask", "");
    let envelope = socket.next().await.unwrap();
    let trigger = envelope["payload"]["trigger_id"].clone();
    let args = json!({ "trigger_id": trigger, "view": { "type": "modal", "blocks": [] } });
    let view = call(&slack, "views.open", args.clone()).await["view"]["id"].clone();
    assert_eq!(call(&slack, "views.open", args).await["error"], "invalid_trigger_id");
    let update =
        json!({ "view_id": view, "view": { "type": "modal", "title": "new", "blocks": [] } });
    assert_eq!(call(&slack, "views.update", update).await["view"]["title"], "new");
    assert_eq!(slack.look(|world| world.views().count()), 1);
}
