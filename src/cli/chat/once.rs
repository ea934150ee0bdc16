//! `hermitcrab chat -m`: one message, its answer on standard output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::signal;
use tokio::time::{Instant, sleep_until};

use super::link::{Answer, Event, Link};
use crate::channel::terminal::wire::GatewayFrame;
use crate::cli::exit::{FAILED, Failure, UNAVAILABLE};
use crate::cli::output;
use crate::cli::setup::{self, Consent};
use crate::text::for_terminal;

/// How long to wait for a gateway that is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether there still is a sandbox, while nothing else is heard.
const LOOK: Duration = Duration::from_secs(2);

/// Sends a message, and prints what is answered.
///
/// # Errors
/// A sentence why there is no answer.
pub(super) async fn ask(link: &mut Link, text: String, consent: Consent) -> Result<(), Failure> {
    let mut asking = Asking {
        id: link.say(text).await,
        trigger: String::new(),
        seq: None,
        early: Vec::new(),
        interrupted: false,
        heard: false,
        consent,
        mended_at: None,
    };
    let mut give_up_at = Instant::now() + PATIENCE;
    let mut look_at = Instant::now() + LOOK;
    loop {
        tokio::select! {
            event = link.next() => {
                match &event {
                    Event::Welcome(_) => give_up_at = Instant::now() + Duration::from_hours(24 * 365),
                    Event::Lost => give_up_at = Instant::now() + PATIENCE,
                    _ => {}
                }
                if asking.take(link, event).await? {
                    return Ok(());
                }
            }
            () = sleep_until(give_up_at) => return Err(asking.abandoned()),
            () = sleep_until(look_at) => {
                look_at = Instant::now() + LOOK;
                if asking.seq.is_some() && !asking.heard {
                    link.ask_state().await;
                }
            }
            interrupted = signal::ctrl_c() => {
                interrupted?;
                if asking.interrupted {
                    return Err(asking.abandoned());
                }
                asking.interrupted = true;
                link.cancel().await;
            }
        }
    }
}

/// A message that waits for its answer.
struct Asking {
    id: String,
    trigger: String,
    /// The message's place, once it is kept.
    seq: Option<u64>,
    /// Answers that came before that was known.
    early: Vec<Answer>,
    /// Whether the person has asked for an end.
    interrupted: bool,
    /// Whether the agent has shown any sign that it is at it.
    heard: bool,
    /// Whether a missing sandbox may be installed; used up by the first time.
    consent: Consent,
    /// When it was installed.
    mended_at: Option<Instant>,
}

impl Asking {
    /// Takes what comes; `true` when all is said.
    async fn take(&mut self, link: &mut Link, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Welcome(info) => self.trigger = info.trigger,
            Event::Refused(reason) => return Err(Failure::failed(reason)),
            Event::Lost => output::aside("the gateway is gone; waiting for it to come back"),
            Event::NotKept { id, reason } if id == self.id => return Err(Failure::failed(reason)),
            Event::Kept { id, seq, addressed } if id == self.id => {
                if !addressed {
                    let trigger = &self.trigger;
                    return Err(Failure::failed(format!(
                        "the message is kept, but it does not address the assistant; say {trigger} in it"
                    )));
                }
                self.seq = Some(seq);
                for answer in std::mem::take(&mut self.early) {
                    if self.answer(link, answer).await? {
                        return Ok(true);
                    }
                }
            }
            Event::Answer(answer) => return self.answer(link, answer).await,
            Event::Activity(activity) => self.heard |= is_at_work(&activity),
            Event::State(state) => {
                let problem = SandboxState::read(&state).problem;
                if let Some(problem) = problem.filter(|_| !self.heard) {
                    self.mend(&problem).await?;
                }
            }
            Event::Kept { .. } | Event::NotKept { .. } => {}
        }
        Ok(false)
    }

    /// Installs what a sandbox needs, if that may be done and was not tried before.
    async fn mend(&mut self, problem: &str) -> Result<(), Failure> {
        let consent = std::mem::replace(&mut self.consent, Consent::Ask);
        match setup::remedy(problem) {
            Some(command) if consent == Consent::Given => {
                setup::install(&command).await?;
                self.mended_at = Some(Instant::now());
                Ok(())
            }
            // The gateway looks for it from time to time.
            _ if self.mended_at.is_some_and(|at| at.elapsed() < PATIENCE) => Ok(()),
            _ => Err(Failure::new(
                UNAVAILABLE,
                format!(
                    "there is no sandbox for the agent: {problem}; the message is kept and waits for one"
                ),
            )),
        }
    }

    /// Prints an answer; `true` when it is the last one to our message.
    async fn answer(&mut self, link: &mut Link, answer: Answer) -> Result<bool, Failure> {
        let Some(seq) = self.seq else {
            self.early.push(answer);
            return Ok(false);
        };
        let ends = answer.ends;
        let is_earlier = ends.is_some_and(|ends| ends.through < seq);
        let is_failure = ends.is_some_and(|ends| !ends.answered);
        if is_earlier {
            output::aside(format_args!(
                "an earlier answer, not given before: {}",
                for_terminal(&answer.text)
            ));
        } else if !is_failure && !self.interrupted {
            print(&answer.text)?;
        }
        link.shown(answer.outbox).await;
        if is_earlier || ends.is_none() {
            return Ok(false);
        }
        if self.interrupted {
            return Err(Failure::failed("the answer was cancelled"));
        }
        if is_failure {
            return Err(Failure::new(FAILED, for_terminal(answer.text.trim())));
        }
        Ok(true)
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

/// Whether this shows that the agent has begun; a place in the queue does not.
pub(super) fn is_at_work(activity: &GatewayFrame) -> bool {
    matches!(
        activity,
        GatewayFrame::Working | GatewayFrame::Tool { .. } | GatewayFrame::Text { .. }
    )
}

/// What the gateway's state says about sandboxes.
#[derive(Debug, Default)]
pub(super) struct SandboxState {
    /// Whether there is one.
    pub(super) ready: bool,
    /// Which, in a line.
    pub(super) line: String,
    /// Why there is none, and what mends it.
    pub(super) problem: Option<String>,
}

impl SandboxState {
    /// Reads it from the state, as far as it is there.
    pub(super) fn read(state: &Value) -> Self {
        let part = |name: &str| state.get("sandbox").and_then(|sandbox| sandbox.get(name));
        let text = |name: &str| part(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            ready: part("ready").and_then(Value::as_bool).unwrap_or(false),
            line: text("line").unwrap_or_default(),
            problem: text("problem"),
        }
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
