//! Whom a call is put to: patience, fail-over, giving up, hanging up.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use test_servers::model::{Denial, Failure, Fault, FaultKind, Script, Server};
use tokio::net::TcpListener;

use super::support::{House, Reply, Upstream, anthropic, bedrock, both, post, streamed, whole};
use crate::broker::{Fault as ProviderFault, ProviderState};

async fn server(script: Script) -> Server {
    Server::start(script).await.unwrap()
}

fn faults(house: &House) -> Vec<Option<ProviderFault>> {
    let providers = house.broker.state().providers;
    providers.into_iter().map(|provider| provider.fault).collect()
}

#[tokio::test]
async fn a_retry_after_is_waited_for() {
    let server = server(Script::echo().fault(Fault::rate_limited(1).first(1))).await;
    let house = House::new(&anthropic(&server.url()));
    let started = Instant::now();
    let reply = house.ask(&streamed("hello")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(server.count(), 2);
    let nothing = ProviderState { name: "anthropic", back_off_until: None, fault: None };
    assert_eq!(house.broker.state().providers, [nothing]);
}

#[tokio::test]
async fn a_provider_that_asks_for_much_patience_is_left_alone_by_everybody() {
    for settings in [anthropic, bedrock] {
        let server = server(Script::echo().fault(Fault::rate_limited(3_000))).await;
        let house = House::new(&settings(&server.url()));
        let first = house.ask(&whole("hello")).await;
        assert_eq!((first.status.as_u16(), first.error().as_str()), (429, "rate_limit_error"));
        assert_eq!(first.headers["retry-after"], "3000");
        let second = house.ask(&whole("hello")).await;
        assert_eq!((second.status.as_u16(), second.error().as_str()), (529, "overloaded_error"));
        let wait: u64 = second.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((2_900..=3_000).contains(&wait), "{wait}");
        assert_eq!(server.count(), 1);

        let state = house.broker.state().providers.remove(0);
        assert_eq!(state.fault, Some(ProviderFault::Busy));
        let ahead = state.back_off_until.unwrap().duration_since(jiff_now()).as_secs();
        assert!((2_900..=3_000).contains(&ahead), "{ahead}");
    }
}

fn jiff_now() -> jiff::Timestamp {
    crate::clock::system().now()
}

#[tokio::test]
async fn the_second_provider_steps_in_and_stays_the_first_choice_for_a_while() {
    for fault in [
        Fault::overloaded(),
        Fault::internal(),
        Fault::refuse(Failure::ModelStream),
        Fault::breaks(Failure::Overloaded, 0),
        Fault::cut(0),
    ] {
        let (first, second) =
            (server(Script::echo().fault(fault.clone())).await, server(Script::echo()).await);
        let house = House::new(&both(&first.url(), &second.url()));
        for n in 1..=2 {
            let reply = house.ask(&streamed("hello")).await;
            assert_eq!(reply.status, 200, "{fault:?}: {reply:?}");
            assert!(reply.text().contains("echo"), "{fault:?}: {}", reply.text());
            assert_eq!((first.count(), second.count()), (1, n), "{fault:?}");
        }
        assert!(faults(&house)[0].is_some(), "{fault:?}");
        assert_eq!(second.wait_for(1).await[0].body["model"], "claude-sonnet-4-5-20250929");
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_stepped_in_for() {
    let second = server(Script::echo()).await;
    let house = House::new(&both(&nowhere().await, &second.url()));
    assert_eq!(house.ask(&whole("hello")).await.status, 200);
    assert_eq!(faults(&house), [Some(ProviderFault::Broken), None]);

    // Also over TLS, of which both clients bring their own; and with nobody else to ask it is said.
    for settings in [anthropic, bedrock] {
        let house = House::new(&settings(&nowhere().await.replace("http:", "https:")));
        let reply = house.ask(&whole("hello")).await;
        assert_eq!((reply.status.as_u16(), reply.error().as_str()), (502, "api_error"));
        assert_eq!(faults(&house), [Some(ProviderFault::Broken)]);
    }
}

/// An address at which nobody listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_begun_again() {
    for (fault, told) in [(Fault::cut(3), false), (Fault::breaks(Failure::ModelStream, 3), true)] {
        let (first, second) =
            (server(Script::echo().fault(fault)).await, server(Script::echo()).await);
        let house = House::new(&both(&first.url(), &second.url()));
        let mut inside = house.connect().await;
        let response = inside.send(post("/v1/messages", &streamed("hello"))).await;
        assert_eq!(response.status(), 200);
        match Reply::read(response).await {
            Some(reply) => {
                let (name, event) = reply.events().pop().unwrap();
                assert_eq!(
                    (told, name.as_str(), &event["error"]["type"]),
                    (true, "error", &"api_error".into())
                );
            }
            None => assert!(!told, "the stream should have told why it ends"),
        }
        assert_eq!((first.count(), second.count()), (1, 0));
        assert_eq!(house.book.recorded(1).await.len(), 1);
    }
}

#[tokio::test]
async fn a_provider_that_refuses_us_is_stepped_in_for_and_not_asked_with_every_call() {
    let wrong_region = Failure::Invalid("The provided model identifier is invalid.".to_owned());
    for (fault, known) in [
        (Fault::unauthorized(), ProviderFault::Unauthorized),
        (Fault::refuse(Failure::Unauthorized(Denial::Bearer)), ProviderFault::Denied),
        (Fault::refuse(Failure::NotFound("x".to_owned())), ProviderFault::Denied),
        (Fault::refuse(wrong_region), ProviderFault::Denied),
    ] {
        let (refusing, other) =
            (server(Script::echo().fault(fault.clone())).await, server(Script::echo()).await);
        let house = House::new(&both(&refusing.url(), &other.url()));
        for n in 1..=3 {
            let reply = house.ask(&streamed("hello")).await;
            assert_eq!(reply.status, 200, "{fault:?}: {reply:?}");
            assert_eq!((refusing.count(), other.count()), (1, n), "{fault:?}");
        }
        assert_eq!(faults(&house), [Some(known), None], "{fault:?}");
    }
}

#[tokio::test]
async fn a_second_provider_that_refuses_us_does_not_end_the_wait_for_the_first() {
    let busy = server(Script::echo().fault(Fault::rate_limited(1).first(1))).await;
    let refusing = server(Script::echo().fault(Fault::unauthorized())).await;
    let house = House::new(&both(&busy.url(), &refusing.url()));
    assert_eq!(house.ask(&streamed("hello")).await.status, 200);
    assert_eq!((busy.count(), refusing.count()), (2, 1));
    assert_eq!(faults(&house), [None, Some(ProviderFault::Unauthorized)]);
}

#[tokio::test]
async fn when_all_refuse_the_most_useful_sentence_is_said() {
    for (first, second, status, error) in [
        (
            Fault::refuse(Failure::NotFound("x".to_owned())),
            Fault::unauthorized(),
            401,
            "authentication_error",
        ),
        (Fault::unauthorized(), Fault::internal(), 500, "api_error"),
        (Fault::internal(), Fault::unauthorized(), 500, "api_error"),
        (Fault::unauthorized(), Fault::prompt_too_long(), 400, "invalid_request_error"),
    ] {
        let told = format!("{first:?} {second:?}");
        let first = server(Script::echo().fault(first)).await;
        let second = server(Script::echo().fault(second)).await;
        let house = House::new(&both(&first.url(), &second.url()));
        for _ in 0..2 {
            let reply = house.ask(&whole("hello")).await;
            assert_eq!((reply.status.as_u16(), reply.error().as_str()), (status, error), "{told}");
        }
    }
}

#[tokio::test]
async fn wrong_requests_are_said_at_once() {
    let fault = Fault::prompt_too_long();
    let (first, second) = (server(Script::echo().fault(fault)).await, server(Script::echo()).await);
    let house = House::new(&both(&first.url(), &second.url()));
    let reply = house.ask(&streamed("hello")).await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (400, "invalid_request_error"));
    assert_eq!(faults(&house), [None, None]);
    assert_eq!((first.count(), second.count()), (1, 0));
    let server = server(Script::echo().fault(Fault::unauthorized())).await;
    let reply = House::new(&anthropic(&server.url())).ask(&whole("hello")).await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (401, "authentication_error"));
}

#[tokio::test]
async fn errors_in_the_provider_are_passed_on_when_nobody_can_step_in() {
    for settings in [anthropic, bedrock] {
        let server = server(Script::echo().fault(Fault::internal())).await;
        let reply = House::new(&settings(&server.url())).ask(&whole("hello")).await;
        assert_eq!((reply.status.as_u16(), reply.error().as_str()), (500, "api_error"));
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn damaged_streams_of_bedrock_end_the_answer() {
    for fault in [FaultKind::Malformed { at: 3 }, FaultKind::Garbled { at: 3 }] {
        let server = server(Script::echo().fault(fault.into())).await;
        let house = House::new(&bedrock(&server.url()));
        let mut inside = house.connect().await;
        let response = inside.send(post("/v1/messages", &streamed("hello"))).await;
        assert!(Reply::read(response).await.is_none(), "the answer should break off");
        assert_eq!(house.book.recorded(1).await.len(), 1);
    }
}

#[tokio::test]
async fn hanging_up_before_the_answer_hangs_up_on_the_provider() {
    let (upstream, url) = Upstream::new().await;
    let house = House::new(&anthropic(&url));
    let mut inside = house.connect().await;
    let asking = async {
        let response = inside.send(post("/v1/messages", &streamed("hello"))).await;
        panic!("answered: {response:?}");
    };
    let provider = tokio::select! {
        provider = upstream.accept() => provider,
        () = asking => unreachable!(),
    };
    drop(inside);
    provider.hung_up().await;
    assert_eq!(house.book.recorded(0).await.len(), 0, "nothing was answered");
}

#[tokio::test]
async fn hanging_up_in_the_middle_hangs_up_on_the_provider_and_is_counted() {
    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":\
        {\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n";
    let (upstream, url) = Upstream::new().await;
    let mut house = House::new(&anthropic(&url));
    let mut inside = house.connect().await;
    let provider = async {
        let mut provider = upstream.accept().await;
        provider.begin_stream().await;
        provider.send(START).await;
        provider
    };
    let request = post("/v1/messages", &streamed("hello"));
    let (provider, mut response) = tokio::join!(provider, inside.send(request));
    assert_eq!(response.headers().get("set-cookie"), None);
    let first = response.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, START.as_bytes());
    drop((response, inside));
    provider.hung_up().await;
    let (_, usage) = house.book.recorded(1).await.remove(0);
    assert_eq!((usage.requests, usage.input_tokens, usage.output_tokens), (1, 7, 1));
    house.door = None;
    house.broker.settle().await;
}
