//! The line editor, on a thread of its own because it waits for keys.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Helper};
use tokio::sync::mpsc;

use super::screen::width;
use crate::cli::exit::Failure;

const PROMPT: &str = "> ";
/// How many lines the history keeps.
const HISTORY: usize = 1_000;
/// A line that ends in this goes on in the next one.
const CONTINUED: &str = "\\\n";

/// What the person at the keyboard did.
#[derive(Debug)]
pub(super) enum Heard {
    /// Wrote a message, perhaps of several lines.
    Message(String),
    /// Pressed Ctrl-C.
    Interrupt,
    /// Pressed Ctrl-D, or the terminal is gone.
    End,
}

/// The editor; asked for one message at a time.
pub(super) struct Editor {
    ask: std_mpsc::SyncSender<()>,
    heard: mpsc::Receiver<Heard>,
    draft: Draft,
    columns: Option<usize>,
}

impl Editor {
    /// Starts the editor; its history lies in a file that only the owner can read.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn start(history: &Path, columns: Option<usize>) -> Result<Self, Failure> {
        let broken =
            |error: anyhow::Error| Failure::failed("the terminal cannot be used").because(error);
        let draft = Draft::default();
        let mut line = open(history, draft.clone()).map_err(|error| broken(error.into()))?;
        let (ask, asked) = std_mpsc::sync_channel(1);
        let (tell, heard) = mpsc::channel(1);
        let history = history.to_owned();
        let listen = move || {
            while asked.recv().is_ok() {
                let heard = hear(&mut line);
                if let Heard::Message(message) = &heard {
                    remember(&mut line, message, &history);
                }
                if tell.blocking_send(heard).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("editor".to_owned())
            .spawn(listen)
            .map_err(|error| broken(error.into()))?;
        Ok(Self { ask, heard, draft, columns })
    }

    /// Shows the prompt, and lets the person write; [`Editor::next`] tells what comes of it.
    pub(super) fn ask(&self) {
        *self.draft.lock() = Written::default();
        if self.ask.send(()).is_err() {
            tracing::debug!("the editor is gone");
        }
    }

    /// Goes by another width from now on.
    pub(super) fn resize(&mut self, columns: Option<usize>) {
        self.columns = columns;
    }

    /// What the person did since [`Editor::ask`].
    pub(super) async fn next(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::End)
    }

    /// Writes above the prompt, and draws what was being written again below it.
    ///
    /// rustyline has a printer of its own for this, but with it keys that were pressed ahead stay unseen until the
    /// next one.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.columns {
            Some(columns) => write!(out, "{}", self.draft.lock().redrawn_below(text, columns))?,
            None => writeln!(out, "{text}")?,
        }
        out.flush()
    }
}

/// What is being written now; a copy that the editor keeps up to date.
#[derive(Debug, Clone, Default)]
struct Draft(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    text: String,
    /// Where the cursor stands, in bytes.
    cursor: usize,
}

impl Draft {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// What to write so that `text` stands where the prompt was and the prompt below it.
    fn redrawn_below(&self, text: &str, columns: usize) -> String {
        let before = self.text.get(..self.cursor).unwrap_or(&self.text);
        let rows: usize = format!("{PROMPT}{before}")
            .split('\n')
            .map(|line| line.chars().map(width).sum::<usize>() / columns.max(1) + 1)
            .sum();
        let up = match rows.saturating_sub(1) {
            0 => String::new(),
            above => format!("\x1b[{above}A"),
        };
        format!("\r{up}\x1b[J{text}\n{PROMPT}{}", self.text)
    }
}

impl Highlighter for Draft {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        *self.lock() = Written { text: line.to_owned(), cursor: pos };
        Cow::Borrowed(line)
    }

    /// Every key draws the line anew, so that whatever was written in between is put right by the next one.
    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        true
    }
}

impl Validator for Draft {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let goes_on = ctx.input().ends_with('\\');
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Completer for Draft {
    type Candidate = String;
}

impl Hinter for Draft {
    type Hint = String;
}

impl Helper for Draft {}

type Line = rustyline::Editor<Draft, FileHistory>;

fn open(history: &Path, draft: Draft) -> rustyline::Result<Line> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .history_ignore_dups(true)?
        .bracketed_paste(true)
        .build();
    let mut line = Line::with_config(config)?;
    line.set_helper(Some(draft));
    match line.load_history(history) {
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "the chat's history cannot be read"),
        Ok(()) => {}
    }
    Ok(line)
}

fn hear(line: &mut Line) -> Heard {
    loop {
        match line.readline(PROMPT) {
            Ok(message) => return Heard::Message(message.replace(CONTINUED, "\n")),
            Err(ReadlineError::Interrupted) => return Heard::Interrupt,
            Err(ReadlineError::Signal(_)) => {}
            Err(_gone) => return Heard::End,
        }
    }
}

fn remember(line: &mut Line, message: &str, history: &Path) {
    if message.trim().is_empty() {
        return;
    }
    let kept = line.add_history_entry(message).and_then(|_| line.save_history(history));
    if let Err(error) = kept {
        tracing::debug!(%error, "the chat's history is not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_stands_below_what_is_said_meanwhile() {
        for (text, cursor, drawn) in [
            ("", 0, "\r\x1b[Jnews\n> "),
            ("half a", 6, "\r\x1b[Jnews\n> half a"),
            ("one\ntwo", 7, "\r\x1b[1A\x1b[Jnews\n> one\ntwo"),
            ("one\ntwo", 2, "\r\x1b[Jnews\n> one\ntwo"),
            ("0123456789", 10, "\r\x1b[1A\x1b[Jnews\n> 0123456789"),
            ("é", 1, "\r\x1b[Jnews\n> é"),
        ] {
            let written = Written { text: text.into(), cursor };
            assert_eq!(written.redrawn_below("news", 10), drawn, "{text:?}");
        }
    }
}
