//! The native engine against the model test server: answers, sessions, faults, follow-ups, compaction.

use std::fs;

use protocol::{Failure, FailureKind, FollowUp, Input, Outcome, Prompt, Sign};
use serde_json::{Value, json};
use test_servers::model::{Fault, Script, Server, StopReason, Turn, Usage, When};

use crate::support::{Runner, prompt};

/// The address in a server's URL.
fn address(server: &Server) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

fn start(server: &Server) -> Runner {
    Runner::start(&address(server), &[])
}

fn put(runner: &mut Runner, prompt: Prompt) {
    runner.put(&Input::Prompt(Box::new(prompt)));
}

fn answer(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Answer { text } => text,
        other => panic!("{other:?}"),
    }
}

fn failure(outcome: &Outcome) -> (FailureKind, &str) {
    match outcome {
        Outcome::Failed(Failure { kind, message }) => (*kind, message),
        other => panic!("{other:?}"),
    }
}

/// What people saw of a run as it was written.
fn streamed(runner: &Runner, run: u64) -> String {
    let texts = runner.signs(run).into_iter().filter_map(|sign| match sign {
        Sign::Text { delta } => Some(delta),
        _ => None,
    });
    texts.collect()
}

/// The lines of a session's file.
fn session(runner: &Runner, name: &str) -> Vec<Value> {
    let path = runner.path(&format!("home/native/terminal-me/{name}.jsonl"));
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bash(command: &str) -> Turn {
    Turn::tool("bash", json!({"command": command}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_is_streamed_and_counted_and_remembered() {
    let usage = Usage { input: 11, output: 7, cache_write: 5, cache_read: 3 };
    let turns =
        [Turn::text("Hello there, world.").usage(usage), Turn::text("You said {messages}.")];
    let server = Server::start(Script::turns(turns)).await.unwrap();
    let mut runner = start(&server);
    fs::write(runner.path("group/CLAUDE.md"), "Likes tea.").unwrap();

    put(&mut runner, prompt(1, "Hello"));
    let done = runner.done(1);
    assert_eq!(answer(&done.outcome), "Hello there, world.");
    assert_eq!(streamed(&runner, 1), "Hello there, world.");

    put(&mut runner, Prompt { session: done.session, ..prompt(2, "Again") });
    assert_eq!(answer(&runner.done(2).outcome), "You said 3.");

    let requests = server.requests();
    let system = requests[0].body["system"][0]["text"].as_str().unwrap();
    assert!(system.starts_with("You are a test.") && system.contains("Likes tea."));
    assert_eq!(requests[0].header("x-api-key"), Some("held-by-the-gateway"));
    assert_eq!(requests[1].body["messages"][2]["content"][0]["text"], "Again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tools_work_until_the_model_has_its_answer() {
    let script = Script::default().on(
        "go",
        [
            Turn::text("Let me see.").and_tool("bash", json!({"command": "echo one > a.txt; pwd"})),
            Turn::tool("edit", json!({"path": "a.txt", "old_text": "one", "new_text": "two"}))
                .and_tool("read", json!({"path": "a.txt"})),
            Turn::tool("grep", json!({"pattern": "t.o"})).and_tool("glob", json!({"pattern": "*"})),
            Turn::text("It says {tool_result}"),
        ],
    );
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "go"));
    let done = runner.done(1);
    assert_eq!(answer(&done.outcome), "It says a.txt\n");
    assert_eq!(fs::read_to_string(runner.path("group/a.txt")).unwrap(), "two\n");

    let last = &server.requests()[3].body["messages"];
    let result =
        |message: usize, block: usize| &last[message]["content"][block]["content"][0]["text"];
    assert_eq!(result(2, 0), &json!(format!("{}\n", runner.path("group").display())));
    assert_eq!(result(4, 1), "     1\ttwo\n");
    assert_eq!(result(6, 0), "a.txt:1:two\n");
    let tools: Vec<_> = runner
        .signs(1)
        .into_iter()
        .filter_map(|sign| match sign {
            Sign::Tool { name, summary } => Some(format!("{name} {summary}")),
            _ => None,
        })
        .collect();
    let expected = ["bash echo one > a.txt; pwd", "edit a.txt", "read a.txt", "grep t.o", "glob *"];
    assert_eq!(tools, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_tool_cannot_do_goes_back_to_the_model() {
    let script = Script::default().on(
        "go",
        [
            bash("echo no; exit 4")
                .and_tool("read", json!({"path": "gone"}))
                .and_tool("dance", json!({}))
                .and_tool("bash", json!({"cmd": 1})),
            Turn::text("I see."),
        ],
    );
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "go"));
    assert_eq!(answer(&runner.done(1).outcome), "I see.");
    let request = &server.requests()[1].body;
    let results = request["messages"][2]["content"].as_array().unwrap();
    let expected =
        ["no\n[exit code 4]", "cannot read", "there is no tool dance", "missing field `command`"];
    assert_eq!(results.len(), expected.len());
    for (result, expected) in results.iter().zip(expected) {
        assert_eq!(result["is_error"], true);
        assert!(result["content"][0]["text"].as_str().unwrap().contains(expected), "{result}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cut_stream_is_asked_for_again_and_its_words_are_not_doubled() {
    let turns = [Turn::text("One two three four five.").fault(Fault::cut(6).first(2))];
    let server = Server::start(Script::turns(turns)).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "count"));
    assert_eq!(answer(&runner.done(1).outcome), "One two three four five.");
    assert_eq!(streamed(&runner, 1), "One two three four five.");
    assert_eq!(server.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn failures_are_told_apart() {
    for (fault, kind, calls) in [
        (Fault::unauthorized(), FailureKind::Credentials, 1),
        (Fault::rate_limited(3600), FailureKind::Overloaded, 1),
        (Fault::rate_limited(0), FailureKind::Overloaded, 4),
        (Fault::malformed(2), FailureKind::Other, 4),
        (Fault::cut(3), FailureKind::Other, 4),
    ] {
        let server = Server::start(Script::echo().fault(fault.clone())).await.unwrap();
        let mut runner = start(&server);
        put(&mut runner, prompt(1, "hello"));
        let done = runner.done(1);
        assert_eq!(failure(&done.outcome).0, kind, "{fault:?}");
        assert_eq!(server.count(), calls, "{fault:?}");
        let waits = runner.signs(1).iter().filter(|s| matches!(s, Sign::Waiting { .. })).count();
        assert_eq!(waits, if fault == Fault::rate_limited(0) { 3 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_busy_service_is_waited_for() {
    let script = Script::echo().fault(Fault::rate_limited(0).first(2));
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "[[id:1]]"));
    assert_eq!(answer(&runner.done(1).outcome), "echo: [[id:1]]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_that_was_cut_off_or_declined_says_so() {
    for (stop, expected) in [
        (StopReason::MaxTokens, "Once upon\n\n[The answer was cut off at the model's limit.]"),
        (StopReason::Refusal, "Once upon\n\n[The model declined to answer.]"),
        (StopReason::EndTurn, "Once upon"),
    ] {
        let turn = Turn::text("Once upon").stop(stop);
        let server = Server::start(Script::turns([turn])).await.unwrap();
        let mut runner = start(&server);
        put(&mut runner, prompt(1, "hello"));
        assert_eq!(answer(&runner.done(1).outcome), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_run_that_produces_too_much_is_refused() {
    let server = Server::start(Script::default().on("go", [bash("yes")])).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, Prompt { max_output_bytes: 100_000, ..prompt(1, "go") });
    let done = runner.done(1);
    let (kind, message) = failure(&done.outcome);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("100000 bytes"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_model_that_goes_round_in_circles_is_stopped() {
    let server = Server::start(Script::default().on("go", [bash("true")])).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "go"));
    let done = runner.done(1);
    let (kind, message) = failure(&done.outcome);
    assert_eq!(kind, FailureKind::Other);
    assert!(message.contains("200 model calls"), "{message}");
    assert_eq!(server.count(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_that_cannot_be_resumed_is_begun_afresh_in_the_same_run() {
    let server = Server::start(Script::echo()).await.unwrap();
    let mut runner = start(&server);
    for (run, name) in [(1, "gone"), (2, "../../etc/passwd")] {
        put(&mut runner, Prompt { session: Some(name.to_owned()), ..prompt(run, "[[id:1]]") });
        let done = runner.done(run);
        assert_eq!(answer(&done.outcome), "echo: [[id:1]]");
        assert_ne!(done.session.as_deref(), Some(name));
        assert!(runner.signs(run).iter().any(|sign| matches!(sign, Sign::FreshSession { .. })));
    }
    // Another conversation's session is not there either.
    put(&mut runner, prompt(3, "mine"));
    let session = runner.done(3).session;
    let other = Prompt { conversation: String::from("terminal-you"), ..prompt(4, "yours") };
    put(&mut runner, Prompt { session: session.clone(), ..other });
    assert_ne!(runner.done(4).session, session);
    assert_eq!(server.requests()[3].body["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_killed_run_is_continued_and_nothing_stands_twice() {
    let script = Script::default().on(
        "go",
        [
            bash("echo first"),
            bash("echo second").fault(Fault::hang("stop").first(1)),
            Turn::text("Done."),
        ],
    );
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "hello"));
    let session_name = runner.done(1).session;
    put(&mut runner, Prompt { session: session_name.clone(), ..prompt(2, "go") });
    server.gate("stop").arrived(1).await;
    let places = runner.kill();
    let name = session_name.clone().unwrap();
    let file = places.path().join(format!("home/native/terminal-me/{name}.jsonl"));
    let torn = fs::read_to_string(&file).unwrap() + "{\"run\": 2, \"ori";
    fs::write(&file, torn).unwrap();

    let mut runner = Runner::start_in(places, &address(&server), &[]);
    put(&mut runner, Prompt { session: session_name.clone(), ..prompt(2, "go") });
    let done = runner.done(2);
    assert_eq!(answer(&done.outcome), "Done.");
    assert_eq!(done.session, session_name);
    let lines = session(&runner, &name);
    let prompts = lines.iter().filter(|line| line["origin"]["type"] == "prompt").count();
    assert_eq!(prompts, 2, "one for each run");
    assert_eq!(lines.len(), 2 + 1 + 2 + 2 + 1);

    // Another attempt at the same messages: the answer stands in the session already.
    let before = server.count();
    put(&mut runner, Prompt { session: session_name, from: 2, through: 2, ..prompt(3, "go") });
    assert_eq!(answer(&runner.done(3).outcome), "Done.");
    assert_eq!(server.count(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_a_kill_left_open_is_closed() {
    let script =
        Script::default().on("go", [bash("touch begun; sleep 600"), Turn::text("{tool_result}")]);
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "hello"));
    let session_name = runner.done(1).session;
    put(&mut runner, Prompt { session: session_name.clone(), ..prompt(2, "go") });
    crate::support::wait_for(&runner.path("group"), || {
        runner.path("group/begun").exists().then_some(())
    });
    let mut runner = Runner::start_in(runner.kill(), &address(&server), &[]);
    put(&mut runner, Prompt { session: session_name, ..prompt(2, "go") });
    assert!(answer(&runner.done(2).outcome).starts_with("interrupted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn cancelling_ends_the_run_and_all_that_its_tool_started() {
    let script = Script::default().on("go", [bash("sleep 600 & echo $! > pid; wait")]);
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "go"));
    let pid: i32 = crate::support::wait_for(&runner.path("group"), || {
        fs::read_to_string(runner.path("group/pid")).ok()?.trim().parse().ok()
    });
    runner.put(&Input::Cancel { run: 1 });
    let done = runner.done(1);
    assert_eq!(done.outcome, Outcome::Cancelled);
    crate::support::wait_until_gone(pid);
    // Warm, and the open call does not stand in the way.
    put(&mut runner, Prompt { session: done.session, ..prompt(2, "[[id:2]]") });
    assert_eq!(answer(&runner.done(2).outcome), "echo: [[id:2]]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn cancelling_also_ends_a_model_call() {
    let server = Server::start(Script::echo().fault(Fault::hang("stop"))).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "go"));
    server.gate("stop").arrived(1).await;
    runner.put(&Input::Cancel { run: 1 });
    assert_eq!(runner.done(1).outcome, Outcome::Cancelled);
}

/// The mark behind what was stopped, as the model sees it.
const UNANSWERED: &str = "stopped or given up before it was answered";

/// Checks that the roles of a request alternate, and that the mark stands once, right before the last message.
fn check_unanswered(body: &Value, expected_last: &str) {
    let messages = body["messages"].as_array().unwrap();
    for (place, message) in messages.iter().enumerate() {
        let role = if place % 2 == 0 { "user" } else { "assistant" };
        assert_eq!(message["role"], role, "{body}");
    }
    let [.., mark, last] = messages.as_slice() else { panic!("{body}") };
    let text = |message: &Value| message.pointer("/content/0/text").cloned();
    assert!(text(mark).unwrap().as_str().unwrap().contains(UNANSWERED), "{mark}");
    assert_eq!(last["content"].as_array().unwrap().len(), 1, "{last}");
    assert_eq!(text(last).unwrap(), expected_last);
    assert_eq!(body.to_string().matches(UNANSWERED).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_stopped_is_marked_before_other_messages_follow() {
    let script = Script::default()
        .on("stop early", [Turn::text("No.").fault(Fault::hang("stop").first(1))])
        .on("stop late", [bash("touch begun; sleep 600")])
        .on("and now", [Turn::text("Yes.")]);
    for (first, is_begun) in [("stop early", false), ("stop late", true)] {
        let server = Server::start(script.clone()).await.unwrap();
        let mut runner = start(&server);
        put(&mut runner, prompt(1, first));
        if is_begun {
            crate::support::wait_for(&runner.path("group"), || {
                runner.path("group/begun").exists().then_some(())
            });
        } else {
            server.gate("stop").arrived(1).await;
        }
        runner.put(&Input::Cancel { run: 1 });
        let stopped = runner.done(1);
        assert_eq!(stopped.outcome, Outcome::Cancelled);
        put(&mut runner, Prompt { session: stopped.session, ..prompt(2, "and now") });
        let answered = runner.done(2);
        assert_eq!(answer(&answered.outcome), "Yes.");
        check_unanswered(&server.requests().last().unwrap().body, "and now");

        // What was answered is not marked.
        put(&mut runner, Prompt { session: answered.session, ..prompt(3, "and now") });
        assert_eq!(answer(&runner.done(3).outcome), "Yes.");
        let body = server.requests().last().unwrap().body.to_string();
        assert_eq!(body.matches(UNANSWERED).count(), 1, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn follow_ups_are_taken_between_calls_and_before_the_end() {
    let script = Script::default()
        .on("go", [bash("true").fault(Fault::hang("first"))])
        .rule(
            When::Contains(String::from("one more")),
            test_servers::model::Answer::Turns(vec![
                Turn::text("Saw: {last_user}.").fault(Fault::hang("second")),
            ]),
        )
        .on("very last", [Turn::text("The end.")]);
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "go"));
    let follow_up = |run, after, through, text: &str| {
        Input::FollowUp(FollowUp { run, after, through, text: text.to_owned() })
    };
    server.gate("first").arrived(1).await;
    runner.put(&follow_up(9, 1, 99, "for another run"));
    runner.put(&follow_up(1, 2, 9, "behind a gap"));
    runner.put(&follow_up(1, 1, 5, "one more"));
    runner.put(&follow_up(1, 1, 5, "once again"));
    runner.taken(5);
    server.gate("first").open();
    server.gate("second").arrived(1).await;
    runner.put(&follow_up(1, 5, 6, "very last"));
    runner.taken(6);
    server.gate("second").open();
    let done = runner.done(1);
    assert_eq!(answer(&done.outcome), "Saw: one more.\n\nThe end.");
    assert_eq!(done.through, Some(6));
    for through in [5, 6] {
        assert!(runner.signs(1).contains(&Sign::Ready { through }));
    }
    let messages = &server.requests()[1].body["messages"];
    assert_eq!(messages[2]["content"][0]["type"], "tool_result");
    assert_eq!(messages[2]["content"][1]["text"], "one more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_context_is_folded_into_notes() {
    let long = "words ".repeat(4_000);
    let script = Script::default()
        .on("People:", [Turn::text("They talked a lot.")])
        .on("words", [Turn::text("Yes.")])
        .on("what now", [Turn::text("{messages} messages.")]);
    let server = Server::start(script).await.unwrap();
    let mut runner = Runner::start(&address(&server), &["--context-tokens", "8000"]);
    put(&mut runner, prompt(1, &long));
    let first = runner.done(1).session;
    put(&mut runner, Prompt { session: first.clone(), ..prompt(2, "what now") });
    let second = runner.done(2);
    assert_eq!(answer(&second.outcome), "1 messages.");
    assert_eq!(second.session, first, "the session keeps its name");

    let last = server.requests().last().unwrap().body.clone();
    let text = last["messages"].to_string();
    assert!(text.contains("They talked a lot.") && !text.contains("words words"), "{text}");
    let name = first.unwrap();
    assert!(runner.path(&format!("home/native/terminal-me/{name}.jsonl.1")).exists());
    assert!(!streamed(&runner, 2).contains("They talked"), "notes are not for people");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_prompt_that_the_service_finds_too_long_is_folded_and_asked_once_more() {
    let too_long = Turn::text("Now it fits.").fault(Fault::prompt_too_long().first(1));
    let script = Script::default().on("People:", [Turn::text("Notes.")]).on("again", [too_long]);
    let server = Server::start(script).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "hello"));
    let session = runner.done(1).session;
    put(&mut runner, Prompt { session, ..prompt(2, "again") });
    assert_eq!(answer(&runner.done(2).outcome), "Now it fits.");
    assert_eq!(server.count(), 4);

    // With nothing to fold the failure is told.
    let server = Server::start(Script::echo().fault(Fault::prompt_too_long())).await.unwrap();
    let mut runner = start(&server);
    put(&mut runner, prompt(1, "hello"));
    let done = runner.done(1);
    let (kind, message) = failure(&done.outcome);
    assert_eq!(kind, FailureKind::Other);
    assert!(message.contains("prompt is too long"), "{message}");
}
