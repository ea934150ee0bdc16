//! Files, up and down.

use serde_json::json;
use test_servers::slack::{ALICE, DOWNLOAD, Fault, GENERAL, Post, Slack};

use crate::client::{Socket, ask, call, get, post, send, start};

/// Announces a file of three bytes; returns where to put it, and its id.
async fn announce(slack: &Slack) -> (String, String) {
    let answer = ask(slack, "files.getUploadURLExternal", "filename=a.png&length=3").await;
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (text("upload_url"), text("file_id"))
}

#[tokio::test]
async fn a_file_is_announced_uploaded_and_shared() {
    let slack = start().await;
    let mut socket = Socket::open(&slack).await;
    let (url, id) = announce(&slack).await;
    let complete = json!({ "files": [{ "id": id, "title": "A" }], "channel_id": GENERAL, "initial_comment": "see" });
    let early = call(&slack, "files.completeUploadExternal", complete.clone()).await;
    assert_eq!(early["error"], "file_not_found");
    assert_eq!(send(post(&url, "", "image/png", "four")).await.unwrap().status, 400);
    assert_eq!(send(post(&url, "", "image/png", "png")).await.unwrap().status, 200);
    let markdown = json!({ "files": [{ "id": id }], "channel_id": GENERAL, "blocks": [{ "type": "markdown", "text": "x" }] });
    assert_eq!(
        call(&slack, "files.completeUploadExternal", markdown).await["error"],
        "internal_error"
    );
    let done = call(&slack, "files.completeUploadExternal", complete).await;
    assert_eq!((&done["files"][0]["title"], &done["ts"]), (&json!("A"), &json!(null)));
    let event = socket.event().await;
    assert_eq!((&event["subtype"], &event["text"]), (&json!("file_share"), &json!("see")));
    let info = ask(&slack, "files.info", &format!("file={id}")).await;
    assert_eq!(info["file"]["size"], 3);
}

#[tokio::test]
async fn a_file_comes_in_one_of_several_parts() {
    let slack = start().await;
    let (url, id) = announce(&slack).await;
    let body = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n\r\n-\r\n--x--\r\n";
    let reply = send(post(&url, "", "multipart/form-data; boundary=x", body)).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"OK - 3"[..]));
    slack.look(|world| {
        let file = world.files().find(|file| file.id() == id).unwrap();
        assert_eq!(
            (file.bytes(), file.name(), file.is_complete()),
            (&b"\r\n-"[..], "a.png", false)
        );
    });
}

#[tokio::test]
async fn a_download_needs_the_token_or_shows_the_log_in_page() {
    let slack = start().await;
    let ts =
        slack.user_message(Post::new(GENERAL, ALICE, "").file("a.txt", "text/plain", "content"));
    let file = slack.look(|world| world.message(GENERAL, &ts).unwrap().json()["files"][0].clone());
    let token = slack.options().bot_token.clone();
    for url in [&file["url_private"], &file["url_private_download"]] {
        let url = url.as_str().unwrap();
        let reply = send(get(url, &token)).await.unwrap();
        assert_eq!(
            (&reply.body[..], &reply.headers["content-type"]),
            (&b"content"[..], &"text/plain".parse().unwrap())
        );
        let refused = send(get(url, "xoxb-other")).await.unwrap();
        assert_eq!(refused.status, 302);
        let page = send(get(refused.headers["location"].to_str().unwrap(), "")).await.unwrap();
        assert_eq!(page.status, 200);
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        slack.fault(Fault::log_in().on(DOWNLOAD).first(1));
        assert_eq!(send(get(url, &token)).await.unwrap().status, 302);
    }
    assert_eq!(slack.look(|world| world.count(DOWNLOAD)), 6);
}
