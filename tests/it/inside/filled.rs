//! Agents that fill the disk: wherever they do it, their own run fails and everybody else goes on.

use std::time::Duration;

use hermitcrab::sandbox::Exit;
use hermitcrab::sandbox::fake::{Call, FakeSandbox, Inside};
use serde_json::json;
use tokio::time::timeout;

use super::{Inhouse, answer, done, input, leave, obliging};
use crate::support::gateway::PATIENCE;

/// An agent that fills a folder on the host when it gets a prompt, and does nothing else but live.
async fn filling(inside: Inside, place: &str, files: u32, bytes: usize) -> Exit {
    let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
    let folder = inside.host(place).join("filled");
    std::fs::create_dir(&folder).unwrap();
    let alive = json!({ "run": run, "signs": [{ "type": "heartbeat" }] }).to_string();
    let beat = || leave(&inside.ipc(), "progress/00000001.json", &alive);
    for file in 0..files {
        std::fs::write(folder.join(file.to_string()), vec![1; bytes]).unwrap();
        if file % 100 == 0 {
            // On a busy machine this takes longer than an agent may be silent.
            beat();
        }
    }
    loop {
        beat();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_filled_disk_is_said(place: &'static str, files: u32, bytes: usize) {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), move |inside| filling(inside, place, files, bytes));
    sandbox.always(obliging);
    let inhouse = Inhouse::start(sandbox).await;
    inhouse.add_group("family").await;
    let (mut main, mut family) = (inhouse.terminal().await, inhouse.terminal_of("family").await);
    main.say("m1", "hello").await.unwrap();
    main.next_of("working").await.unwrap();
    family.say("f1", "hello").await.unwrap();
    assert_eq!(answer(&mut family).await, "answer of run 2");
    assert_eq!(
        answer(&mut main).await,
        "I could not answer: the agent filled more than 4 MiB of disk and was stopped. \
         Send your message again to retry."
    );
    main.say("m2", "hello").await.unwrap();
    assert_eq!(answer(&mut main).await, "answer of run 3");
    let runs = inhouse.json(&["runs", "--json"]).await;
    let states: Vec<_> = runs.as_array().unwrap().iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["done", "done", "given_up"], "{runs}");
    // Agents say that they had a model; nothing went through the broker.
    let costs = runs.as_array().unwrap().iter().map(|run| &run["usage"]["input_tokens"]);
    assert_eq!(costs.collect::<Vec<_>>(), [0, 0, 0], "{runs}");
    inhouse.gateway.stop().await;
}

#[tokio::test]
async fn an_agent_that_fills_its_home_is_stopped() {
    a_filled_disk_is_said("/home/agent", 1, 8 * 1024 * 1024).await;
}

#[tokio::test]
async fn an_agent_that_fills_its_groups_folder_is_stopped() {
    a_filled_disk_is_said("/workspace/group", 1, 8 * 1024 * 1024).await;
}

#[tokio::test]
async fn an_agent_that_fills_the_global_folder_is_stopped() {
    a_filled_disk_is_said("/workspace/global", 1, 8 * 1024 * 1024).await;
}

#[tokio::test]
async fn an_agent_that_fills_its_ipc_directory_is_stopped() {
    a_filled_disk_is_said("/workspace/ipc", 8, 1024 * 1024).await;
}

#[tokio::test]
async fn an_agent_that_makes_many_small_files_is_stopped() {
    a_filled_disk_is_said("/home/agent", 2_000, 1).await;
}

#[tokio::test]
async fn what_fills_the_disk_after_the_answer_is_stopped_as_well() {
    let sandbox = FakeSandbox::new();
    sandbox.expect(&"main".parse().unwrap(), |inside| async move {
        let run = input(&inside.ipc(), "prompt").await["run"].as_u64().unwrap();
        leave(&inside.ipc(), "done.json", &done(run, "done", None));
        // Until the gateway has taken the outcome, what is written counts for the run.
        while inside.ipc().join("done.json").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for file in 0.. {
            std::fs::write(
                inside.host("/home/agent").join(file.to_string()),
                "x".repeat(64 * 1024),
            )
            .unwrap();
            let patience = tokio::time::sleep(Duration::from_millis(5));
            tokio::select! {
                () = inside.stop.cancelled() => break,
                () = patience => {}
            }
        }
        Exit::Code(0)
    });
    let inhouse = Inhouse::start(sandbox.clone()).await;
    let mut terminal = inhouse.terminal().await;
    terminal.say("m1", "hello").await.unwrap();
    assert_eq!(answer(&mut terminal).await, "done");
    let given_up = async {
        while !sandbox.calls().iter().any(|call| matches!(call, Call::Stop(..))) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, given_up).await.unwrap();
    inhouse.gateway.stop().await;
}
