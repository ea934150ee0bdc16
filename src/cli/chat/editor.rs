//! The line editor, on a thread of its own because it waits for keys.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::mpsc as std_mpsc;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Helper};
use tokio::sync::mpsc;

use super::history;
use super::input_line::{InputLine, LEAD};
use crate::cli::exit::Failure;

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
    asked: bool,
    /// Where it writes.
    pub(super) input: InputLine,
}

impl Editor {
    /// Starts the editor; its history lies in a file that only the owner can read.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn start(history: &Path) -> Result<Self, Failure> {
        let broken =
            |error: anyhow::Error| Failure::failed("the terminal cannot be used").because(error);
        let input = InputLine::default();
        let mut line = open(history, input.clone()).map_err(|error| broken(error.into()))?;
        let (ask, asked) = std_mpsc::sync_channel(1);
        let (tell, heard) = mpsc::channel(1);
        let history = history.to_owned();
        let writes_at = input.clone();
        let listen = move || {
            while asked.recv().is_ok() {
                let heard = hear(&mut line, &writes_at);
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
        Ok(Self { ask, heard, asked: false, input })
    }

    /// Lets the person write; [`Editor::next`] tells what comes of it.
    pub(super) fn ask(&mut self) {
        self.asked = true;
        if self.ask.send(()).is_err() {
            tracing::debug!("the editor is gone");
        }
    }

    /// Whether the person can write now.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// What the person did since [`Editor::ask`]; nothing is lost when this is dropped half-way.
    pub(super) async fn next(&mut self) -> Heard {
        let heard = self.heard.recv().await.unwrap_or(Heard::End);
        self.asked = false;
        heard
    }
}

/// Tells the input line what the editor does.
impl Highlighter for InputLine {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        self.note(line, pos);
        Cow::Borrowed(line)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        lead: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        self.note_lead(lead);
        Cow::Borrowed(lead)
    }

    /// Every key draws the line anew, so that the input line hears of it, and whatever is amiss is put right by the next.
    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        true
    }
}

impl Validator for InputLine {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        if ctx.input().ends_with('\\') {
            return Ok(ValidationResult::Incomplete);
        }
        self.close();
        Ok(ValidationResult::Valid(None))
    }
}

impl Completer for InputLine {
    type Candidate = String;
}

impl Hinter for InputLine {
    type Hint = String;
}

impl Helper for InputLine {}

type Line = rustyline::Editor<InputLine, FileHistory>;

fn open(history: &Path, input: InputLine) -> rustyline::Result<Line> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .history_ignore_dups(true)?
        .bracketed_paste(true)
        .build();
    let mut line = Line::with_config(config)?;
    line.set_helper(Some(input));
    if let Err(error) = history::shorten(history, HISTORY) {
        tracing::debug!(%error, "the chat's history stays as long as it is");
    }
    match line.load_history(history) {
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "the chat's history cannot be read"),
        Ok(()) => {}
    }
    Ok(line)
}

fn hear(line: &mut Line, input: &InputLine) -> Heard {
    loop {
        let (before, behind) = input.written();
        let heard = match line.readline_with_initial(LEAD, (&before, &behind)) {
            Ok(message) => Heard::Message(message.replace(CONTINUED, "\n")),
            Err(ReadlineError::Interrupted) => Heard::Interrupt,
            Err(ReadlineError::Signal(_)) => continue,
            Err(_gone) => Heard::End,
        };
        input.closed();
        if matches!(heard, Heard::Message(_)) {
            input.forget();
        }
        return heard;
    }
}

fn remember(line: &mut Line, message: &str, history: &Path) {
    if message.trim().is_empty() {
        return;
    }
    let kept = match line.add_history_entry(message) {
        Ok(true) => history::add(history, message),
        // It is there already.
        Ok(false) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    };
    if let Err(error) = kept {
        tracing::debug!(%error, "the chat's history is not kept");
    }
}
