//! Faults of the Web API, on demand.

use std::time::{Duration, Instant};

use serde_json::json;
use test_servers::slack::{BOB, DM, Fault, GENERAL, PRIVATE};

use crate::client::{call, request, send, start};

#[tokio::test]
async fn a_call_is_refused_in_every_way() {
    let slack = start().await;
    let post = json!({ "channel": GENERAL, "text": "x" });
    for (fault, status, error) in [
        (Fault::rate_limited(7), 429, "ratelimited"),
        (Fault::error("fatal_error"), 200, "fatal_error"),
        (Fault::status(503), 503, ""),
    ] {
        slack.fault(fault.on("chat.postMessage").first(1));
        let reply = send(request(&slack, "chat.postMessage", &post)).await.unwrap();
        assert_eq!(reply.status.as_u16(), status);
        if error.is_empty() {
            assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
        } else {
            assert_eq!(reply.json()["error"], error);
        }
        assert_eq!(reply.headers.get("retry-after").is_some(), status == 429);
        let call = slack.look(|world| world.all_calls().last().unwrap().clone());
        assert_eq!((call.status, call.carried_out), (status, false));
    }
    assert_eq!(call(&slack, "chat.postMessage", post).await["ok"], true);
    assert_eq!(slack.look(|world| world.said(GENERAL).len()), 1);
}

#[tokio::test]
async fn a_connection_closes_before_or_after_the_call_was_carried_out() {
    let slack = start().await;
    let post = json!({ "channel": GENERAL, "text": "x" });
    for (fault, said) in [(Fault::drop(), 0), (Fault::drop_after(), 1)] {
        slack.fault(fault.first(1));
        assert!(send(request(&slack, "chat.postMessage", &post)).await.is_err());
        assert_eq!(slack.look(|world| world.said(GENERAL).len()), said);
        let call = slack.look(|world| world.all_calls().last().unwrap().clone());
        assert_eq!((call.status, call.carried_out), (0, said == 1));
    }
}

#[tokio::test]
async fn a_call_hangs_until_it_is_released() {
    let slack = start().await;
    let post = json!({ "channel": GENERAL, "text": "x" });
    for (fault, said_while_hanging) in [(Fault::hang(), 0), (Fault::hang_after(), 2)] {
        slack.fault(fault.first(1));
        let hung = slack.look(test_servers::slack::World::hung);
        let test = async {
            slack.wait_for(|world| world.hung() == hung + 1).await;
            assert_eq!(slack.look(|world| world.said(GENERAL).len()), said_while_hanging);
            slack.release();
        };
        let (answer, ()) = tokio::join!(call(&slack, "chat.postMessage", post.clone()), test);
        assert_eq!(answer["ok"], true);
    }
    assert_eq!(slack.look(|world| world.said(GENERAL).len()), 2);
}

#[tokio::test]
async fn a_server_stops_with_a_call_that_hangs() {
    let slack = start().await;
    slack.fault(Fault::hang());
    let request = request(&slack, "auth.test", &json!({}));
    let stop = async {
        slack.wait_for(|world| world.hung() == 1).await;
        slack.stop().await;
    };
    let (reply, ()) = tokio::join!(send(request), stop);
    assert!(reply.is_err());
}

#[tokio::test]
async fn a_fault_knows_its_channel_and_its_turn() {
    let slack = start().await;
    slack.fault(Fault::error("not_in_channel").in_channel(PRIVATE));
    slack.fault(
        Fault::error("internal_error").on("chat.postMessage").in_channel(DM).after(1).first(1),
    );
    slack.fault(Fault::delay(Duration::from_millis(30)).on("reactions.add"));
    for (channel, expected) in [
        (PRIVATE, json!("not_in_channel")),
        (GENERAL, json!(null)),
        (DM, json!(null)),
        (DM, json!("internal_error")),
        (DM, json!(null)),
    ] {
        let answer =
            call(&slack, "chat.postMessage", json!({ "channel": channel, "text": "x" })).await;
        assert_eq!(answer["error"], expected, "{channel}");
    }
    let ts = slack.look(|world| world.said(GENERAL)[0].ts().to_owned());
    let before = Instant::now();
    let react = json!({ "channel": GENERAL, "timestamp": ts, "name": "eyes" });
    assert_eq!(call(&slack, "reactions.add", react.clone()).await["ok"], true);
    assert!(before.elapsed() >= Duration::from_millis(30));
    assert_eq!(call(&slack, "reactions.add", react).await["error"], "already_reacted");
    assert!(slack.react(GENERAL, &ts, "eyes", BOB) && slack.unreact(GENERAL, &ts, "eyes", BOB));
    slack.clear_faults();
    let answer = call(&slack, "chat.postMessage", json!({ "channel": PRIVATE, "text": "x" })).await;
    assert_eq!(answer["ok"], true);
}
