//! Socket Mode.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use test_servers::slack::{
    ALICE, DM, ELSEWHERE, EnvelopeKind, Fault, GENERAL, Options, Post, SOCKET, Slack, World,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{Socket, call, start, ticket};

/// A server that sends again after this many milliseconds without an ack.
async fn impatient(ack_ms: u64, attempts: usize) -> Slack {
    let options = Options::default().impatient(Duration::from_millis(ack_ms), attempts);
    Slack::start(options).await.unwrap()
}

#[tokio::test]
async fn a_mention_comes_twice_and_a_direct_message_once() {
    let slack = start().await;
    let mut socket = Socket::open(&slack).await;
    let ts = slack.user_message(Post::new(GENERAL, ALICE, "<@U0BOT0001> hello"));
    let (message, mention) = (socket.next().await.unwrap(), socket.next().await.unwrap());
    assert_eq!((&message["type"], &message["retry_attempt"]), (&json!("events_api"), &json!(0)));
    assert_ne!(message["payload"]["event_id"], mention["payload"]["event_id"]);
    for (envelope, kind) in [(&message, "message"), (&mention, "app_mention")] {
        let event = &envelope["payload"]["event"];
        assert_eq!((&event["type"], &event["ts"]), (&json!(kind), &json!(ts)));
        socket.ack(envelope).await;
    }
    slack.wait_for(|world| world.acked() == 2).await;
    slack.user_message(Post::new(DM, ALICE, "<@U0BOT0001> hello"));
    assert_eq!(socket.event().await["channel_type"], "im");
    slack.user_message(Post::new(ELSEWHERE, ALICE, "<@U0BOT0001> nobody hears"));
    call(&slack, "chat.postMessage", json!({ "channel": GENERAL, "text": "own" })).await;
    let own = socket.event().await;
    assert_eq!((&own["text"], &own["bot_id"]), (&json!("own"), &json!("B0BOT0001")));
    assert_eq!(slack.look(|world| world.deliveries().total()), 4);
}

#[tokio::test]
async fn only_subscribed_events_come() {
    let events = ["message.im".to_owned()].into();
    let slack = Slack::start(Options { events, ..Options::default() }).await.unwrap();
    let mut socket = Socket::open(&slack).await;
    slack.user_message(Post::new(GENERAL, ALICE, "<@U0BOT0001> unheard"));
    slack.user_message(Post::new(DM, ALICE, "heard"));
    assert_eq!(socket.event().await["text"], "heard");
}

#[tokio::test]
async fn what_is_not_acked_comes_again() {
    let slack = impatient(300, 2).await;
    let mut socket = Socket::open(&slack).await;
    slack.user_message(Post::new(DM, ALICE, "hello"));
    let first = socket.next().await.unwrap();
    let second = socket.next().await.unwrap();
    assert_eq!(first["payload"], second["payload"]);
    assert_ne!(first["envelope_id"], second["envelope_id"]);
    assert_eq!((&second["retry_attempt"], &second["retry_reason"]), (&json!(1), &json!("timeout")));
    let third = socket.next().await.unwrap();
    assert_eq!(third["retry_attempt"], 2);
    socket.ack(&third).await;
    // Too late to count, but not a stray.
    socket.ack(&first).await;
    socket.send(&json!({ "envelope_id": "unknown" })).await;
    slack.wait_for(|world| world.strays().total() == 1 && world.acked() == 1).await;
    slack.look(|world| {
        let acked: Vec<_> =
            world.deliveries().iter().map(|delivery| delivery.acked.is_some()).collect();
        assert_eq!(acked, [true, false, true]);
        assert_eq!(world.ack_times().len(), 2);
        assert!(world.deliveries().iter().all(|delivery| delivery.kind == EnvelopeKind::EventsApi));
    });
}

#[tokio::test]
async fn an_ack_is_lost_on_demand() {
    let slack = impatient(300, 1).await;
    let mut socket = Socket::open(&slack).await;
    slack.ignore_acks(1);
    slack.user_message(Post::new(DM, ALICE, "hello"));
    for attempt in [0, 1] {
        let envelope = socket.next().await.unwrap();
        assert_eq!(envelope["retry_attempt"], attempt);
        socket.ack(&envelope).await;
    }
    slack.wait_for(|world| world.acked() == 1 && world.unacked() == 0).await;
}

#[tokio::test]
async fn events_without_a_socket_are_lost() {
    let slack = start().await;
    slack.user_message(Post::new(DM, ALICE, "unheard"));
    let mut socket = Socket::open(&slack).await;
    slack.user_message(Post::new(DM, ALICE, "heard"));
    assert_eq!(socket.event().await["text"], "heard");
    assert_eq!(slack.look(|world| world.deliveries().iter().next().unwrap().socket), None);
}

#[tokio::test]
async fn a_ticket_is_good_once_and_for_a_time() {
    let slack = start().await;
    let url = ticket(&slack).await;
    assert!(Socket::dial(&url).await.is_ok());
    assert!(Socket::dial(&url).await.is_err());
    let slack =
        Slack::start(Options { ticket_ttl: Duration::ZERO, ..Options::default() }).await.unwrap();
    assert!(Socket::dial(&ticket(&slack).await).await.is_err());
}

#[tokio::test]
async fn several_sockets_take_turns_and_too_many_are_sent_away() {
    let slack = Slack::start(Options { max_sockets: 2, ..Options::default() }).await.unwrap();
    let (mut one, mut two) = (Socket::open(&slack).await, Socket::open(&slack).await);
    let mut three = Socket::dial(&ticket(&slack).await).await.unwrap();
    let frame = three.next().await.unwrap();
    assert_eq!(
        (&frame["type"], &frame["reason"]),
        (&json!("disconnect"), &json!("too_many_websockets"))
    );
    assert!(three.next().await.is_none());
    for text in ["1", "2", "3", "4"] {
        slack.user_message(Post::new(DM, ALICE, text));
    }
    for (socket, texts) in [(&mut one, ["1", "3"]), (&mut two, ["2", "4"])] {
        for text in texts {
            assert_eq!(socket.event().await["text"], text);
        }
    }
    assert_eq!(slack.look(|world| (world.sockets(), world.sockets_opened())), (2, 2));
}

#[tokio::test]
async fn a_socket_that_is_refreshed_gets_no_more_and_one_that_is_warned_does() {
    let slack = start().await;
    for (reason, old_gets_it) in
        [("warning", true), ("refresh_requested", false), ("link_disabled", false)]
    {
        let mut old = Socket::open(&slack).await;
        slack.disconnect(reason, Duration::from_millis(200));
        let goodbye = old.next().await.unwrap();
        assert_eq!((&goodbye["type"], &goodbye["reason"]), (&json!("disconnect"), &json!(reason)));
        slack.user_message(Post::new(DM, ALICE, "hello"));
        if old_gets_it {
            assert_eq!(old.event().await["text"], "hello");
        }
        assert!(old.next().await.is_none());
        slack.wait_for(|world| world.sockets() == 0).await;
        assert_eq!(
            slack.look(|world| world.deliveries().last().unwrap().socket.is_some()),
            old_gets_it
        );
    }
}

#[tokio::test]
async fn a_socket_is_aborted_or_falls_silent() {
    let options = Options { ping_interval: Duration::from_millis(20), ..Options::default() };
    let slack = Slack::start(options).await.unwrap();
    let mut socket = Socket::open(&slack).await;
    assert!(matches!(socket.frame().await, Some(Ok(Message::Ping(_)))));
    slack.abort_sockets();
    let end = loop {
        match socket.frame().await.unwrap() {
            Ok(_ping) => {}
            Err(end) => break end,
        }
    };
    assert!(matches!(&end, Error::Io(e) if e.kind() == ErrorKind::ConnectionReset), "{end}");
    slack.wait_for(|world| world.sockets() == 0).await;

    let mut silent = Socket::open(&slack).await;
    slack.stall_sockets();
    // What comes before the silence is over soon; then nothing, not even a ping, for many intervals.
    let mut quiet = false;
    while !quiet {
        let frame = tokio::time::timeout(Duration::from_millis(500), silent.frame()).await;
        quiet = frame.is_err();
    }
    slack.user_message(Post::new(DM, ALICE, "unheard"));
    assert_eq!(slack.look(|world| (world.sockets(), world.unacked())), (1, 1));
    slack.abort_sockets();
    assert!(!matches!(silent.frame().await, Some(Ok(_))));
}

#[tokio::test]
async fn a_silent_socket_loses_its_turn_when_an_ack_is_missing() {
    let slack = impatient(100, 50).await;
    let silent = Socket::open(&slack).await;
    slack.stall_sockets();
    slack.user_message(Post::new(DM, ALICE, "1"));
    let mut socket = Socket::open(&slack).await;
    assert_eq!(socket.event().await["text"], "1");
    for text in ["2", "3", "4"] {
        slack.user_message(Post::new(DM, ALICE, text));
        assert_eq!(socket.event().await["text"], text);
    }
    slack.wait_for(|world| world.acked() == 4).await;
    slack.look(|world| {
        let mut newest = world.deliveries().iter().rev().take(3);
        assert!(newest.all(|delivery| delivery.attempt == 0));
    });
    drop(silent);
}

#[tokio::test]
async fn an_event_outlives_the_socket_that_it_was_sent_on() {
    let slack = impatient(50, 200).await;
    let mut first = Socket::open(&slack).await;
    slack.user_message(Post::new(DM, ALICE, "hello"));
    assert!(first.next().await.is_some());
    drop(first);
    slack.wait_for(|world| world.deliveries().last().is_some_and(|d| d.socket.is_none())).await;
    let mut second = Socket::open(&slack).await;
    let again = second.next().await.unwrap();
    assert_eq!(again["payload"]["event"]["text"], "hello");
    assert_eq!(again["retry_reason"], "connection_failed");
}

#[tokio::test]
async fn a_new_socket_fails_on_demand() {
    let slack = start().await;
    for fault in [Fault::status(503), Fault::drop()] {
        slack.fault(fault.on(SOCKET).first(1));
        assert!(Socket::dial(&ticket(&slack).await).await.is_err());
    }
    slack.fault(Fault::error("link_disabled").on(SOCKET).first(1));
    let mut refused = Socket::dial(&ticket(&slack).await).await.unwrap();
    assert_eq!(refused.next().await.unwrap()["reason"], "link_disabled");
    assert!(refused.next().await.is_none());
    slack.fault(Fault::drop_after().on(SOCKET).first(1));
    let mut closed = Socket::dial(&ticket(&slack).await).await.unwrap();
    assert!(closed.next().await.is_none());
    slack.fault(Fault::hang().on(SOCKET).first(1));
    let mut late = Socket::dial(&ticket(&slack).await).await.unwrap();
    slack.wait_for(|world| world.hung() == 1).await;
    assert_eq!(slack.look(World::sockets), 0);
    slack.release();
    assert_eq!(late.next().await.unwrap()["type"], "hello");
    slack.frame("not JSON");
    assert!(matches!(late.frame().await, Some(Ok(Message::Text(text))) if text == "not JSON"));
}

#[tokio::test]
async fn a_command_is_answered_in_its_ack() {
    let slack = impatient(300, 1).await;
    let mut socket = Socket::open(&slack).await;
    slack.slash(GENERAL, ALICE, "/ask", "the sea");
    let command = socket.next().await.unwrap();
    assert_eq!(
        (&command["type"], &command["accepts_response_payload"]),
        (&json!("slash_commands"), &json!(true))
    );
    let answer = json!({ "envelope_id": command["envelope_id"], "payload": { "text": "wait" } });
    socket.send(&answer).await;
    let seen = slack.wait_some(|world| world.ephemerals().last().cloned()).await;
    assert_eq!(
        (seen.user.as_str(), seen.channel.as_str(), seen.message.text()),
        (ALICE, GENERAL, "wait")
    );
    // A command without an ack is not sent again.
    slack.slash(GENERAL, ALICE, "/ask", "again");
    assert!(socket.next().await.is_some());
    slack.wait_for(|world| world.unacked() == 0).await;
    slack.user_message(Post::new(DM, ALICE, "next"));
    assert_eq!(socket.event().await["text"], "next");
}
