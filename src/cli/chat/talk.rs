//! The conversation at the keyboard: a prompt, then the answer, then a prompt again.

use std::io::{self, Stdout};
use std::time::Duration;

use tokio::signal;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::editor::{Editor, Heard};
use super::keyboard::{self, Keyboard};
use super::link::{Answer, Event, Link};
use super::once::{SandboxState, is_at_work};
use super::screen::Screen;
use crate::channel::terminal::wire::{GatewayFrame, MAX_TEXT_BYTES, WelcomeInfo};
use crate::cli::exit::{Failure, UNAVAILABLE};
use crate::cli::place::Place;
use crate::cli::setup::{self, Consent};
use crate::cli::status;
use crate::config;
use crate::model::GroupName;
use crate::text::for_terminal;

const HELP: &str = "\
/help     this list
/status   how the gateway is
/quit     leave; Ctrl-D and two times Ctrl-C do the same
Ctrl-C    stop the answer under way
A line that ends in \\ goes on in the next one, and a paste may have many lines.";
/// How often the line that says what the agent does is drawn.
const TICK: Duration = Duration::from_millis(120);
/// How often to look for the reason, while nothing is heard.
const LOOK: Duration = Duration::from_secs(2);
/// How long the greeting waits for the gateway to have looked for a sandbox.
const LOOKING: Duration = Duration::from_secs(5);
/// How long the gateway may take to find a sandbox that was just installed.
const MENDING: Duration = Duration::from_secs(20);
/// How long a cancelled answer may take to end.
const CANCELLING: Duration = Duration::from_secs(5);

/// Talks until the person leaves.
///
/// # Errors
/// When the gateway does not want this chat, or the terminal is gone.
pub(super) async fn talk(
    place: &Place,
    link: &mut Link,
    group: &GroupName,
    consent: Consent,
) -> Result<(), Failure> {
    let term = config::terminal();
    let keyboard = Keyboard::take(term.as_deref());
    let columns = keyboard::columns(term.as_deref());
    let history = place.settings.store_dir().join("chat_history");
    let mut talk = Talk {
        place,
        group,
        link,
        keyboard,
        editor: Editor::start(&history, columns)?,
        screen: Screen::new(io::stdout(), columns),
        terminate: signal::unix::signal(SignalKind::terminate())?,
        needs: None,
        early: Vec::new(),
        interrupts: 0,
    };
    talk.greet(consent).await?;
    for answer in std::mem::take(&mut talk.early) {
        talk.screen.answer(&answer.text)?;
        talk.link.shown(answer.outbox).await;
    }
    loop {
        let Some(message) = talk.listen().await? else { return Ok(()) };
        if !talk.send(message).await? {
            return Ok(());
        }
    }
}

struct Talk<'a> {
    place: &'a Place,
    group: &'a GroupName,
    link: &'a mut Link,
    keyboard: Keyboard,
    editor: Editor,
    screen: Screen<Stdout>,
    terminate: Signal,
    /// The trigger, where messages need one.
    needs: Option<String>,
    /// Answers that came before the first prompt.
    early: Vec<Answer>,
    /// How often Ctrl-C was pressed at the prompt, one after the other.
    interrupts: u32,
}

/// A message that waits for its answer.
struct Waiting {
    id: String,
    seq: Option<u64>,
    early: Vec<Answer>,
    heard: bool,
    give_up_at: Option<Instant>,
}

impl Talk<'_> {
    /// Waits for the gateway's welcome and for what it finds out about sandboxes, and says where one is.
    async fn greet(&mut self, consent: Consent) -> Result<(), Failure> {
        let mut give_up_at = Instant::now() + LOOKING;
        let mut offered = false;
        let mut welcome = None;
        let mut sandbox = SandboxState::default();
        while Instant::now() < give_up_at {
            match timeout(LOOKING, self.link.next()).await {
                Ok(Event::Welcome(info)) => welcome = Some(info),
                Ok(Event::Refused(reason)) => return Err(Failure::failed(reason)),
                Ok(Event::Answer(answer)) => self.early.push(answer),
                Ok(Event::State(state)) => {
                    sandbox = SandboxState::read(&state);
                    if sandbox.ready {
                        break;
                    }
                    if let Some(problem) = &sandbox.problem
                        && !std::mem::replace(&mut offered, true)
                    {
                        if !self.mend(problem, consent).await? {
                            break;
                        }
                        give_up_at = Instant::now() + MENDING;
                    }
                    sleep(TICK).await;
                }
                Ok(_) => continue,
                Err(_elapsed) => {}
            }
            self.link.ask_state().await;
        }
        match welcome {
            Some(info) => self.introduce(&info, &sandbox),
            None => Err(Failure::new(UNAVAILABLE, "the gateway does not answer")),
        }
    }

    /// Offers to install what a sandbox needs; whether it was.
    async fn mend(&mut self, problem: &str, consent: Consent) -> Result<bool, Failure> {
        let Some(command) = setup::remedy(problem) else { return Ok(false) };
        self.screen
            .note("The agent works in a sandbox, and this machine has none that can be used.")?;
        self.keyboard.lend();
        let installed = async {
            if consent == Consent::Ask && !setup::ask(&command)? {
                return Ok(false);
            }
            setup::install(&command).await.map(|()| true)
        };
        let installed = installed.await;
        self.keyboard.hold();
        match installed {
            Ok(installed) => Ok(installed),
            Err(failure) => {
                self.screen.note(failure.sentence())?;
                Ok(false)
            }
        }
    }

    fn introduce(&mut self, info: &WelcomeInfo, sandbox: &SandboxState) -> Result<(), Failure> {
        self.needs = info.needs_trigger.then(|| info.trigger.clone());
        let (assistant, group) = (&info.assistant, self.group);
        let mut greeting =
            format!("{assistant} listens in the group {group}. /help shows what else there is.");
        if let Some(trigger) = &self.needs {
            greeting
                .push_str(&format!("\nHere only messages with {trigger} in them are answered."));
        }
        greeting.push_str(&match &sandbox.problem {
            Some(problem) => format!(
                "\nThere is no sandbox for the agent: {problem}\nMessages are kept, and answered once there is one."
            ),
            None if sandbox.ready => format!("\nSandbox: {}", sandbox.line),
            None => "\nThe sandbox is still being prepared.".to_owned(),
        });
        Ok(self.screen.note(&greeting)?)
    }

    /// Lets the person write a message; `None` when they leave.
    async fn listen(&mut self) -> Result<Option<String>, Failure> {
        self.editor.ask();
        loop {
            let heard = tokio::select! {
                heard = self.editor.next() => heard,
                event = self.link.next() => {
                    self.overhear(event).await?;
                    continue;
                }
                _ = self.terminate.recv() => return Ok(None),
            };
            match heard {
                Heard::Message(message) => {
                    self.interrupts = 0;
                    match self.command(message).await? {
                        Next::Say(message) => return Ok(Some(message)),
                        Next::Leave => return Ok(None),
                        Next::Prompt => {}
                    }
                }
                Heard::Interrupt => {
                    self.interrupts += 1;
                    if self.interrupts > 1 {
                        return Ok(None);
                    }
                    self.screen.note("(Ctrl-C again, or Ctrl-D, leaves)")?;
                }
                Heard::End => return Ok(None),
            }
            self.editor.ask();
        }
    }

    /// Takes what comes while the person writes.
    async fn overhear(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Answer(answer) => {
                let text = for_terminal(answer.text.trim_end());
                if !text.is_empty() {
                    self.editor.print(&text)?;
                }
                self.link.shown(answer.outbox).await;
            }
            Event::Lost => {
                self.editor.print("(the gateway is gone; waiting for it to come back)")?;
            }
            Event::Welcome(_) => self.editor.print("(the gateway is back)")?,
            Event::Refused(reason) => return Err(Failure::failed(reason)),
            _ => {}
        }
        Ok(())
    }

    /// What a line at the prompt asks for.
    async fn command(&mut self, message: String) -> Result<Next, Failure> {
        match message.trim() {
            "" => {}
            "/quit" | "/exit" => return Ok(Next::Leave),
            "/help" => self.screen.note(HELP)?,
            "/status" => match status::lines(self.place).await {
                Ok(lines) => self.screen.note(&lines.join("\n"))?,
                Err(failure) => self.screen.note(failure.sentence())?,
            },
            _ if message.len() > MAX_TEXT_BYTES => {
                let most = MAX_TEXT_BYTES / 1024;
                self.screen.note(&format!("(too long: at most {most} KiB fit into a message)"))?;
            }
            _ => return Ok(Next::Say(message)),
        }
        Ok(Next::Prompt)
    }

    /// Sends a message and shows what comes of it; `false` when the program is to end.
    async fn send(&mut self, message: String) -> Result<bool, Failure> {
        self.keyboard.hold();
        self.screen.begin()?;
        let id = self.link.say(message).await;
        let mut waiting =
            Waiting { id, seq: None, early: Vec::new(), heard: false, give_up_at: None };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut look_at = Instant::now() + LOOK;
        let go_on = loop {
            let never = Instant::now() + Duration::from_hours(1);
            tokio::select! {
                event = self.link.next() => {
                    if self.take(&mut waiting, event).await? {
                        break true;
                    }
                }
                _ = ticks.tick() => self.screen.tick()?,
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + LOOK;
                    if waiting.seq.is_some() && !waiting.heard {
                        self.link.ask_state().await;
                    }
                }
                () = sleep_until(waiting.give_up_at.unwrap_or(never)), if waiting.give_up_at.is_some() => {
                    self.screen.note("(the answer, if there is one, will be shown when it comes)")?;
                    break true;
                }
                interrupted = signal::ctrl_c() => {
                    interrupted?;
                    if waiting.give_up_at.is_some() {
                        self.screen.note("(the answer, if there is one, will be shown when it comes)")?;
                        break true;
                    }
                    self.link.cancel().await;
                    self.screen.say_doing("stopping".to_owned())?;
                    waiting.give_up_at = Some(Instant::now() + CANCELLING);
                }
                _ = self.terminate.recv() => break false,
            }
        };
        self.screen.end()?;
        Ok(go_on)
    }

    /// Takes what comes while an answer is waited for; `true` when all is said.
    async fn take(&mut self, waiting: &mut Waiting, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Kept { id, seq, addressed } if id == waiting.id => {
                if !addressed {
                    let trigger = self.needs.as_deref().unwrap_or("the assistant's name");
                    let said = format!(
                        "(kept, but only messages with {trigger} in them are answered here)"
                    );
                    self.screen.note(&said)?;
                    return Ok(true);
                }
                waiting.seq = Some(seq);
                for answer in std::mem::take(&mut waiting.early) {
                    if self.answer(waiting, answer).await? {
                        return Ok(true);
                    }
                }
            }
            Event::NotKept { id, reason } if id == waiting.id => {
                self.screen.note(&format!("(not kept: {reason})"))?;
                return Ok(true);
            }
            Event::Answer(answer) => return self.answer(waiting, answer).await,
            Event::Activity(GatewayFrame::Idle) => {}
            Event::Activity(activity) => {
                waiting.heard |= is_at_work(&activity);
                self.screen.show(&activity)?;
            }
            Event::State(state) => {
                let problem = SandboxState::read(&state).problem;
                if let Some(problem) = problem.filter(|_| !waiting.heard) {
                    self.screen.say_doing(format!("no sandbox yet: {problem}"))?;
                }
            }
            Event::Lost => {
                self.screen.note("(the gateway is gone; waiting for it to come back)")?;
            }
            Event::Welcome(_) => self.screen.note("(the gateway is back)")?,
            Event::Refused(reason) => return Err(Failure::failed(reason)),
            Event::Kept { .. } | Event::NotKept { .. } => {}
        }
        Ok(false)
    }

    /// Shows an answer; `true` when it is the last one to the message that waits.
    async fn answer(&mut self, waiting: &mut Waiting, answer: Answer) -> Result<bool, Failure> {
        let Some(seq) = waiting.seq else {
            waiting.early.push(answer);
            return Ok(false);
        };
        self.screen.answer(&answer.text)?;
        self.link.shown(answer.outbox).await;
        Ok(answer.ends.is_some_and(|ends| ends.through >= seq))
    }
}

/// What follows a line at the prompt.
enum Next {
    /// It is a message.
    Say(String),
    /// The prompt again.
    Prompt,
    /// The end.
    Leave,
}
