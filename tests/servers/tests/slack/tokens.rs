//! Who may call what.

use serde_json::json;
use test_servers::slack::{GENERAL, Limits, Options, Post, Slack, User};

use crate::client::{ask, call, get, post, request, send, start};

#[tokio::test]
async fn tokens_have_kinds_and_scopes() {
    let mut options = Options::default();
    options.scopes.remove("im:history");
    options.scopes.remove("reactions:write");
    let slack = Slack::start(options).await.unwrap();
    let (bot, app) = (slack.options().bot_token.clone(), slack.options().app_token.clone());
    for (method, token, expected) in [
        ("auth.test", "", json!("not_authed")),
        ("auth.test", "xoxb-other", json!("invalid_auth")),
        ("auth.test", &bot, json!(null)),
        ("auth.test", &app, json!(null)),
        ("chat.postMessage", &app, json!("not_allowed_token_type")),
        ("apps.connections.open", &bot, json!("not_allowed_token_type")),
        ("apps.connections.open", &app, json!(null)),
        ("conversations.history?channel=C0GENERAL", &bot, json!(null)),
        ("conversations.history?channel=D0ALICE01", &bot, json!("missing_scope")),
        ("reactions.add", &bot, json!("missing_scope")),
        ("rtm.start", &bot, json!("unknown_method")),
    ] {
        let url = format!("{}/{method}", slack.api_url());
        let answer = send(post(&url, token, "text/plain", "")).await.unwrap().json();
        assert_eq!(answer["error"], expected, "{method} {token}");
    }
    let reply = send(request(&slack, "auth.test", &json!({}))).await.unwrap();
    let scopes = reply.headers["x-oauth-scopes"].to_str().unwrap();
    assert!(scopes.contains("chat:write") && !scopes.contains("reactions:write"), "{scopes}");
    let me = reply.json();
    assert_eq!((&me["user_id"], &me["team_id"]), (&json!("U0BOT0001"), &json!("T0FAKE001")));
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_until_it_is_restored() {
    let slack = start().await;
    slack.revoke("token_revoked");
    assert_eq!(call(&slack, "auth.test", json!({})).await["error"], "token_revoked");
    let app = slack.options().app_token.clone();
    let url = format!("{}/apps.connections.open", slack.api_url());
    let open = send(post(&url, &app, "text/plain", "")).await.unwrap().json();
    assert_eq!(open["error"], "token_revoked");
    slack.restore();
    assert_eq!(call(&slack, "auth.test", json!({})).await["ok"], true);
    slack.stop().await;
}

#[tokio::test]
async fn some_methods_read_no_json() {
    let slack = start().await;
    let args = json!({ "channel": GENERAL, "user": "U0ALICE01", "filename": "x", "length": 1 });
    for method in ["conversations.info", "users.info", "files.getUploadURLExternal"] {
        assert_eq!(
            call(&slack, method, args.clone()).await["error"],
            "invalid_arguments",
            "{method}"
        );
        let query = "channel=C0GENERAL&user=U0ALICE01&filename=x&length=1";
        assert_eq!(ask(&slack, method, query).await["ok"], true, "{method}");
    }
    let url = format!("{}/chat.postMessage", slack.api_url());
    let form = "channel=C0GENERAL&text=a+form&token=xoxb-fake-1";
    let request = hyper::Request::post(&url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.into())
        .unwrap();
    assert_eq!(send(request).await.unwrap().json()["message"]["text"], "a form");
    let by_get = get(&format!("{}/apps.connections.open", slack.api_url()), "xapp-fake-1");
    assert_eq!(send(by_get).await.unwrap().json()["ok"], false);
}

#[tokio::test]
async fn users_are_members_guests_and_strangers() {
    let slack = start().await;
    slack.add_user(User::new("U0GUEST01", "gus").guest());
    slack.add_user(User::new("U0ONE0001", "one").single_channel_guest());
    slack.add_user(User::new("U0STRANGE", "stan").stranger("T0OTHER"));
    slack.add_user(User::new("U0OTHERBOT", "deploy").bot());
    for (id, restricted, ultra, stranger, bot, team) in [
        ("U0ALICE01", false, false, json!(null), false, "T0FAKE001"),
        ("U0GUEST01", true, false, json!(null), false, "T0FAKE001"),
        ("U0ONE0001", true, true, json!(null), false, "T0FAKE001"),
        ("U0STRANGE", false, false, json!(true), false, "T0OTHER"),
        ("U0OTHERBOT", false, false, json!(null), true, "T0FAKE001"),
    ] {
        let user = ask(&slack, "users.info", &format!("user={id}")).await["user"].clone();
        assert_eq!(
            (&user["is_restricted"], &user["is_ultra_restricted"], &user["is_stranger"]),
            (&json!(restricted), &json!(ultra), &stranger),
            "{id}"
        );
        assert_eq!((&user["is_bot"], &user["team_id"]), (&json!(bot), &json!(team)), "{id}");
    }
    assert_eq!(ask(&slack, "users.info", "user=U0NOBODY").await["error"], "user_not_found");
    let ts = slack.user_message(Post::new(GENERAL, "U0STRANGE", "hi"));
    let team = slack.look(|world| world.message(GENERAL, &ts).unwrap().json()["user_team"].clone());
    assert_eq!(team, "T0OTHER");
}

#[tokio::test]
async fn rates_are_limited_as_documented_on_demand() {
    let options = Options { limits: Limits::Documented, ..Options::default() };
    let slack = Slack::start(options).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&slack, "conversations.list", "").await["ok"], true);
    }
    let url = format!("{}/conversations.list", slack.api_url());
    let reply = send(get(&url, "xoxb-fake-1")).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.json()["error"].clone()), (429, json!("ratelimited")));
    assert_eq!(reply.headers["retry-after"], "60");
    assert_eq!(ask(&slack, "users.conversations", "").await["ok"], true);
}

#[tokio::test]
async fn two_workspaces_do_not_know_each_other() {
    let (one, two) = (start().await, Slack::start(Options::workspace(2)).await.unwrap());
    let url = format!("{}/auth.test", two.api_url());
    let answer = send(get(&url, &one.options().bot_token)).await.unwrap().json();
    assert_eq!(answer["error"], "invalid_auth");
    assert_eq!(ask(&two, "auth.test", "").await["team_id"], "T0FAKE002");
}
