//! Answers as people see them: they grow, they come in parts, they are stopped, and they follow what was changed.

use std::time::Duration;

use serde_json::Value;
use test_servers::model::{Fault, Script, Turn};
use test_servers::slack::{ALICE, GENERAL, World};

use super::{Firm, WAIT, answered};
use crate::slack::real::register;
use crate::slack::streaming::shown;

/// The parts of answers that the messages of a thread are, each with how many there are.
fn parts(world: &World, thread: &str) -> Vec<(Value, Value)> {
    let answers = world.answers(GENERAL, thread).into_iter();
    let payloads = answers.map(|message| &message.json()["metadata"]["event_payload"]);
    payloads.map(|payload| (payload["part"].clone(), payload["of"].clone())).collect()
}

/// The lines of a text that are neither empty nor the edge of a block of code.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("```"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_grows_and_a_long_one_comes_in_parts_and_nothing_of_either_is_lost() {
    let tale: Vec<String> = (1..=20).map(|n| format!("This is sentence {n} of it.")).collect();
    let tale = tale.join("\n");
    let code: String =
        (1..=600).map(|n| format!("let line_{n:04} = \"some words to fill it\";\n")).collect();
    let long = format!("Look:\n\n```rust\n{code}```\n\nThat is all.");
    let script = Script::default()
        .on("a tale", [Turn::text(&tale).fault(Fault::hang_after("half", 12))])
        .on("the code", [Turn::text(&long)]);
    let firm = Firm::build(script).await;
    register(&firm.home, &firm.slack, "main", &[GENERAL]).await;
    let gateway = firm.open().await;

    let ts = firm.ask("a tale");
    let grows = |world: &World| {
        let answers = world.answers(GENERAL, &ts);
        answers.first().is_some_and(|message| shown(message).contains("sentence 3 of it."))
    };
    firm.until(grows).await;
    let grown = firm.slack.look(|world| {
        let message = world.answers(GENERAL, &ts)[0];
        assert_eq!(message.streaming_state(), Some("in_progress"));
        assert!(tale.starts_with(&shown(message)) && shown(message) != tale, "{message:?}");
        assert!(answered(world, GENERAL, &ts).is_empty(), "half an answer passes for one");
        message.ts().to_owned()
    });
    // What was written by then is seen soon, also while the model thinks about what comes next.
    let called = |method| firm.slack.look(|world| world.calls(method)[0].at);
    let blank = called("chat.appendStream") - called("chat.startStream");
    assert!(blank < Duration::from_secs(6), "people looked at an empty message for {blank:?}");
    firm.model.gate("half").open();
    assert_eq!(firm.answers(&ts, 1).await, [tale.as_str()]);

    let long_ts = firm.ask("the code");
    firm.answers(&long_ts, 3).await;
    assert!(gateway.terminate().await.success());
    firm.slack.look(|world| {
        let answers = world.answers(GENERAL, &ts);
        assert_eq!((answers.len(), answers[0].ts()), (1, grown.as_str()), "another message");
        assert_eq!(answers[0].streaming_state(), Some("completed"));
        assert_eq!(parts(world, &ts), [(1.into(), 1.into())]);

        let told = answered(world, GENERAL, &long_ts);
        let numbers: Vec<(Value, Value)> = (1..=3).map(|part| (part.into(), 3.into())).collect();
        assert_eq!(parts(world, &long_ts), numbers);
        for part in &told {
            let edges = part.lines().filter(|line| line.starts_with("```")).count();
            assert_eq!(edges % 2, 0, "a block of code is cut:\n{part}");
        }
        assert!(told.iter().flat_map(|part| lines(part)).eq(lines(&long)), "{told:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_sign_ends_a_run_and_what_waits_is_answered_as_it_was_changed() {
    let firm = Firm::build(Script::tool()).await.with("MAX_CONCURRENT_CONTAINERS", "1");
    register(&firm.home, &firm.slack, "main", &[GENERAL]).await;
    let gateway = firm.open().await;
    let busy = firm.mention(WAIT, None);
    firm.until(|world| world.status(GENERAL, &busy).contains("bash")).await;

    // Nobody has time for these yet.
    let changed = firm.mention("echo before", None);
    let gone = firm.mention("echo gone", None);
    firm.until(|world| world.acked() >= 6 && world.unacked() == 0).await;
    let bot = &firm.slack.options().bot_user;
    assert!(firm.slack.edit(GENERAL, &changed, &format!("<@{bot}> [[bash:echo after]]")));
    assert!(firm.slack.delete(GENERAL, &gone));
    firm.until(|world| world.acked() >= 8 && world.unacked() == 0).await;

    assert!(firm.slack.react(GENERAL, &busy, "octagonal_sign", ALICE));
    assert_eq!(firm.answers(&busy, 1).await, ["Stopped."]);
    let answers = firm.answers(&changed, 1).await;
    assert!(answers[0].contains("after") && !answers[0].contains("before"), "{answers:?}");
    let last = firm.mention("echo last", None);
    firm.answers(&last, 1).await;
    assert!(gateway.terminate().await.success());
    firm.slack.look(|world| {
        for (thread, count) in [(&busy, 1), (&changed, 1), (&gone, 0), (&last, 1)] {
            assert_eq!(answered(world, GENERAL, thread).len(), count);
            assert_eq!(world.status(GENERAL, thread), "");
        }
    });
    let asked = firm.model.requests().iter().any(|request| {
        let messages = request.body["messages"].to_string();
        messages.contains("echo gone") || messages.contains("echo before")
    });
    assert!(!asked, "the model was told what was taken back");
}
