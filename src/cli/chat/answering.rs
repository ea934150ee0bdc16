//! From a message to its answer: what is shown meanwhile, what the person can do, and when the next message is sent.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::editor::Heard;
use super::line::Line;
use super::link::{Answer, Event};
use super::sandbox::{SandboxState, is_at_work};
use super::talk::{Talk, Then, interrupts};
use crate::channel::terminal::wire::GatewayFrame;
use crate::cli::exit::Failure;

/// How often the line that says what the agent does is drawn.
const TICK: Duration = Duration::from_millis(120);
/// How often to look for the reason, while nothing is heard.
const LOOK: Duration = Duration::from_secs(2);
/// How long a cancelled answer may take to end.
const CANCELLING: Duration = Duration::from_secs(10);
/// How long somebody looks on while the sandbox is being prepared.
const PREPARING: Duration = Duration::from_secs(5);

const AWAY: &str = "the gateway is away, trying again";
const LATER: &str = "(the answer, if there is one, will be shown when it comes)";
const NEXT_TIME: &str = "(the answer, if there is one, will be shown at the next chat)";

/// A message that waits for its answer.
struct Waiting {
    id: String,
    seq: Option<u64>,
    early: Vec<Answer>,
    since: Instant,
    /// Whether the agent has shown any sign that it is at it.
    heard: bool,
    /// Whether the person wants it to end.
    cancelled: bool,
    /// When it is waited for no longer.
    give_up_at: Option<Instant>,
}

/// Sends the message that was entered first, and shows what comes of it.
///
/// # Errors
/// When the gateway does not want this chat any more, or the terminal is gone.
pub(super) async fn send(talk: &mut Talk<'_>) -> Result<Then, Failure> {
    if !talk.editor.is_asked() {
        talk.keyboard.hold();
    }
    talk.measure();
    let mut interrupt = interrupts()?;
    talk.screen.begin()?;
    if talk.link.is_away() {
        talk.screen.say_hindered(AWAY.to_owned())?;
    }
    let Some(id) = talk.link.say_next().await else { return Ok(Then::Stays) };
    let mut waiting = Waiting {
        id,
        seq: None,
        early: Vec::new(),
        since: Instant::now(),
        heard: false,
        cancelled: false,
        give_up_at: None,
    };
    if talk.is_live() {
        talk.ask()?;
    }
    let mut then = Then::Stays;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut look_at = Instant::now() + LOOK;
    loop {
        let never = Instant::now() + Duration::from_hours(1);
        tokio::select! {
            event = talk.link.next() => {
                if waiting.take(talk, event).await? {
                    break;
                }
            }
            heard = talk.editor.next() => {
                match waiting.hear(talk, heard).await? {
                    ControlFlow::Continue(()) => talk.ask()?,
                    ControlFlow::Break(next) => {
                        then = next;
                        break;
                    }
                }
            }
            _ = ticks.tick() => {
                talk.measure();
                talk.screen.tick()?;
            }
            () = sleep_until(look_at) => {
                look_at = Instant::now() + LOOK;
                if waiting.cancelled {
                    // A gateway that has just come back may not have found the run yet.
                    talk.link.cancel().await;
                } else if waiting.seq.is_some() && !waiting.heard {
                    talk.link.ask_state().await;
                }
            }
            () = sleep_until(waiting.give_up_at.unwrap_or(never)), if waiting.give_up_at.is_some() => {
                talk.screen.note(LATER)?;
                break;
            }
            _ = interrupt.recv() => {
                if waiting.interrupt(talk).await?.is_break() {
                    break;
                }
            }
        }
    }
    talk.screen.end()?;
    Ok(then)
}

impl Waiting {
    /// Takes what the person does meanwhile; breaks when the answer is not waited for any longer.
    async fn hear(
        &mut self,
        talk: &mut Talk<'_>,
        heard: Heard,
    ) -> Result<ControlFlow<Then>, Failure> {
        let text = match heard {
            Heard::Message(text) => text,
            Heard::Interrupt => return self.interrupt(talk).await,
            Heard::End => return leave(talk),
        };
        let entered = text.clone();
        match Line::read(text) {
            Line::Empty => {}
            Line::Message(message) => talk.link.say_later(message),
            Line::Quit => return leave(talk),
            Line::Stop => self.cancel(talk).await?,
            command => {
                talk.screen.echo(&entered)?;
                talk.obey(command).await?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Stops the answer; the second time, waits for it no longer.
    async fn interrupt(&mut self, talk: &mut Talk<'_>) -> Result<ControlFlow<Then>, Failure> {
        if self.cancelled {
            talk.screen.note(LATER)?;
            return Ok(ControlFlow::Break(Then::Stays));
        }
        self.cancel(talk).await?;
        Ok(ControlFlow::Continue(()))
    }

    /// Takes what comes; `true` when all is said.
    async fn take(&mut self, talk: &mut Talk<'_>, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Kept { id, seq, addressed } if id == self.id => {
                if !addressed {
                    let trigger = talk.needs.as_deref().unwrap_or("the assistant's name");
                    let said = format!(
                        "(kept, but only messages with {trigger} in them are answered here)"
                    );
                    talk.screen.note(&said)?;
                    return Ok(true);
                }
                self.seq = Some(seq);
                if talk.lacks_sandbox {
                    talk.link.ask_state().await;
                }
                for answer in std::mem::take(&mut self.early) {
                    if self.answer(talk, answer).await? {
                        return Ok(true);
                    }
                }
            }
            Event::NotKept { id, unkept } => {
                talk.tell_unkept(&unkept)?;
                return Ok(id == self.id);
            }
            Event::Answer(answer) => return self.answer(talk, answer).await,
            Event::Activity(GatewayFrame::Idle) => {}
            Event::Activity(activity) => {
                if is_at_work(&activity) {
                    self.heard = true;
                }
                if !self.cancelled {
                    talk.screen.show(&activity)?;
                }
            }
            Event::State(state) => return self.look(talk, &SandboxState::read(&state)),
            Event::Lost => {
                self.give_up_at = None;
                talk.screen.say_hindered(AWAY.to_owned())?;
            }
            Event::Welcome(_) => {
                (self.heard, self.since) = (false, Instant::now());
                talk.screen.note("(the gateway was away, and is back)")?;
                talk.screen.say_doing("waiting for the agent".to_owned())?;
                if self.cancelled {
                    self.cancel(talk).await?;
                }
            }
            Event::Said(text) => talk.overhear_said(&text)?,
            Event::Refused(reason) => return Err(Failure::failed(reason)),
            Event::Kept { .. } | Event::Taken(_) => {}
        }
        Ok(false)
    }

    /// Asks for an end. While the gateway is away the wish is kept, and told when it is back.
    async fn cancel(&mut self, talk: &mut Talk<'_>) -> Result<(), Failure> {
        self.cancelled = true;
        if talk.link.is_away() {
            return Ok(talk.screen.say_hindered(format!("{AWAY}; the answer is stopped then"))?);
        }
        talk.link.cancel().await;
        self.give_up_at.get_or_insert(Instant::now() + CANCELLING);
        Ok(talk.screen.say_hindered("stopping".to_owned())?)
    }

    /// Takes what the gateway says of its sandbox; `true` when the answer is not waited for. Without a sandbox it may
    /// be long in coming, and what is entered next is not held back that long.
    fn look(&self, talk: &mut Talk<'_>, sandbox: &SandboxState) -> Result<bool, Failure> {
        if self.heard || self.cancelled || sandbox.ready || self.seq.is_none() {
            return Ok(false);
        }
        let why = match &sandbox.problem {
            Some(problem) => format!("there is no sandbox for the agent yet: {problem}"),
            None if self.since.elapsed() >= PREPARING => {
                "the sandbox is still being prepared".to_owned()
            }
            None => return Ok(false),
        };
        talk.lacks_sandbox = true;
        talk.screen.note(&format!("(kept; {why}; the answer will be shown when it comes)"))?;
        Ok(true)
    }

    /// Shows an answer; `true` when it is the last one to the message that waits.
    async fn answer(&mut self, talk: &mut Talk<'_>, answer: Answer) -> Result<bool, Failure> {
        let Some(seq) = self.seq else {
            self.early.push(answer);
            return Ok(false);
        };
        talk.screen.answer(&answer.text)?;
        talk.link.shown(answer.outbox).await;
        Ok(answer.ends.is_some_and(|ends| ends.through >= seq))
    }
}

/// Lets the person go before the answer is there.
fn leave(talk: &mut Talk<'_>) -> Result<ControlFlow<Then>, Failure> {
    talk.screen.note(NEXT_TIME)?;
    Ok(ControlFlow::Break(Then::Leaves))
}
