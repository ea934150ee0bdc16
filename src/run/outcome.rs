//! How a run ended, and what people are told about it.
//!
//! There are two audiences. The ledger and the log get what happened, with its codes; the chat gets a plain sentence
//! without them, and the owner's chats a hint at what says more.

use std::time::Duration;

use protocol::{Done, Failure, FailureKind, Outcome};

use crate::model::{ChannelName, Conversation, GroupName, Seq, SessionId};
use crate::sandbox::Exit;
use crate::text;

/// How often a run is tried again.
pub(crate) const RETRIES: u32 = 5;

/// The most characters of an engine's own word on its failure.
const FAILURE_CHARS: usize = 300;

/// What people are told while the agent waits for the model, and when it has waited in vain.
pub(crate) const MODEL_AWAY: &str = "the model's provider cannot be reached or is overloaded";

/// Who reads what is said in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The owner, who has the command line.
    Owner,
    /// Others, who can mend nothing.
    Guests,
}

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

impl Audience {
    /// The readers of a conversation: whoever is at the terminal, or in the privileged group, is the owner.
    pub(crate) fn of(conversation: &Conversation, group: &GroupName) -> Self {
        let is_owner = group.is_main() || *conversation.chat.channel() == ChannelName::terminal();
        if is_owner { Self::Owner } else { Self::Guests }
    }

    /// A reason with a hint at what says more, for those who can use it.
    fn hinted(self, why: &str) -> String {
        match self {
            Self::Owner => format!("{why} (`hermitcrab doctor` says more)"),
            Self::Guests => why.to_owned(),
        }
    }
}

/// Decides what becomes of a run, and what `audience` is told.
///
/// What the agent did to itself (a limit, the deadline) is not tried again: it would do it again. What may pass
/// (a crash, a busy provider) is, until `attempt` has used up the retries.
pub(crate) fn judge(end: &End, attempt: u32, audience: Audience) -> Verdict {
    match end {
        End::Done(done) => judge_done(done, attempt, audience),
        End::Exited(Exit::OutOfMemory) => {
            give_up("out of memory", "the agent ran out of memory and was stopped")
        }
        End::Exited(Exit::Code(code)) => retry(
            format!("the sandbox ended with status {code}"),
            "the agent stopped unexpectedly".to_owned(),
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
            audience.hinted("no sandbox could be started for the agent"),
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

fn judge_done(done: &Done, attempt: u32, audience: Audience) -> Verdict {
    // A session id that is none is as good as no session: the next run starts afresh.
    let session = done.session.as_deref().and_then(|id| id.parse().ok());
    match &done.outcome {
        Outcome::Answer { text } => {
            Verdict::Finish { cancelled: false, answer: text.clone(), session }
        }
        Outcome::Cancelled => {
            Verdict::Finish { cancelled: true, answer: "Stopped.".to_owned(), session }
        }
        Outcome::Failed(failure) => judge_failure(failure, attempt, audience),
    }
}

fn judge_failure(failure: &Failure, attempt: u32, audience: Audience) -> Verdict {
    // Written within the agent's reach: short and harmless before anybody reads it.
    let message = text::one_line(&failure.message, FAILURE_CHARS);
    match failure.kind {
        FailureKind::Refused => give_up(&message, &message),
        FailureKind::Credentials => give_up(
            &message,
            &audience.hinted("the model's provider does not accept the gateway's credentials"),
        ),
        FailureKind::Overloaded => retry(message, audience.hinted(MODEL_AWAY), attempt),
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
        let tried = format!(", and tried {attempt} times");
        Verdict::GiveUp { sentence: sentence(&tried, &why), error }
    }
}

fn give_up(error: &str, why: &str) -> Verdict {
    Verdict::GiveUp { error: error.to_owned(), sentence: sentence("", why) }
}

fn sentence(tried: &str, why: &str) -> String {
    let why = why.trim_end_matches('.');
    format!("I could not answer{tried}: {why}. Send your message again to retry.")
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
                assert!(
                    matches!(judge(&end, attempt, Audience::Owner), Verdict::Retry { .. }),
                    "{end:?}"
                );
            }
            let Verdict::GiveUp { sentence, .. } = judge(&end, RETRIES + 1, Audience::Owner) else {
                panic!("{end:?} is tried for ever");
            };
            assert!(sentence.starts_with("I could not answer, and tried 6 times: "), "{sentence}");
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
            let Verdict::GiveUp { sentence, .. } = judge(&end, 1, Audience::Owner) else {
                panic!("{end:?}")
            };
            assert!(sentence.contains(words), "{sentence}");
            assert!(sentence.ends_with("Send your message again to retry."), "{sentence}");
        }
    }

    #[test]
    fn the_chat_is_told_no_codes_and_the_ledger_keeps_them() {
        let failed = |kind, message: &str| {
            done(Outcome::Failed(Failure { kind, message: message.to_owned() }))
        };
        let away = "the model's service answered 502 (api_error): it cannot be reached";
        for (end, code) in [
            (failed(FailureKind::Overloaded, away), "502"),
            (failed(FailureKind::Credentials, "the model's service answered 401"), "401"),
            (failed(FailureKind::Other, "the model's service answered 418"), "418"),
            (End::Exited(Exit::Code(137)), "137"),
        ] {
            for audience in [Audience::Owner, Audience::Guests] {
                let last = judge(&end, RETRIES + 1, audience);
                let Verdict::GiveUp { error, sentence } = last else { panic!("{end:?}") };
                assert!(error.contains(code), "{error}");
                assert!(!sentence.contains(code), "{sentence}");
                if let Verdict::Retry { error, why } = judge(&end, 1, audience) {
                    assert!(error.contains(code) && !why.contains(code), "{error}: {why}");
                }
            }
        }
    }

    #[test]
    fn only_who_has_the_command_line_is_told_of_it() {
        let chat = |text: &str| Conversation { chat: text.parse().unwrap(), thread: None };
        let family = "family".parse().unwrap();
        for (conversation, group, audience) in [
            (chat("terminal:main"), &GroupName::main(), Audience::Owner),
            (chat("slack:T01/C02"), &GroupName::main(), Audience::Owner),
            (chat("terminal:family"), &family, Audience::Owner),
            (chat("slack:T01/C02"), &family, Audience::Guests),
        ] {
            assert_eq!(Audience::of(&conversation, group), audience, "{conversation} {group}");
        }
        for end in [End::NotStarted, failed(FailureKind::Overloaded)] {
            for (audience, hinted) in [(Audience::Owner, true), (Audience::Guests, false)] {
                let last = judge(&end, RETRIES + 1, audience);
                let Verdict::GiveUp { sentence, .. } = last else { panic!("{end:?}") };
                assert_eq!(sentence.contains("`hermitcrab doctor`"), hinted, "{sentence}");
            }
        }
    }

    #[test]
    fn a_stopping_gateway_counts_no_attempt() {
        assert_eq!(judge(&End::Halted, 6, Audience::Owner), Verdict::Release);
        assert_eq!(judge(&End::NotBegun, 6, Audience::Owner), Verdict::Release);
    }

    #[test]
    fn a_session_id_that_is_none_is_dropped() {
        let End::Done(mut answer) = done(Outcome::Answer { text: "hi".into() }) else { panic!() };
        answer.session = Some("../../etc".into());
        let Verdict::Finish { session, .. } = judge(&End::Done(answer), 1, Audience::Owner) else {
            panic!()
        };
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
