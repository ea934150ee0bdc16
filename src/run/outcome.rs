//! How a run ended, and what people are told about it.

use std::time::Duration;

use protocol::{Done, Failure, FailureKind, Outcome};

use crate::model::{Seq, SessionId};
use crate::sandbox::Exit;
use crate::text;

/// How often a run is tried again.
pub(crate) const RETRIES: u32 = 5;

/// The most characters of an engine's own word on its failure.
const FAILURE_CHARS: usize = 300;

/// How following a run came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The agent-runner said that it is done.
    Done(Done),
    /// The sandbox ended before that.
    Exited(Exit),
    /// The deadline passed.
    Deadline(Duration),
    /// No sign of life for this long.
    Silent(Duration),
    /// More output than allowed, in bytes.
    Output(u64),
    /// What the sandbox may write to grew too much.
    Disk(Excess),
    /// The agent-runner left something unreadable where its outcome belongs.
    Unreadable(String),
    /// A person ended it, and the agent-runner did not obey in time.
    Cancelled,
    /// No sandbox could be started for it.
    NotStarted,
    /// The prompt could not be left in its ipc directory.
    NotPrompted(String),
    /// It asked for more than one run may.
    Requests(usize),
    /// The run itself panicked: a fault of the gateway.
    Panicked,
    /// The gateway stops.
    Halted,
    /// The gateway before this one died while it started the sandbox, and that ended without a sign.
    NotBegun,
}

/// What is too much on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It grew by more than so many bytes.
    Bytes(u64),
    /// There are more than so many files.
    Entries(u64),
    /// There is what cannot be looked into, and was not before.
    Hidden,
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is over, and this is said.
    Finish {
        /// Whether a person ended it.
        cancelled: bool,
        /// What is said.
        answer: String,
        /// The session to resume next time.
        session: Option<SessionId>,
    },
    /// It is tried again later.
    Retry {
        /// Why, for the ledger.
        error: String,
        /// Why, for people.
        why: String,
    },
    /// It is given up, and this is said.
    GiveUp {
        /// Why, for the ledger.
        error: String,
        /// Why, for people.
        sentence: String,
    },
    /// It does not count, and begins anew.
    Release,
}

/// Decides what becomes of a run.
///
/// What the agent did to itself (a limit, the deadline) is not tried again: it would do it again. What may pass
/// (a crash, a busy provider) is, until `attempt` has used up the retries.
pub(crate) fn judge(end: &End, attempt: u32) -> Verdict {
    match end {
        End::Done(done) => judge_done(done, attempt),
        End::Exited(Exit::OutOfMemory) => {
            give_up("out of memory", "the agent ran out of memory and was stopped")
        }
        End::Exited(Exit::Code(code)) => retry(
            format!("the sandbox ended with status {code}"),
            format!("the agent stopped unexpectedly (exit status {code})"),
            attempt,
        ),
        End::Exited(Exit::Gone) => retry(
            "the sandbox is gone".to_owned(),
            "the agent's sandbox disappeared".to_owned(),
            attempt,
        ),
        End::Deadline(limit) => give_up(
            &format!("no answer within {} s", limit.as_secs()),
            &format!("the agent was stopped after {}", in_words(*limit)),
        ),
        End::Silent(limit) => retry(
            format!("no sign of life for {} s", limit.as_secs()),
            "the agent gave no sign of life".to_owned(),
            attempt,
        ),
        End::Output(limit) => give_up(
            &format!("more than {limit} bytes of output"),
            &format!("the agent produced more output than the limit of {}", bytes_in_words(*limit)),
        ),
        End::Disk(excess) => judge_excess(*excess),
        End::Unreadable(reason) => retry(
            format!("unreadable outcome: {reason}"),
            "the agent's answer could not be read".to_owned(),
            attempt,
        ),
        End::Cancelled => {
            Verdict::Finish { cancelled: true, answer: "Stopped.".to_owned(), session: None }
        }
        End::NotStarted => retry(
            "no sandbox could be started".to_owned(),
            "no sandbox could be started for the agent (`hermitcrab doctor` says more)".to_owned(),
            attempt,
        ),
        End::NotPrompted(error) => retry(
            format!("the prompt could not be left: {error}"),
            "the agent could not be given the messages".to_owned(),
            attempt,
        ),
        End::Requests(limit) => give_up(
            &format!("more than {limit} requests"),
            &format!("the agent asked for more than {limit} things at once and was stopped"),
        ),
        End::Panicked => retry(
            "the run panicked".to_owned(),
            "something went wrong in the gateway itself".to_owned(),
            attempt,
        ),
        End::Halted | End::NotBegun => Verdict::Release,
    }
}

fn judge_excess(excess: Excess) -> Verdict {
    match excess {
        Excess::Bytes(limit) => give_up(
            &format!("what the sandbox may write to grew by more than {limit} bytes"),
            &format!(
                "the agent filled more than {} of disk and was stopped",
                bytes_in_words(limit)
            ),
        ),
        Excess::Entries(most) => give_up(
            &format!("what the sandbox may write to has more than {most} files"),
            &format!("there are more than {most} files in what the agent may write to"),
        ),
        Excess::Hidden => give_up(
            "folders in what the sandbox may write to cannot be looked into",
            "the agent made folders that cannot be looked into, and was stopped",
        ),
    }
}

fn judge_done(done: &Done, attempt: u32) -> Verdict {
    // A session id that is none is as good as no session: the next run starts afresh.
    let session = done.session.as_deref().and_then(|id| id.parse().ok());
    match &done.outcome {
        Outcome::Answer { text } => {
            Verdict::Finish { cancelled: false, answer: text.clone(), session }
        }
        Outcome::Cancelled => {
            Verdict::Finish { cancelled: true, answer: "Stopped.".to_owned(), session }
        }
        Outcome::Failed(failure) => judge_failure(failure, attempt),
    }
}

fn judge_failure(failure: &Failure, attempt: u32) -> Verdict {
    // Written within the agent's reach: short and harmless before anybody reads it.
    let message = text::one_line(&failure.message, FAILURE_CHARS);
    match failure.kind {
        FailureKind::Refused => give_up(&message, &message),
        FailureKind::Credentials => give_up(
            &message,
            "the model's provider does not accept the credentials (`hermitcrab doctor` says more)",
        ),
        FailureKind::Overloaded => retry(
            message,
            "the model's provider cannot be reached or is overloaded".to_owned(),
            attempt,
        ),
        FailureKind::Other => retry(message, "the agent could not finish".to_owned(), attempt),
    }
}

/// The wait before the attempt after `attempt`: `base`, doubled each time, and up to a fifth more.
pub(crate) fn back_off(base: Duration, attempt: u32) -> Duration {
    let wait =
        base.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    wait + wait.mul_f64(fastrand::f64() / 5.0)
}

/// The last message that a run dealt with: the last of the follow-ups that it took, or what it began with.
///
/// The agent's word counts no further than `latest`, up to where messages were handed over; it may have taken less.
pub(crate) fn through(begun: Seq, latest: Seq, done: &Done) -> Seq {
    done.through.map(Seq).filter(|seq| (begun..=latest).contains(seq)).unwrap_or(begun)
}

fn retry(error: String, why: String, attempt: u32) -> Verdict {
    if attempt <= RETRIES {
        Verdict::Retry { error, why }
    } else {
        Verdict::GiveUp { sentence: sentence(&format!("{why}, {attempt} times")), error }
    }
}

fn give_up(error: &str, why: &str) -> Verdict {
    Verdict::GiveUp { error: error.to_owned(), sentence: sentence(why) }
}

fn sentence(why: &str) -> String {
    let why = why.trim_end_matches('.');
    format!("I could not answer: {why}. Send your message again to retry.")
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

fn bytes_in_words(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        bytes if bytes >= 1024 * MIB => format!("{} GiB", bytes / (1024 * MIB)),
        bytes if bytes >= MIB => format!("{} MiB", bytes / MIB),
        bytes => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn done(outcome: Outcome) -> End {
        End::Done(Done { run: 1, outcome, session: None, through: None })
    }

    fn failed(kind: FailureKind) -> End {
        done(Outcome::Failed(Failure { kind, message: "the daily budget is used up".into() }))
    }

    #[test]
    fn what_may_pass_is_tried_again_and_then_given_up_loudly() {
        for end in [
            End::Exited(Exit::Code(137)),
            End::Exited(Exit::Gone),
            End::Silent(Duration::from_secs(60)),
            End::Unreadable("not JSON".into()),
            End::Panicked,
            failed(FailureKind::Overloaded),
            failed(FailureKind::Other),
        ] {
            for attempt in 1..=RETRIES {
                assert!(matches!(judge(&end, attempt), Verdict::Retry { .. }), "{end:?}");
            }
            let Verdict::GiveUp { sentence, .. } = judge(&end, RETRIES + 1) else {
                panic!("{end:?} is tried for ever");
            };
            assert!(sentence.starts_with("I could not answer: "), "{sentence}");
        }
    }

    #[test]
    fn what_the_agent_did_to_itself_is_given_up_at_once() {
        for (end, words) in [
            (End::Exited(Exit::OutOfMemory), "out of memory"),
            (End::Deadline(Duration::from_secs(300)), "after 5 minutes"),
            (End::Output(10 << 20), "10 MiB"),
            (End::Disk(Excess::Bytes(2 << 30)), "2 GiB"),
            (End::Disk(Excess::Entries(7)), "more than 7 files"),
            (End::Disk(Excess::Hidden), "cannot be looked into"),
            (failed(FailureKind::Refused), "the daily budget is used up"),
            (failed(FailureKind::Credentials), "hermitcrab doctor"),
        ] {
            let Verdict::GiveUp { sentence, .. } = judge(&end, 1) else { panic!("{end:?}") };
            assert!(sentence.contains(words), "{sentence}");
            assert!(sentence.ends_with("Send your message again to retry."), "{sentence}");
        }
    }

    #[test]
    fn a_stopping_gateway_counts_no_attempt() {
        assert_eq!(judge(&End::Halted, 6), Verdict::Release);
        assert_eq!(judge(&End::NotBegun, 6), Verdict::Release);
    }

    #[test]
    fn a_session_id_that_is_none_is_dropped() {
        let End::Done(mut answer) = done(Outcome::Answer { text: "hi".into() }) else { panic!() };
        answer.session = Some("../../etc".into());
        let Verdict::Finish { session, .. } = judge(&End::Done(answer), 1) else { panic!() };
        assert_eq!(session, None);
    }

    #[test]
    fn the_agent_cannot_consume_what_it_was_not_given() {
        let End::Done(mut end) = done(Outcome::Answer { text: String::new() }) else { panic!() };
        for (said, expected) in
            [(None, 5), (Some(4), 5), (Some(7), 7), (Some(9), 9), (Some(10), 5), (Some(1 << 40), 5)]
        {
            end.through = said;
            assert_eq!(through(Seq(5), Seq(9), &end), Seq(expected));
        }
    }

    #[test]
    fn waits_double() {
        for (attempt, seconds) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80)] {
            let wait = back_off(Duration::from_secs(5), attempt).as_secs_f64();
            let base = f64::from(seconds);
            assert!((base..=base * 1.2).contains(&wait), "{attempt}: {wait}");
        }
    }
}
