//! The line editor, on a thread of its own because it waits for keys.

use std::io;
use std::path::Path;
use std::sync::mpsc as std_mpsc;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, ExternalPrinter};
use tokio::sync::mpsc;

use crate::cli::exit::Failure;

/// How many lines the history keeps.
const HISTORY: usize = 1_000;

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
    printer: Box<dyn ExternalPrinter + Send>,
}

impl Editor {
    /// Starts the editor; its history lies in a file that only the owner can read.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn start(prompt: &'static str, history: &Path) -> Result<Self, Failure> {
        let broken = |error| Failure::failed("the terminal cannot be used").because(error);
        let mut editor = open(history).map_err(|error| broken(anyhow::Error::from(error)))?;
        let printer = editor.create_external_printer();
        let printer = Box::new(printer.map_err(|error| broken(error.into()))?);
        let (ask, asked) = std_mpsc::sync_channel(1);
        let (tell, heard) = mpsc::channel(1);
        let history = history.to_owned();
        let listen = move || {
            while asked.recv().is_ok() {
                let heard = hear(&mut editor, prompt);
                if let Heard::Message(message) = &heard {
                    remember(&mut editor, message, &history);
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
        Ok(Self { ask, heard, printer })
    }

    /// Shows the prompt, and lets the person write; [`Editor::next`] tells what comes of it.
    pub(super) fn ask(&self) {
        if self.ask.send(()).is_err() {
            tracing::debug!("the editor is gone");
        }
    }

    /// What the person did since [`Editor::ask`].
    pub(super) async fn next(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::End)
    }

    /// Writes above the prompt.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.printer.print(format!("{text}\n")).map_err(io::Error::other)
    }
}

type Line = rustyline::Editor<(), DefaultHistory>;

fn open(history: &Path) -> rustyline::Result<Line> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .history_ignore_dups(true)?
        .bracketed_paste(true)
        .build();
    let mut editor = Line::with_config(config)?;
    match editor.load_history(history) {
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "the chat's history cannot be read"),
        Ok(()) => {}
    }
    Ok(editor)
}

/// Reads a message; a line that ends in a backslash goes on.
fn hear(editor: &mut Line, prompt: &str) -> Heard {
    let mut message = String::new();
    loop {
        let prompt = if message.is_empty() { prompt } else { "… " };
        match editor.readline(prompt) {
            Ok(line) => match line.strip_suffix('\\') {
                Some(begun) => {
                    message.push_str(begun);
                    message.push('\n');
                }
                None => return Heard::Message(message + &line),
            },
            Err(ReadlineError::Interrupted) => return Heard::Interrupt,
            Err(ReadlineError::Signal(_)) => {}
            Err(_gone) => return Heard::End,
        }
    }
}

fn remember(editor: &mut Line, message: &str, history: &Path) {
    if message.trim().is_empty() {
        return;
    }
    let kept = editor.add_history_entry(message).and_then(|_| editor.save_history(history));
    if let Err(error) = kept {
        tracing::debug!(%error, "the chat's history is not kept");
    }
}
