//! What `chat -m` says on standard error while its answer is on the way: a line that changes where somebody looks on,
//! and elsewhere only what keeps the answer away.

use std::io::{self, Stderr};
use std::time::{Duration, Instant};

use super::input_line::InputLine;
use super::keyboard;
use super::screen::{Screen, doing};
use crate::channel::terminal::wire::GatewayFrame;
use crate::cli::output;

/// Before this, nobody wonders.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is said while an answer is waited for.
pub(super) struct Progress {
    /// The line, where standard error is a terminal.
    screen: Option<Screen<Stderr>>,
    begun: Instant,
    /// What keeps the answer away.
    hindrance: Option<String>,
    /// What was said of that.
    said: Option<String>,
}

impl Progress {
    /// Begins to wait.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn begin(term: Option<&str>) -> io::Result<Self> {
        let mut screen = keyboard::columns(io::stderr(), term)
            .map(|columns| Screen::new(io::stderr(), Some(columns), InputLine::default()));
        if let Some(screen) = &mut screen {
            screen.begin()?;
        }
        Ok(Self { screen, begun: Instant::now(), hindrance: None, said: None })
    }

    /// Shows what the assistant is doing.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn show(&mut self, activity: &GatewayFrame) -> io::Result<()> {
        let doing = match activity {
            GatewayFrame::Text { .. } => Some("answering".to_owned()),
            activity => doing(activity),
        };
        match activity {
            // Its number changes all the time.
            GatewayFrame::Queued { .. } => self.hindrance = Some("queued behind others".to_owned()),
            GatewayFrame::Waiting { .. } => self.hindrance.clone_from(&doing),
            GatewayFrame::Idle => {}
            _ => self.hindrance = None,
        }
        match (&mut self.screen, doing) {
            (Some(screen), Some(doing)) => screen.say_doing(doing),
            _ => Ok(()),
        }
    }

    /// Says what keeps the answer away, and it is not the assistant.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn hinder(&mut self, why: &str) -> io::Result<()> {
        self.hindrance = Some(why.to_owned());
        match &mut self.screen {
            Some(screen) => screen.say_hindered(why.to_owned()),
            None => Ok(()),
        }
    }

    /// Draws the line anew, or says what is due; to be called a few times a second.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        if let Some(screen) = &mut self.screen {
            return screen.tick();
        }
        let due = self.begun.elapsed() >= PATIENCE && self.hindrance != self.said;
        if let Some(hindrance) = self.hindrance.as_ref().filter(|_| due) {
            output::aside(hindrance);
            self.said.clone_from(&self.hindrance);
        }
        Ok(())
    }

    /// Wipes the line, for something else to be written.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.screen.as_mut().map_or(Ok(()), Screen::clear)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::debug!(%error, "the line that says what is going on stays");
        }
    }
}
