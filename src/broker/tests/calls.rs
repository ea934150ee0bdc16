//! Model calls: what goes out, what comes back, what is counted.

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use test_servers::model::{Fault, Keys, Script, Server, Turn, Usage as ServerUsage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::support::{
    CANARY, House, Inside, Reply, Upstream, anthropic, bedrock, client, demo, own_user, post,
    request, streamed, whole,
};
use crate::config::{AnthropicCredential, ModelSettings};
use crate::model::Usage;

fn keys() -> Keys {
    Keys { api: Some(CANARY.to_owned()), ..Keys::default() }
}

#[tokio::test]
async fn the_key_is_put_in_and_what_the_sandbox_smuggles_is_left_out() {
    let server = Server::start(Script::echo().keys(keys())).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    let mut request = post("/v1/messages?beta=true&smuggled=1", &whole("hello"));
    for name in
        ["authorization", "cookie", "x-forwarded-for", "anthropic-organization", "x-smuggled"]
    {
        request.headers_mut().insert(name, HeaderValue::from_static("smuggled"));
    }
    let betas = HeaderValue::from_static("a-2025-01-01,oauth-2025-04-20");
    request.headers_mut().insert("anthropic-beta", betas);
    let reply = house.connect().await.exchange(request).await;
    assert_eq!(reply.status, 200, "{reply:?}");

    let seen = server.wait_for(1).await.remove(0);
    assert_eq!(seen.path, "/v1/messages");
    assert_eq!(seen.header("x-api-key"), Some(CANARY));
    assert_eq!(seen.header("anthropic-beta"), Some("a-2025-01-01"));
    assert_eq!(seen.body["model"], demo().model);
    let mut names: Vec<&str> = seen.headers.keys().map(hyper::header::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-length",
        "content-type",
        "host",
        "x-api-key",
    ];
    assert_eq!(names, expected);
    let text = format!("{:?}{:?}", reply.headers, reply.body);
    assert!(!text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn a_token_of_a_subscription_goes_as_bearer_with_its_beta() {
    let server = Server::start(Script::echo().keys(keys())).await.unwrap();
    let mut settings = anthropic(&server.url());
    settings.anthropic.as_mut().unwrap().credential =
        AnthropicCredential::OauthToken(CANARY.into());
    let reply = House::new(&settings).ask(&whole("hello")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = server.wait_for(1).await.remove(0);
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(seen.header("anthropic-beta"), Some("oauth-2025-04-20"));
    assert_eq!(seen.header("x-api-key"), None);
}

#[tokio::test]
async fn a_stream_passes_as_it_comes_and_byte_by_byte() {
    const PIECES: [&str; 4] = [
        "event: message_start\r\ndata: {\"type\" : \"message_start\",\r\n",
        "data: \"message\":{}}\r\n\r\n: a comment\n\nevent:  odd\nda",
        "ta:no JSON \u{fe0f}\nid: 7\n\n",
        "event: message_stop\ndata: {}\n\n\n",
    ];
    let (upstream, url) = Upstream::new().await;
    let house = House::new(&anthropic(&url));
    let mut inside = house.connect().await;
    let provider = async {
        let mut provider = upstream.accept().await;
        provider.begin_stream().await;
        provider.send(PIECES[0]).await;
        // The head of the answer waits for the first event, lest that be an error.
        provider.send(PIECES[1]).await;
        provider
    };
    let request = post("/v1/messages", &streamed("hello"));
    let (mut provider, mut response) = tokio::join!(provider, inside.send(request));
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut heard = Vec::new();
    for sent in 2..=PIECES.len() {
        let expected = PIECES[..sent].concat();
        while heard.len() < expected.len() {
            heard.extend(response.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(heard, expected.as_bytes());
        // Only now is the next piece sent.
        if let Some(next) = PIECES.get(sent) {
            provider.send(next).await;
        }
    }
    provider.end_stream().await;
    assert!(response.frame().await.is_none());
}

#[tokio::test]
async fn bedrock_streams_the_same_events() {
    let script = || {
        let usage = ServerUsage { input: 5, output: 6, ..ServerUsage::default() };
        let turn = Turn::text("Well, hello.").and_tool("bash", json!({"command": "ls"}));
        let turn = turn.usage(usage);
        Script::echo().on("hello", [turn])
    };
    let (one, other) =
        (Server::start(script()).await.unwrap(), Server::start(script()).await.unwrap());
    let by_anthropic = House::new(&anthropic(&one.url())).ask(&streamed("hello")).await;
    let by_bedrock = House::new(&bedrock(&other.url())).ask(&streamed("hello")).await;
    assert_eq!(by_bedrock.status, 200, "{by_bedrock:?}");
    assert_eq!(by_bedrock.headers["content-type"], "text/event-stream; charset=utf-8");
    let events = |reply: &Reply| -> Vec<(String, Value)> {
        let mut events = reply.events();
        // Only Anthropic sends pings, and every message has an id of its own.
        events.retain(|(name, _)| name != "ping");
        for (_, event) in &mut events {
            for id in ["/message/id", "/message/model", "/content_block/id"] {
                event.pointer_mut(id).map(Value::take);
            }
        }
        events
    };
    assert_eq!(events(&by_bedrock), events(&by_anthropic));
    assert!(events(&by_bedrock).len() > 5);

    let seen = other.wait_for(1).await.remove(0);
    let expected =
        "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream";
    assert_eq!(seen.path, expected);
    assert_eq!(seen.body["anthropic_version"], "bedrock-2023-05-31");
    assert_eq!((seen.body.get("model"), seen.body.get("stream")), (None, None));
    let signature = seen.header("authorization").unwrap();
    assert!(signature.contains("AKIATEST") && signature.contains("/eu-central-1/bedrock/"));
}

#[tokio::test]
async fn bedrock_answers_in_one_piece_and_cannot_count() {
    let server = Server::start(Script::echo()).await.unwrap();
    let house = House::new(&bedrock(&server.url()));
    let reply = house.ask(&whole("hello")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["stop_reason"], "end_turn");
    let mut inside = house.connect().await;
    let reply = inside.exchange(post("/v1/messages/count_tokens", &whole("hello"))).await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (400, "invalid_request_error"));
}

#[tokio::test]
async fn what_a_call_cost_is_in_the_ledger_when_its_answer_ends() {
    let usage = ServerUsage { input: 1_000, output: 100, cache_write: 40, cache_read: 2_000 };
    let script = Script::echo().on("hello", [Turn::text("hi").usage(usage)]);
    let server = Server::start(script).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    for (n, body) in [(1, streamed("hello")), (2, whole("hello"))] {
        assert_eq!(house.ask(&body).await.status, 200);
        let recorded = house.book.recorded(n).await;
        let expected = Usage {
            requests: 1,
            input_tokens: 1_000,
            output_tokens: 100,
            cache_read_tokens: 2_000,
            cache_write_tokens: 40,
            // By the list: 3,000 + 1,500 + 600 + 150.
            cost_micros: 5_250,
        };
        assert_eq!((recorded.len(), recorded[n - 1].1), (n, expected));
    }
    let mut inside = house.connect().await;
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    let reply = inside.exchange(post("/v1/messages/count_tokens", &body)).await;
    assert!(reply.json()["input_tokens"].is_u64(), "{reply:?}");
    assert_eq!(house.book.recorded(0).await.len(), 2, "counting tokens costs nothing");
}

#[tokio::test]
async fn who_asks_is_known_by_the_door() {
    let house = House::new(&demo());
    let other = tempfile::TempDir::new().unwrap();
    let socket = house.broker.bind(other.path(), own_user()).unwrap();
    let _door = house.broker.open_socket(socket, client("guests", &[]));
    let stream = UnixStream::connect(other.path().join("broker.sock")).await.unwrap();
    let mut request = post("/v1/messages", &whole("I am kin"));
    request.headers_mut().insert("x-group", HeaderValue::from_static("kin"));
    assert_eq!(Inside::new(stream).await.exchange(request).await.status, 200);
    let (group, usage) = house.book.recorded(1).await.remove(0);
    assert_eq!((group.as_str(), usage.requests, usage.cost_micros), ("guests", 1, 0));
}

#[tokio::test]
async fn a_budget_that_is_used_up_stops_before_the_call() {
    let server = Server::start(Script::echo()).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    *house.book.refusal.lock().unwrap() = Some("the budget is used up".to_owned());
    let reply = house.ask(&whole("hello")).await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (403, "hermitcrab_refused"));
    assert_eq!(reply.json()["error"]["message"], "the budget is used up");
    assert_eq!((server.count(), house.book.recorded(0).await.len()), (0, 0));
}

#[tokio::test]
async fn a_budget_that_could_not_stop_a_model_stops_it_before_the_call() {
    let server = Server::start(Script::echo()).await.unwrap();
    let unknown = ModelSettings { model: "claude-opus-4-9".to_owned(), ..anthropic(&server.url()) };
    let known = anthropic(&server.url());
    let named = json!({ "model": "claude-opus-4-9", "max_tokens": 9, "messages": [] });
    let free = ModelSettings { model: unknown.model.clone(), ..demo() };
    for (settings, body, budget, status) in [
        (&unknown, whole("hello"), true, 403),
        (&known, named, true, 403),
        (&unknown, whole("hello"), false, 200),
        (&known, whole("hello"), true, 200),
        (&free, whole("hello"), true, 200),
    ] {
        let house = House::new(settings);
        *house.book.budget.lock().unwrap() = budget.then_some(10_000_000);
        let asked = server.count();
        let reply = house.ask(&body).await;
        assert_eq!(reply.status.as_u16(), status, "{body} {budget}");
        if status == 403 {
            assert_eq!((reply.error().as_str(), server.count()), ("hermitcrab_refused", asked));
            let sentence = reply.json()["error"]["message"].to_string();
            for part in ["claude-opus-4-9", "ANTHROPIC_MODEL", "group set kin --budget -"] {
                assert!(sentence.contains(part), "{sentence}");
            }
        }
    }
}

#[tokio::test]
async fn calls_that_are_made_together_do_not_spend_the_same_rest_of_a_budget() {
    // Each costs 0.15 dollars, and says beforehand that it may.
    let turn = Turn::text("hi").usage(ServerUsage { output: 10_000, ..ServerUsage::default() });
    let script = Script::echo().on("hello", [turn]).fault(Fault::hang("held").first(1));
    let server = Server::start(script).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    *house.book.budget.lock().unwrap() = Some(100_000);
    let mut body = whole("hello");
    body["max_tokens"] = 10_000.into();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (mut inside, body) = (house.connect().await, body.clone());
        asking.spawn(async move { inside.ask(&body).await.status.as_u16() });
    }
    server.gate("held").arrived(1).await;
    server.gate("held").open();
    let mut answers = asking.join_all().await;
    answers.sort_unstable();
    // The first is let through alone; those that waited for it find nothing left.
    assert_eq!(answers, [&[200][..], &[403; 15]].concat());
    assert_eq!((server.count(), house.book.recorded(1).await.len()), (1, 1));
}

#[tokio::test]
async fn a_budget_covers_no_options_of_another_price() {
    let server = Server::start(Script::echo()).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    for (budget, status) in [(None, 200), (Some(10_000_000), 403)] {
        *house.book.budget.lock().unwrap() = budget;
        let mut request = post("/v1/messages", &whole("hello"));
        let beta = HeaderValue::from_static("context-1m-2025-08-07");
        request.headers_mut().insert("anthropic-beta", beta);
        assert_eq!(house.connect().await.exchange(request).await.status, status, "{budget:?}");
    }
    let mut body = whole("hello");
    body["speed"] = "fast".into();
    let reply = house.ask(&body).await;
    let sentence = reply.json()["error"]["message"].to_string();
    assert!(sentence.contains("speed") && sentence.contains("set kin --budget -"), "{sentence}");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_loop_gone_wild_is_slowed_down() {
    let house = House::new(&demo());
    let mut inside = house.connect().await;
    let mut refused = None;
    for _ in 0..=crate::broker::rate::CALLS_PER_MINUTE * 2 {
        let reply = inside.exchange(post("/v1/messages/count_tokens", &whole("x"))).await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let reply = refused.expect("a refusal");
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (429, "hermitcrab_refused"));
    assert_eq!(reply.headers["retry-after"], "1");
}

#[tokio::test]
async fn who_only_asks_for_what_is_refused_is_slowed_down_and_hung_up_on() {
    let house = House::new(&demo());
    let junk = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    let started = std::time::Instant::now();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let stream = UnixStream::connect(house.socket()).await.unwrap();
        let (mut from_broker, mut to_broker) = stream.into_split();
        let mut heard = Vec::new();
        // It hangs up on what is not read any more, so writing may fail.
        let (read, _) =
            tokio::join!(from_broker.read_to_end(&mut heard), to_broker.write_all(junk.as_bytes()));
        read.ok();
        answers.push(String::from_utf8(heard).unwrap().matches("HTTP/1.1 403").count());
    }
    // A burst of so many requests, of which each refused one counts for eleven; then one connection for each.
    assert!((50..=60).contains(&answers[0]), "{answers:?}");
    assert!(answers[1..].iter().all(|&count| count <= 1), "{answers:?}");
    assert!(started.elapsed() >= std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    // Others are not concerned, nor is it kept from what it may have.
    assert_eq!(house.ask(&whole("hello")).await.status, 200);
}

#[tokio::test]
async fn only_what_is_on_the_list_is_offered() {
    let server = Server::start(Script::echo()).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    let mut inside = house.connect().await;
    for (method, uri) in [
        (Method::GET, "/v1/messages"),
        (Method::PUT, "/v1/messages"),
        (Method::POST, "/v1/messages/"),
        (Method::POST, "/v1/messages/batches"),
        (Method::POST, "/v1/messages/../files"),
        (Method::POST, "//v1/messages"),
        (Method::POST, "/V1/messages"),
        (Method::POST, "/v1/%6dessages"),
        (Method::POST, "/v1/files"),
        (Method::GET, "/v1/models"),
        (Method::POST, "/model/x/invoke"),
        (Method::DELETE, "/"),
        (Method::OPTIONS, "*"),
        (Method::GET, "http://example.org/"),
        (Method::POST, "http://127.0.0.1:8383/v1/messages"),
    ] {
        let reply = inside.exchange(request(method.clone(), uri, Bytes::from_static(b"{}"))).await;
        assert_eq!(reply.status, 403, "{method} {uri}");
        assert_eq!(reply.error(), "hermitcrab_refused", "{method} {uri}");
    }
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(inside.exchange(request(method, "/", Bytes::new())).await.status, 200);
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn wrong_bodies_are_refused_before_the_call() {
    let server = Server::start(Script::echo()).await.unwrap();
    let house = House::new(&anthropic(&server.url()));
    for (body, status) in [
        (Bytes::from_static(b"no JSON"), 400),
        (Bytes::from_static(br#"{"model":1}"#), 400),
        (Bytes::from_static(br#"{"tools":[{"type":"web_fetch_20250910"}]}"#), 403),
        (Bytes::from(vec![b' '; (32 << 20) + 1]), 413),
    ] {
        let request = request(Method::POST, "/v1/messages", body);
        // Whoever sends too much may be cut off before the end, but gets the answer.
        let reply = Reply::read(house.connect().await.send(request).await).await.unwrap();
        assert_eq!(reply.status, status, "{reply:?}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn the_demo_works_through_a_tool_loop() {
    let house = House::new(&demo());
    let mut inside = house.connect().await;
    let prompt =
        "<messages><message sender=\"A\" time=\"t\">@Andy run: echo hi</message></messages>";
    let turn = inside.ask(&streamed(prompt)).await;
    let events = turn.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("message_start", "message_stop"));
    let start = events.iter().find(|(name, _)| name == "content_block_start").unwrap();
    assert_eq!(start.1["content_block"]["name"], "bash");
    let id = start.1["content_block"]["id"].clone();
    let input: String =
        events.iter().filter_map(|(_, event)| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), json!({"command": "echo hi"}));

    let mut body = streamed(prompt);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": [
        {"type": "tool_use", "id": id.clone(), "name": "bash", "input": {"command": "echo hi"}}]}));
    messages.push(json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": id, "content": "hi\n"}]}));
    assert_eq!(inside.ask(&body).await.text(), "The command printed:\n\n```\nhi\n```");

    let words = inside.ask(&whole("hello")).await.json();
    assert!(words["content"][0]["text"].as_str().unwrap().contains("ANTHROPIC_API_KEY="));
    assert_eq!(
        house.book.recorded(3).await.iter().map(|(_, usage)| usage.cost_micros).sum::<u64>(),
        0
    );
}

#[tokio::test]
async fn a_check_says_who_answers_and_why_not() {
    let good = Server::start(Script::echo()).await.unwrap();
    let bad = Server::start(Script::echo().fault(Fault::unauthorized())).await.unwrap();
    let check = async |settings: &ModelSettings| House::new(settings).broker.check().await;
    let words = check(&anthropic(&good.url())).await.unwrap();
    assert!(words.starts_with("anthropic answers for claude-sonnet-4-5-20250929 in "), "{words}");
    assert!(check(&bedrock(&good.url())).await.unwrap().starts_with("bedrock answers"));
    assert!(check(&demo()).await.unwrap().contains("demo"));
    let error = check(&anthropic(&bad.url())).await.unwrap_err().to_string();
    assert!(error.starts_with("anthropic does not answer: ") && error.contains("401"), "{error}");
    assert!(!error.contains(CANARY));
}
