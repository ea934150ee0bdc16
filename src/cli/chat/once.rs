//! `hermitcrab chat -m`: one message, its answer on standard output.
//!
//! What is printed is what the run says that covers the message. Others may be answered in the same conversation at
//! the same time, by runs of their own; each answer is for whoever waits for it, and one for which nobody waits any
//! more is told on standard error, so that it is not lost.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::link::{Answer, Event, Link};
use super::progress::Progress;
use super::sandbox::{SandboxState, is_at_work};
use super::talk::interrupts;
use crate::cli::exit::{FAILED, Failure, UNAVAILABLE};
use crate::cli::output;
use crate::cli::setup::{self, Consent};
use crate::config;
use crate::text::for_terminal;

/// How long to wait for a gateway that is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether there still is a sandbox, while nothing else is heard.
const LOOK: Duration = Duration::from_secs(2);
/// How long somebody else may take to take an answer that is not ours.
const OTHERS: Duration = Duration::from_secs(2);
/// How often the line that says what is going on is drawn.
const TICK: Duration = Duration::from_millis(120);
/// As good as never.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Sends a message, and prints what is answered.
///
/// # Errors
/// A sentence why there is no answer.
pub(super) async fn ask(link: &mut Link, text: String, consent: Consent) -> Result<(), Failure> {
    // Listened for all the time, so that it is heard also while something else is dealt with.
    let mut interrupt = interrupts()?;
    let mut asking = Asking {
        id: link.say(text).await,
        link,
        progress: Progress::begin(config::terminal().as_deref())?,
        trigger: String::new(),
        seq: None,
        early: Vec::new(),
        others: Vec::new(),
        others_until: Instant::now() + NEVER,
        interrupted: false,
        heard: false,
        consent,
        mended_at: None,
    };
    let mut give_up_at = Instant::now() + PATIENCE;
    let mut look_at = Instant::now() + LOOK;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = asking.link.next() => {
                match &event {
                    Event::Welcome(_) => give_up_at = Instant::now() + NEVER,
                    Event::Lost => give_up_at = Instant::now() + PATIENCE,
                    _ => {}
                }
                if asking.take(event).await? {
                    return Ok(());
                }
            }
            _ = ticks.tick() => asking.progress.tick()?,
            () = sleep_until(give_up_at) => return Err(asking.abandoned()),
            () = sleep_until(asking.others_until) => asking.tell_left_over().await?,
            () = sleep_until(look_at) => {
                look_at = Instant::now() + LOOK;
                if asking.interrupted {
                    // A gateway that has just come back may not have found the run yet.
                    asking.link.cancel().await;
                } else if asking.seq.is_some() && !asking.heard {
                    asking.link.ask_state().await;
                }
            }
            _ = interrupt.recv() => {
                if asking.interrupted {
                    return Err(asking.abandoned());
                }
                asking.interrupt().await?;
            }
        }
    }
}

/// A message that waits for its answer.
struct Asking<'a> {
    id: String,
    link: &'a mut Link,
    progress: Progress,
    trigger: String,
    /// The message's place, once it is kept.
    seq: Option<u64>,
    /// Answers that came before that was known.
    early: Vec<Answer>,
    /// Answers to earlier messages, which others are expected to take; not confirmed.
    others: Vec<Answer>,
    /// Until when.
    others_until: Instant,
    /// Whether the person has asked for an end.
    interrupted: bool,
    /// Whether the agent has shown any sign that it is at it.
    heard: bool,
    /// Whether a missing sandbox may be installed; used up by the first time.
    consent: Consent,
    /// When it was installed.
    mended_at: Option<Instant>,
}

impl Asking<'_> {
    /// Takes what comes; `true` when all is said.
    async fn take(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Welcome(info) => {
                self.trigger = info.trigger;
                if self.interrupted {
                    self.link.cancel().await;
                }
            }
            Event::Refused(reason) => return Err(Failure::failed(reason)),
            Event::Lost => {
                for other in std::mem::take(&mut self.others) {
                    self.link.give_back(other.outbox);
                }
                self.progress.hinder("the gateway is away; trying again")?;
            }
            Event::NotKept { id, unkept } if id == self.id => {
                return Err(Failure::failed(unkept.reason));
            }
            Event::Kept { id, seq, addressed } if id == self.id => {
                if !addressed {
                    let trigger = &self.trigger;
                    return Err(Failure::failed(format!(
                        "the message is kept, but it does not address the assistant; say {trigger} in it"
                    )));
                }
                self.seq = Some(seq);
                for answer in std::mem::take(&mut self.early) {
                    if self.answer(answer).await? {
                        return Ok(true);
                    }
                }
            }
            Event::Answer(answer) => return self.answer(answer).await,
            Event::Activity(activity) => {
                if is_at_work(&activity) {
                    self.heard = true;
                }
                if !self.interrupted {
                    self.progress.show(&activity)?;
                }
            }
            Event::State(state) => {
                let problem = SandboxState::read(&state).problem;
                if let Some(problem) = problem.filter(|_| !self.heard) {
                    self.mend(&problem).await?;
                }
            }
            Event::Taken(outbox) => self.others.retain(|other| other.outbox > outbox),
            Event::Kept { .. } | Event::NotKept { .. } | Event::Said(_) => {}
        }
        Ok(false)
    }

    /// Asks for the end of the answer; while the gateway is away, it is asked when it is back.
    async fn interrupt(&mut self) -> Result<(), Failure> {
        self.interrupted = true;
        self.link.cancel().await;
        let away = self.link.is_away();
        let said = if away {
            "the gateway is away; the answer is stopped when it is back"
        } else {
            "stopping"
        };
        Ok(self.progress.hinder(said)?)
    }

    /// Installs what a sandbox needs, if that may be done and was not tried before.
    async fn mend(&mut self, problem: &str) -> Result<(), Failure> {
        let consent = std::mem::replace(&mut self.consent, Consent::Ask);
        match setup::remedy(problem) {
            Some(command) if consent == Consent::Given => {
                self.progress.clear()?;
                setup::install(&command).await?;
                self.mended_at = Some(Instant::now());
                Ok(())
            }
            // The gateway looks for it from time to time.
            _ if self.mended_at.is_some_and(|at| at.elapsed() < PATIENCE) => Ok(()),
            _ => Err(Failure::new(
                UNAVAILABLE,
                format!(
                    "the message is kept and waits, for there is no sandbox for the agent: {problem}"
                ),
            )),
        }
    }

    /// Prints an answer; `true` when it is the last one to our message.
    async fn answer(&mut self, answer: Answer) -> Result<bool, Failure> {
        let Some(seq) = self.seq else {
            self.early.push(answer);
            return Ok(false);
        };
        // Answers come one after the other: those before this one have been taken by somebody.
        self.others.clear();
        self.others_until = Instant::now() + NEVER;
        if answer.is_earlier_than(seq) {
            self.others.push(answer);
            self.others_until = Instant::now() + OTHERS;
            return Ok(false);
        }
        let is_failure = answer.ends.is_some_and(|ends| !ends.answered);
        self.progress.clear()?;
        let printed = if is_failure { Ok(()) } else { print(&answer.text) };
        // Whoever read through a pipe and left has seen as much of it as they wanted.
        if !printed.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            self.link.shown(answer.outbox).await;
        }
        printed?;
        if answer.ends.is_none() {
            return Ok(false);
        }
        if is_failure {
            return Err(Failure::new(FAILED, for_terminal(answer.text.trim())));
        }
        Ok(true)
    }

    /// Tells the answers to earlier messages that nobody else has taken.
    async fn tell_left_over(&mut self) -> Result<(), Failure> {
        self.others_until = Instant::now() + NEVER;
        self.progress.clear()?;
        for answer in std::mem::take(&mut self.others) {
            let text = for_terminal(answer.text.trim());
            if !text.is_empty() {
                output::aside(format_args!("an earlier answer, not given before: {text}"));
            }
            self.link.shown(answer.outbox).await;
        }
        Ok(())
    }

    fn abandoned(&self) -> Failure {
        let kept = match self.seq {
            Some(_) => {
                "the message is kept, and `hermitcrab chat` shows the answer when there is one"
            }
            None => "it is not known whether the message was kept",
        };
        Failure::new(UNAVAILABLE, format!("no answer came; {kept}"))
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let text = text.trim_end();
    if text.is_empty() {
        return Ok(());
    }
    if out.is_terminal() {
        writeln!(out, "{}", for_terminal(text))?;
    } else {
        writeln!(out, "{text}")?;
    }
    out.flush()
}
