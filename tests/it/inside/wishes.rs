//! Wishes to stop: whenever one comes, the run ends and is not tried again.

use std::time::Duration;

use hermitcrab::gateway::{Bounds, Options};
use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::{Call, FakeSandbox, Inside};
use serde_json::json;

use super::{
    Inhouse, answer, bounds, done, home, input, leave, left_behind, obliging, short, starts,
};
use crate::support::terminal::Terminal;

/// An agent that ends when it is asked to, and never by itself.
async fn obedient(inside: Inside) -> Exit {
    loop {
        let run = input(&inside.ipc(), "cancel").await["run"].as_u64().unwrap();
        let cancelled = done(run, "", None).replace("answer", "cancelled");
        leave(&inside.ipc(), "done.json", &cancelled.replace(r#""text":"","#, ""));
    }
}

/// Wishes a stop, and returns once the gateway has taken the wish: it takes one frame after the other.
async fn cancel(terminal: &mut Terminal) {
    terminal.send(json!({ "type": "cancel" })).await.unwrap();
    terminal.send(json!({ "type": "status" })).await.unwrap();
    terminal.next_of("status").await.unwrap();
}

/// However soon it comes: before the router has looked, while the claim is being written, or later.
#[tokio::test]
async fn a_wish_to_stop_is_never_lost() {
    const CONVERSATIONS: usize = 30;
    let sandbox = FakeSandbox::new();
    sandbox.always(obedient);
    let inhouse = Inhouse::start(sandbox).await;
    let socket = inhouse.home.path().join("store/chat.sock");
    let stopped = (0..CONVERSATIONS).map(|number| {
        let (socket, thread) = (socket.clone(), format!("t{number}"));
        async move {
            let mut terminal =
                Terminal::connect(&socket, "main", Some(&thread), None).await.unwrap();
            terminal.say(&thread, "hello").await.unwrap();
            match number % 3 {
                0 => {}
                1 => drop(terminal.next_of("kept").await.unwrap()),
                // Some wait for a slot until others are stopped.
                _ => drop(terminal.next_of("working").await.unwrap()),
            }
            terminal.send(json!({ "type": "cancel" })).await.unwrap();
            answer(&mut terminal).await
        }
    });
    for text in futures_util::future::join_all(stopped).await {
        assert_eq!(text, "Stopped.");
    }
    inhouse.gateway.stop().await;
}

#[tokio::test]
async fn a_wish_to_stop_ends_the_pause_before_another_attempt() {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), |_inside| async { Exit::Code(1) });
    sandbox.always(obliging);
    let pause = Bounds { retry: Duration::from_secs(3600), ..bounds() };
    let options = Options { bounds: pause, ..Options::default() };
    let inhouse = Inhouse::start_in(home(""), sandbox, options).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    let waiting = terminal.next_of("waiting").await.unwrap();
    assert!(waiting["reason"].as_str().unwrap().contains("trying again"), "{waiting}");
    terminal.send(json!({ "type": "cancel" })).await.unwrap();
    assert_eq!(answer(&mut terminal).await, "Stopped.");
    assert_eq!(starts(&inhouse.sandbox), 1);
    inhouse.gateway.stop().await;
}

#[tokio::test]
async fn a_wish_to_stop_counts_while_the_sandbox_of_a_failed_attempt_is_ended() {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), |_inside| async { Exit::Code(1) });
    sandbox.always(obliging);
    sandbox.stubborn();
    let inhouse = Inhouse::start(sandbox.clone()).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    sandbox.until(|calls| calls.iter().any(|call| matches!(call, Call::Stop(..)))).await;
    cancel(&mut terminal).await;
    sandbox.obedient();
    assert_eq!(answer(&mut terminal).await, "Stopped.");
    assert_eq!(starts(&sandbox), 1);
    inhouse.gateway.stop().await;
}

/// Also while the run of an earlier gateway is not taken up yet, because there is no sandbox.
#[tokio::test]
async fn a_wish_to_stop_reaches_what_an_earlier_gateway_left() {
    let sandbox = FakeSandbox::new();
    sandbox.always(obedient);
    let options = || Options { bounds: bounds(), patience: short(), ..Options::default() };
    let home = left_behind(&sandbox, options()).await;

    let inhouse = Inhouse::start_in(home, sandbox.clone(), options()).await;
    let mut terminal = inhouse.terminal().await;
    cancel(&mut terminal).await;
    sandbox.unavailable(None);
    assert_eq!(answer(&mut terminal).await, "Stopped.");
    assert_eq!(starts(&sandbox), 1);
    inhouse.gateway.stop().await;
}
