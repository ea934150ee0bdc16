//! The loop around an engine, seen with the engine that does not think.

use protocol::{Failure, FailureKind, FollowUp, Input, Outcome, Prompt, Sign};

use crate::support::{Runner, prompt};

/// An address at which nothing listens.
const NO_BROKER: &str = "127.0.0.1:9";

fn instant(run: u64, text: &str) -> Prompt {
    Prompt { engine: String::from("instant"), ..prompt(run, text) }
}

#[test]
fn prompts_are_answered_in_order_and_close_ends_the_program() {
    let mut runner = Runner::start(NO_BROKER, &[]);
    runner.sign(|sign| (*sign == Sign::Started).then_some(()));
    for run in [1, 2] {
        let text = format!("hello [[id:{run}]] and [[id:x{run}]]");
        runner.put(&Input::Prompt(Box::new(instant(run, &text))));
        let done = runner.done(run);
        assert_eq!(
            done.outcome,
            Outcome::Answer { text: format!("ok [[id:{run}]] [[id:x{run}]]") }
        );
        assert_eq!(runner.signs(run), [Sign::Accepted, Sign::Ready { through: run }]);
    }
    runner.put(&Input::Close);
    assert!(runner.wait().success());
    assert!(std::fs::read_dir(runner.path("ipc/input")).unwrap().next().is_none());
}

#[test]
fn what_cannot_be_read_or_is_too_late_is_passed_over() {
    let mut runner = Runner::start(NO_BROKER, &[]);
    runner.put_bytes(b"{ not json");
    runner.put(&Input::Cancel { run: 7 });
    runner.put(&Input::FollowUp(FollowUp {
        run: 7,
        after: 7,
        through: 8,
        text: String::from("late"),
    }));
    runner.put(&Input::Prompt(Box::new(instant(8, "go on"))));
    let done = runner.done(8);
    assert_eq!((done.outcome, done.through), (Outcome::Answer { text: String::from("ok") }, None));
}

#[test]
fn a_prompt_that_cannot_be_worked_on_fails_in_words() {
    let mut runner = Runner::start(NO_BROKER, &[]);
    let foreign = Prompt { version: 99, ..instant(1, "") };
    let steam = Prompt { engine: String::from("steam"), ..instant(2, "") };
    let cases = [
        (foreign, FailureKind::Other, "the prompt speaks protocol 99"),
        (steam, FailureKind::Refused, "there is no engine steam"),
    ];
    for (prompt, expected, words) in cases {
        let run = prompt.run;
        runner.put(&Input::Prompt(Box::new(prompt)));
        let Outcome::Failed(Failure { kind, message }) = runner.done(run).outcome else {
            panic!("run {run} did not fail");
        };
        assert_eq!(kind, expected);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn arguments_that_make_no_sense_are_a_usage_error() {
    for arguments in [&[][..], &["dance"], &["serve", "--ipc"], &["serve", "--port", "x"]] {
        let output = std::process::Command::new(crate::support::BINARY).args(arguments).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("usage: agent-runner"));
    }
}

#[test]
fn version_is_one_line_of_json() {
    let output = std::process::Command::new(crate::support::BINARY).arg("version").output();
    let said: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(said["protocol"], protocol::VERSION);
}
