//! A stop: in time, whatever hangs, and with nothing lost.

use std::sync::Arc;
use std::time::Duration;

use hermitcrab::config::Settings;
use hermitcrab::gateway::{Bounds, Gateway, Options, Patience};
use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::FakeSandbox;
use tokio::time::timeout;

use super::{Inhouse, answer, input, obliging};
use crate::support::terminal::Terminal;

/// What hangs is left behind, and neither its run nor the store is lost with it.
#[tokio::test]
async fn a_stop_ends_at_its_deadline_whatever_hangs() {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), obliging);
    sandbox.expect(&"family".parse().unwrap(), |_inside| std::future::pending::<Exit>());
    sandbox.always(obliging);
    let patience = Patience {
        stop: Duration::from_secs(2),
        grace: Duration::from_millis(100),
        last: Duration::from_secs(1),
    };
    let options = Options { patience, ..Options::default() };
    let inhouse = Inhouse::start_with(sandbox, options).await;
    inhouse.add_group("family").await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    assert_eq!(answer(&mut terminal).await, "answer of run 1");
    let mut family = inhouse.terminal_of("family").await;
    family.say("f1", "hello").await.unwrap();
    family.next_of("working").await.unwrap();
    // One sandbox is warm and one at work, and neither can be stopped any more.
    let Inhouse { home, sandbox, gateway } = inhouse;
    sandbox.unavailable(Some(("the daemon hangs", "restart it")));
    timeout(Duration::from_secs(4), gateway.stop()).await.expect("a stop in time");

    sandbox.unavailable(None);
    let settings = Settings::load(Some(home.path().to_owned())).unwrap();
    let bounds = Bounds {
        retry: Duration::from_millis(1),
        silence: Duration::from_secs(2),
        ..Bounds::default()
    };
    let options = Options { bounds, sandbox: Some(Arc::new(sandbox)), ..Options::default() };
    let gateway = Gateway::start_with(settings, options).await.expect("the store is free");
    let socket = home.path().join("store/chat.sock");
    let mut family = Terminal::connect(&socket, "family", None, None).await.unwrap();
    assert!(answer(&mut family).await.starts_with("answer of run "));
    gateway.stop().await;
}

/// The new one may begin at once, although what was left behind by the old one has not ended.
#[tokio::test]
async fn a_stopped_gateway_can_be_started_again_at_once() {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), |inside| async move {
        input(&inside.ipc(), "prompt").await;
        std::future::pending::<Exit>().await
    });
    sandbox.always(obliging);
    let patience = Patience {
        stop: Duration::from_secs(20),
        grace: Duration::from_millis(50),
        last: Duration::from_secs(10),
    };
    let options =
        || Options { patience, sandbox: Some(Arc::new(sandbox.clone())), ..Options::default() };
    let inhouse = Inhouse::start_with(sandbox.clone(), options()).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    terminal.next_of("working").await.unwrap();
    let Inhouse { home, sandbox: _, mut gateway } = inhouse;
    for _ in 0..3 {
        gateway.stop().await;
        let settings = Settings::load(Some(home.path().to_owned())).unwrap();
        gateway = Gateway::start_with(settings, options()).await.expect("the store is free");
    }
    let socket = home.path().join("store/chat.sock");
    let mut terminal = Terminal::connect(&socket, "main", None, None).await.unwrap();
    assert!(answer(&mut terminal).await.starts_with("answer of run "));
    gateway.stop().await;
}

#[tokio::test]
async fn a_stopping_gateway_puts_back_what_it_cannot_finish() {
    let sandbox = FakeSandbox::new();
    sandbox.always(|_inside| std::future::pending::<Exit>());
    let inhouse = Inhouse::start(sandbox).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    terminal.next_of("working").await.unwrap();
    let Inhouse { home, sandbox: _, gateway } = inhouse;
    // The grace period of ten seconds is real time: runs may use it.
    gateway.stop().await;
    let settings = Settings::load(Some(home.path().to_owned())).unwrap();
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    let options = Options { sandbox: Some(Arc::new(sandbox)), ..Options::default() };
    let gateway = Gateway::start_with(settings, options).await.unwrap();
    let socket = home.path().join("store/chat.sock");
    let mut terminal = Terminal::connect(&socket, "main", None, None).await.unwrap();
    assert_eq!(answer(&mut terminal).await, "answer of run 2");
    gateway.stop().await;
}
