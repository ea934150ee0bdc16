//! The conversation at the keyboard: an input line, then the answer, then an input line again.
//!
//! On a terminal the line stays while the answer is on its way: a command that is entered then is obeyed at once,
//! and a message is sent after the answer. One thread alone reads the keyboard, so what is typed keeps its
//! order.

use std::io::{self, Stdout};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::editor::{Editor, Heard};
use super::keyboard::{self, Keyboard};
use super::line::{HELP, Line};
use super::link::{Answer, Event, Link, Unkept};
use super::sandbox::SandboxState;
use super::screen::Screen;
use super::{answering, farewell, greeting};
use crate::cli::exit::Failure;
use crate::cli::place::Place;
use crate::cli::setup::Consent;
use crate::cli::status;
use crate::config;
use crate::model::GroupName;

/// How often the gateway is asked for its sandbox, while there is none.
const LOOK: Duration = Duration::from_secs(2);
/// The most messages that wait to be said; what is typed beyond waits in the terminal.
const MOST_UNSAID: usize = 100;

/// A conversation.
pub(super) struct Talk<'a> {
    pub(super) place: &'a Place,
    pub(super) group: &'a GroupName,
    pub(super) link: &'a mut Link,
    pub(super) keyboard: Keyboard,
    pub(super) editor: Editor,
    pub(super) screen: Screen<Stdout>,
    /// What the terminal calls itself.
    term: Option<String>,
    /// The trigger, where messages need one.
    pub(super) needs: Option<String>,
    /// Whether there was no sandbox when last looked.
    pub(super) lacks_sandbox: bool,
    /// Answers that came before the first input line.
    pub(super) early: Vec<Answer>,
    /// How often Ctrl-C was pressed in the input line, one after the other.
    interrupts: u32,
}

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
    let columns = keyboard::columns(io::stdout(), term.as_deref());
    let history = place.settings.store_dir().join("chat_history");
    let editor = Editor::start(&history)?;
    let screen = Screen::new(io::stdout(), columns, editor.input.clone());
    let mut talk = Talk {
        place,
        group,
        link,
        keyboard,
        editor,
        screen,
        term,
        needs: None,
        lacks_sandbox: false,
        early: Vec::new(),
        interrupts: 0,
    };
    let mut interrupt = interrupts()?;
    tokio::select! {
        greeted = greeting::greet(&mut talk, consent) => greeted?,
        _ = interrupt.recv() => return Ok(()),
    }
    for answer in std::mem::take(&mut talk.early) {
        talk.screen.answer(&answer.text)?;
        talk.link.shown(answer.outbox).await;
    }
    while talk.listen().await? == Then::Stays && answering::send(&mut talk).await? == Then::Stays {}
    Ok(())
}

/// What the person does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Goes on talking.
    Stays,
    /// Leaves.
    Leaves,
}

/// Ctrl-C from now on, while nobody reads the keyboard. The editor takes the signal for itself when it starts, so
/// this must come after it.
///
/// # Errors
/// When the system does not tell.
pub(super) fn interrupts() -> io::Result<Signal> {
    signal(SignalKind::interrupt())
}

impl Talk<'_> {
    /// Looks how wide the terminal is now.
    pub(super) fn measure(&mut self) {
        self.screen.resize(keyboard::columns(io::stdout(), self.term.as_deref()));
    }

    /// Whether the input line can stay while something is written above it.
    pub(super) fn is_live(&self) -> bool {
        self.keyboard.is_edited() && self.screen.is_live()
    }

    /// Lets the person write, if that is not so already.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        if self.editor.is_asked() || self.link.unsaid().len() >= MOST_UNSAID {
            return Ok(());
        }
        if self.is_live() {
            self.editor.input.open();
            self.screen.refresh()?;
        }
        self.editor.ask();
        Ok(())
    }

    /// Lets the person write, until the link has a message to say or they leave.
    async fn listen(&mut self) -> Result<Then, Failure> {
        self.measure();
        if let Some(message) = self.link.unsaid().first() {
            self.screen.echo(message)?;
            return Ok(Then::Stays);
        }
        self.ask()?;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                heard = self.editor.next() => heard,
                event = self.link.next() => {
                    self.overhear(event).await?;
                    continue;
                }
                _ = looks.tick(), if self.lacks_sandbox => {
                    self.link.ask_state().await;
                    continue;
                }
            };
            // What was entered stays where it is, and is taken even when nobody sees that any more.
            let drawn = self.screen.refresh();
            match heard {
                Heard::Message(text) => {
                    self.interrupts = 0;
                    match Line::read(text) {
                        Line::Message(message) => {
                            self.link.say_later(message);
                            drawn?;
                            return Ok(Then::Stays);
                        }
                        Line::Quit => return Ok(Then::Leaves),
                        command => self.obey(command).await?,
                    }
                }
                Heard::Interrupt => {
                    self.interrupts += 1;
                    if self.interrupts > 1 {
                        return Ok(Then::Leaves);
                    }
                    self.editor.input.forget();
                    self.screen.note("(Ctrl-C again, or Ctrl-D, leaves)")?;
                }
                Heard::End => return Ok(Then::Leaves),
            }
            drawn?;
            self.ask()?;
        }
    }

    /// Takes what comes while the person writes.
    async fn overhear(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Answer(answer) => {
                self.screen.answer(&answer.text)?;
                self.link.shown(answer.outbox).await;
            }
            Event::State(state) => {
                let sandbox = SandboxState::read(&state);
                if self.lacks_sandbox && sandbox.ready {
                    self.lacks_sandbox = false;
                    self.screen.note(&format!("(the sandbox is ready: {})", sandbox.line))?;
                }
            }
            Event::NotKept { unkept, .. } => self.tell_unkept(&unkept)?,
            Event::Said(text) => self.overhear_said(&text)?,
            Event::Lost => self.screen.note("(the gateway is away; trying again)")?,
            Event::Welcome(_) => self.screen.note("(the gateway is back)")?,
            Event::Refused(reason) => return Err(Failure::failed(reason)),
            _ => {}
        }
        Ok(())
    }

    /// Shows what was said in another terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn overhear_said(&mut self, text: &str) -> io::Result<()> {
        self.screen.note(&format!("another terminal> {text}"))
    }

    /// Tells that a message was not kept.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn tell_unkept(&mut self, unkept: &Unkept) -> io::Result<()> {
        let Unkept { text, reason } = unkept;
        self.screen.note(&format!("(not kept: {}: {reason})", farewell::named(text)))
    }

    /// Does what a line that was entered asks for, when it is no message.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) async fn obey(&mut self, command: Line) -> Result<(), Failure> {
        match command {
            Line::Help => self.screen.note(HELP)?,
            Line::Status => match status::lines(self.place).await {
                Ok(lines) => self.screen.note(&lines.join("\n"))?,
                Err(failure) => self.screen.note(failure.sentence())?,
            },
            Line::Stop if self.link.is_away() => {
                self.screen.note("(the gateway is away: there is nothing to stop now)")?;
            }
            Line::Stop => self.link.cancel().await,
            Line::Unknown(sentence) | Line::TooLong(sentence) => self.screen.note(&sentence)?,
            Line::Empty | Line::Quit | Line::Message(_) => {}
        }
        Ok(())
    }
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.screen.leave() {
            tracing::debug!(%error, "what was drawn last stays on the screen");
        }
    }
}
