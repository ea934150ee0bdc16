//! Sandboxes that are prepared before anybody needs them: what goes wrong there stops nobody, and nothing is left.

use std::path::Path;

use hermitcrab::gateway::Options;
use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::FakeSandbox;

use super::{Inhouse, answer, home, obliging};

/// What lies in a folder of the store.
fn names(home: &Path, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(home.join("store").join(folder)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_panic_while_a_sandbox_is_prepared_costs_another_one_and_no_answer() {
    let sandbox = FakeSandbox::new();
    sandbox.always(obliging);
    sandbox.clumsy();
    let inhouse = Inhouse::start(sandbox).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    assert_eq!(answer(&mut terminal).await, "answer of run 1");
    let runs = inhouse.json(&["runs", "--json"]).await;
    assert_eq!(runs[0]["attempt"], 1, "{runs}");
    inhouse.gateway.stop().await;
}

#[tokio::test]
async fn nothing_that_was_prepared_is_left_by_a_gateway_that_stops() {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), |_inside| async { Exit::Code(1) });
    sandbox.always(obliging);
    let inhouse = Inhouse::start_in(home(""), sandbox, Options::default()).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    terminal.next_of("waiting").await.unwrap();
    let place = inhouse.home.path().to_owned();
    inhouse.gateway.stop().await;
    for folder in ["ipc/.claims", "ipc/main", "broker"] {
        assert_eq!(names(&place, folder), Vec::<String>::new(), "{folder}");
    }
}
