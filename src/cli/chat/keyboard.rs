//! The keyboard's modes: taken over when a conversation begins, and put back when it ends.
//!
//! Nothing that is typed gets lost: whatever is pressed while the line editor does not read waits in the terminal,
//! unseen, for the next input line. For that the terminal must neither gather lines by itself, which it cuts at 4,095 bytes, nor throw
//! away what waits when somebody presses Ctrl-C.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// Terminals on which there is no line editor.
const WITHOUT_EDITOR: [&str; 3] = ["dumb", "cons25", "emacs"];
/// Asks the terminal to mark what is pasted, so that many lines are one message.
const MARK_PASTES: &str = "\x1b[?2004h";
const MARK_NOTHING: &str = "\x1b[?2004l";

/// Puts the terminal's modes back when dropped.
pub(super) struct Keyboard {
    modes: Option<Modes>,
}

struct Modes {
    before: Termios,
    /// While nobody reads.
    quiet: Termios,
}

impl Keyboard {
    /// Takes over standard input, if it is a terminal that the line editor can handle.
    pub(super) fn take(term: Option<&str>) -> Self {
        let stdin = io::stdin();
        let edits = stdin.is_terminal() && term.is_none_or(|term| !WITHOUT_EDITOR.contains(&term));
        let before = edits.then(|| termios::tcgetattr(&stdin).ok()).flatten();
        let modes = before.map(|before| Modes { quiet: quiet(before.clone()), before });
        let keyboard = Self { modes };
        keyboard.hold();
        keyboard
    }

    /// Whether what is typed comes through the line editor.
    pub(super) fn is_edited(&self) -> bool {
        self.modes.is_some()
    }

    /// Gives the keyboard to somebody who reads it in the ordinary way.
    pub(super) fn lend(&self) {
        if let Some(modes) = &self.modes {
            set(&modes.before);
            tell(MARK_NOTHING);
        }
    }

    /// Takes it back; also from the line editor, which leaves pastes unmarked.
    pub(super) fn hold(&self) {
        if let Some(modes) = &self.modes {
            set(&modes.quiet);
            tell(MARK_PASTES);
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.lend();
    }
}

/// As before, but every key as it comes, unseen; Ctrl-C is a signal that leaves what waits alone.
fn quiet(mut modes: Termios) -> Termios {
    modes.input_modes.remove(InputModes::ICRNL | InputModes::INLCR | InputModes::IXON);
    modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN);
    modes.local_modes.insert(LocalModes::ISIG | LocalModes::NOFLSH);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

fn set(modes: &Termios) {
    if let Err(error) = termios::tcsetattr(io::stdin(), OptionalActions::Now, modes) {
        tracing::debug!(%error, "the terminal keeps its modes");
    }
}

fn tell(sequence: &str) {
    let mut out = io::stdout().lock();
    if out.is_terminal()
        && let Err(error) = out.write_all(sequence.as_bytes()).and_then(|()| out.flush())
    {
        tracing::debug!(%error, "the terminal was not told how to hand on what is pasted");
    }
}

/// The width of a stream, if it is a terminal that knows ANSI sequences.
pub(super) fn columns(stream: impl AsFd + IsTerminal, term: Option<&str>) -> Option<usize> {
    let knows = term.is_some_and(|term| !term.is_empty() && term != "dumb");
    if !stream.is_terminal() || !knows {
        return None;
    }
    let size = termios::tcgetwinsize(stream).ok()?;
    Some(if size.ws_col == 0 { 80 } else { size.ws_col.into() })
}
