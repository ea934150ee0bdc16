//! The rules of downloads.

use serde_json::json;

use super::*;

#[test]
fn the_token_is_for_slack_and_for_whoever_stands_for_it() {
    let (slack, ours) = ("https://slack.com/api", "http://127.0.0.1:81/api");
    for (url, api, expected) in [
        ("https://files.slack.com/files-pri/T1-F1/download/x", slack, true),
        ("https://FILES.Slack.com/x", slack, true),
        ("https://slack.com/x", slack, true),
        ("https://team.enterprise.slack.com/x", slack, true),
        ("https://files.slack.com/x", "https://www.slack.com/api", true),
        ("http://files.slack.com/x", slack, false),
        ("https://files.slack.com:444/x", slack, false),
        ("https://files.slack.com.evil.com/x", slack, false),
        ("https://evilslack.com/x", slack, false),
        ("https://evil.com/files.slack.com", slack, false),
        ("https://files.slack.com@evil.com/x", slack, false),
        ("https://evil.com@files.slack.com/x", slack, false),
        ("https://drive.google.com/x", slack, false),
        ("https://com/x", slack, false),
        ("/x", slack, false),
        ("http://127.0.0.1:81/files-pri/x", ours, true),
        ("http://127.0.0.1:82/files-pri/x", ours, false),
        ("https://files.slack.com/x", ours, false),
        ("https://files.slack-gov.com/x", "https://slack-gov.com/api", true),
    ] {
        let may = is_slacks(&url.parse().unwrap(), &api.parse().unwrap());
        assert_eq!(may, expected, "{url} {api}");
    }
}

#[test]
fn a_log_in_page_is_told_from_a_file() {
    const PAGE: &[u8] = b"\n <!DOCTYPE html><html>";
    for (told, kind, begin, is_page) in [
        ("text/html; charset=utf-8", "application/pdf", PAGE, true),
        ("text/html", "text/plain", b"", true),
        ("text/html", "", b"", true),
        ("application/pdf", "application/pdf", PAGE, true),
        ("image/png", "image/png", b"<HTML lang", true),
        ("text/html", "text/html", PAGE, false),
        ("text/plain", "text/plain", PAGE, false),
        ("application/xhtml+xml", "application/xhtml+xml", PAGE, false),
        ("application/pdf", "application/pdf", b"%PDF", false),
        ("image/png", "image/png", b"", false),
    ] {
        let headers = [(CONTENT_TYPE, told.parse().unwrap())].into_iter().collect();
        let accepted = accept(StatusCode::OK, &headers, kind);
        let found = accepted.is_err() || is_log_in_page(begin, kind);
        assert_eq!(found, is_page, "{told} {kind} {begin:?}");
    }
    for (status, said) in [
        (302, "the app may not read files (files:read)"),
        (404, "Slack answers 404 Not Found"),
        (206, "Slack answers 206 Partial Content"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let error = accept(status, &HeaderMap::new(), "image/png").unwrap_err();
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn what_is_not_fetched_is_named_with_the_reason() {
    let url = "https://files.slack.com/x";
    for (number, file, line) in [
        (
            0,
            json!({ "name": "a.pdf", "mimetype": "application/pdf", "url_private": url }),
            "a.pdf, application/pdf",
        ),
        (9, json!({ "name": "a", "size": MOST_BYTES, "url_private": url }), "a"),
        (
            10,
            json!({ "name": "a", "url_private": url }),
            "a: not fetched: only the first 10 files of a message are",
        ),
        (
            0,
            json!({ "name": "a", "size": MOST_BYTES + 1, "url_private": url }),
            "a: not fetched: it is larger than 25 MiB",
        ),
        (0, json!({ "name": "a", "mode": "tombstone" }), "a: not fetched: it was deleted"),
        (
            0,
            json!({ "name": "a", "is_external": true, "url_private": "https://x.y/z" }),
            "a: not fetched: it lies at https://x.y/z",
        ),
        (
            0,
            json!({ "id": "F1", "name": "a", "file_access": "check_file_info" }),
            "a: not fetched: Slack does not say where it is",
        ),
        (
            0,
            json!({ "name": "m4a", "url_private": url, "transcription": { "preview": { "content": "hi" } } }),
            "m4a: hi",
        ),
    ] {
        let file =
            &Message::parse(&json!({ "channel": "C1", "ts": "1.000001", "files": [file] }), None)
                .unwrap()
                .files[0];
        let mut text = String::new();
        name(file, address(number, file).err().as_ref(), &mut text);
        assert_eq!(text, format!("[file: {line}]"));
    }
}
