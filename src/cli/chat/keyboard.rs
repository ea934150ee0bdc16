//! The keyboard's modes: put back as they were when the chat ends, and without echo while an answer is written.

use std::io::{self, IsTerminal};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// Puts the terminal's modes back when dropped.
pub(super) struct Keyboard {
    before: Option<Termios>,
}

impl Keyboard {
    /// Remembers the modes of standard input, if it is a terminal.
    pub(super) fn remember() -> Self {
        let stdin = io::stdin();
        let before = stdin.is_terminal().then(|| termios::tcgetattr(&stdin).ok()).flatten();
        Self { before }
    }

    /// Hides what is typed until [`Keyboard::restore`]; it is read by the next prompt.
    pub(super) fn hide_typing(&self) {
        if let Some(mut modes) = self.before.clone() {
            modes.local_modes.remove(LocalModes::ECHO);
            set(&modes);
        }
    }

    /// Puts the modes back.
    pub(super) fn restore(&self) {
        if let Some(modes) = &self.before {
            set(modes);
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.restore();
    }
}

fn set(modes: &Termios) {
    if let Err(error) = termios::tcsetattr(io::stdin(), OptionalActions::Now, modes) {
        tracing::debug!(%error, "the terminal keeps its modes");
    }
}

/// The width of standard output, if it is a terminal that knows ANSI sequences.
pub(super) fn columns(term: Option<&str>) -> Option<usize> {
    let stdout = io::stdout();
    let knows = term.is_some_and(|term| !term.is_empty() && term != "dumb");
    if !stdout.is_terminal() || !knows {
        return None;
    }
    let size = termios::tcgetwinsize(&stdout).ok()?;
    Some(if size.ws_col == 0 { 80 } else { size.ws_col.into() })
}
