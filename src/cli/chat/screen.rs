//! What the chat draws: what is said, and below it one row that changes, with the line that is being written of the
//! answer, or with what the agent is doing; and below that the input line, when the person can write.
//!
//! The changing row is drawn and wiped with ANSI sequences; where standard output is no terminal that knows them, only
//! whole answers and notes are written. What the agent says is made harmless before a terminal sees it.

mod row;

use std::io::{self, Write};
use std::time::Instant;

pub(super) use self::row::doing;
use self::row::{fit, fit_end};
use super::input_line::{InputLine, LEAD, Seen};
use super::wrap::{Wrap, wrapped};
use crate::channel::terminal::wire::GatewayFrame;
use crate::text;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Wipes everything below.
const WIPE: &str = "\x1b[J";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Where the chat draws.
pub(super) struct Screen<W> {
    out: W,
    /// The width in columns of a terminal that knows ANSI sequences; `None` for everything else.
    columns: Option<usize>,
    input: InputLine,
    /// What the agent is doing, while somebody waits for it.
    doing: Option<String>,
    /// Whether Ctrl-C stops that.
    stoppable: bool,
    since: Instant,
    turn: usize,
    /// What has been streamed of the answer.
    streamed: String,
    /// Breaks its lines.
    wrap: Wrap,
    /// Whether a line of it is being written.
    midway: bool,
    /// The beginning of that line, as far as it is shown.
    line: String,
    /// What is to stay on the screen, and could not be written yet.
    due: String,
    /// Whether the row that changes is the one above the input line.
    above_input: bool,
}

impl<W: Write> Screen<W> {
    /// A screen of so many columns, or one that is none, on which there will be this input line.
    pub(super) fn new(out: W, columns: Option<usize>, input: InputLine) -> Self {
        Self {
            out,
            columns,
            input,
            doing: None,
            stoppable: true,
            since: Instant::now(),
            turn: 0,
            streamed: String::new(),
            wrap: Wrap::new(columns.unwrap_or(usize::MAX)),
            midway: false,
            line: String::new(),
            due: String::new(),
            above_input: false,
        }
    }

    /// Goes by another width from now on.
    pub(super) fn resize(&mut self, columns: Option<usize>) {
        if !self.midway && columns != self.columns {
            self.columns = columns;
            self.wrap = Wrap::new(columns.unwrap_or(usize::MAX));
        }
    }

    /// Whether this is a terminal on which what stands there can be changed.
    pub(super) fn is_live(&self) -> bool {
        self.columns.is_some()
    }

    /// Begins to wait for an answer.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        (self.doing, self.stoppable) = (Some("sent".to_owned()), true);
        self.since = Instant::now();
        self.streamed.clear();
        self.refresh()
    }

    /// Stops waiting, and leaves a line free before the next input line.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let ended = self.end_line();
        self.streamed.clear();
        // What was entered meanwhile is no longer there when this is drawn.
        self.paint(&(ended + "\n"), "")?;
        self.doing = None;
        Ok(())
    }

    /// Leaves the screen to others, with the cursor at the beginning of a line.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        let ended = self.end_line();
        self.paint(&ended, "")?;
        self.doing = None;
        if self.columns.is_some() && self.input.is_open() {
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    /// Shows what the agent is doing.
    pub(super) fn show(&mut self, activity: &GatewayFrame) -> io::Result<()> {
        match (activity, doing(activity)) {
            (GatewayFrame::Text { delta }, _) => self.stream(delta),
            (_, Some(doing)) => self.say_doing(doing),
            (_, None) => Ok(()),
        }
    }

    /// Changes what the row says.
    pub(super) fn say_doing(&mut self, doing: String) -> io::Result<()> {
        self.stoppable = true;
        self.change(doing)
    }

    /// Changes it to something that Ctrl-C does not stop.
    pub(super) fn say_hindered(&mut self, why: String) -> io::Result<()> {
        self.stoppable = false;
        self.change(why)
    }

    fn change(&mut self, doing: String) -> io::Result<()> {
        if self.doing.is_none() {
            return Ok(());
        }
        self.doing = Some(doing);
        let ended = self.end_line();
        self.say(&ended)
    }

    /// Draws the row anew; to be called a few times a second.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        self.turn = self.turn.wrapping_add(1);
        let stands = self.midway || self.doing.is_none();
        if stands && self.due.is_empty() { Ok(()) } else { self.refresh() }
    }

    /// Draws what changes, and the input line, if the person can write.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        self.say("")
    }

    /// Shows an answer; what was streamed of it already is not repeated.
    pub(super) fn answer(&mut self, text: &str) -> io::Result<()> {
        let text = self.tame(text);
        let text = text.trim_end();
        let is_known = !text.is_empty() && self.streamed.trim_end().ends_with(text.trim_start());
        let mut said = self.end_line();
        if !is_known && !text.is_empty() {
            said += &wrapped(text, self.columns);
            said.push('\n');
        }
        self.streamed.clear();
        self.say(&said)
    }

    /// Says something that is not the agent's word; above the line that is being written, which goes on.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        let text = wrapped(&self.tame(text), self.columns);
        match self.columns {
            Some(_) => self.say(&format!("{DIM}{text}{PLAIN}\n")),
            None => self.say(&format!("{text}\n")),
        }
    }

    /// Shows what the person has entered, as it stood in the input line.
    pub(super) fn echo(&mut self, text: &str) -> io::Result<()> {
        let text = self.tame(text);
        self.say(&format!("{LEAD}{text}\n"))
    }

    fn stream(&mut self, delta: &str) -> io::Result<()> {
        if self.columns.is_none() || self.doing.is_none() {
            return Ok(());
        }
        let mut delta = self.tame(delta);
        if !self.midway {
            // What a block begins with is nothing to see.
            delta = delta.trim_start_matches('\n').to_owned();
        }
        if delta.is_empty() {
            return Ok(());
        }
        self.midway = true;
        self.streamed.push_str(&delta);
        self.line += &self.wrap.push(&delta);
        let whole = self.line.rfind('\n').map_or(0, |last| last + 1);
        let rest = self.line.split_off(whole);
        let lines = std::mem::replace(&mut self.line, rest);
        self.say(&lines)
    }

    /// Wipes the row that changes; the next tick draws it again.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.paint("", "")
    }

    /// Ends the line that is being written; what of it is to stay.
    fn end_line(&mut self) -> String {
        if !std::mem::replace(&mut self.midway, false) {
            return String::new();
        }
        let mut line = std::mem::take(&mut self.line) + &self.wrap.finish();
        self.wrap = Wrap::new(self.columns.unwrap_or(usize::MAX));
        if !self.streamed.ends_with('\n') {
            line.push('\n');
        }
        self.streamed.push('\n');
        line
    }

    /// Writes whole lines that stay, and below them the row that changes.
    fn say(&mut self, lines: &str) -> io::Result<()> {
        let row = match (&self.doing, self.columns) {
            (_, Some(columns)) if self.midway => fit_end(&self.line, columns).to_owned(),
            (Some(doing), Some(columns)) => self.at_work(doing, columns),
            _ => String::new(),
        };
        self.paint(lines, &row)
    }

    /// The row that says what the agent is doing.
    fn at_work(&self, doing: &str, columns: usize) -> String {
        let spinner = SPINNER.get(self.turn % SPINNER.len()).copied().unwrap_or("-");
        let seconds = self.since.elapsed().as_secs();
        let hint = if self.stoppable { ", Ctrl-C stops it" } else { "" };
        let line = fit(&format!("{doing} ({seconds} s{hint})"), columns.saturating_sub(4));
        format!("{DIM}{spinner} {line}{PLAIN}")
    }

    /// Writes whole lines that stay, a row that changes, and the input line if there is one, in place of what stood there.
    fn paint(&mut self, lines: &str, row: &str) -> io::Result<()> {
        let Some(columns) = self.columns else {
            self.out.write_all(lines.as_bytes())?;
            return self.out.flush();
        };
        self.due.push_str(lines);
        let (rows, input) = match self.input.seen(columns) {
            Seen::Closing => return Ok(()),
            Seen::Open { rows, drawing } => (rows, Some(drawing)),
            // What is entered while an answer is written is shown where it belongs, by whoever takes it.
            Seen::Closed { rows } if self.doing.is_some() || self.above_input => (rows, None),
            Seen::Closed { .. } | Seen::Nothing => (0, None),
        };
        let up = rows + usize::from(self.above_input);
        let up = if up > 0 { format!("\x1b[{up}A") } else { String::new() };
        let below = match &input {
            Some(input) if !row.is_empty() => format!("\n{input}"),
            Some(input) => input.clone(),
            None => String::new(),
        };
        self.above_input = input.is_some() && !row.is_empty();
        let lines = std::mem::take(&mut self.due);
        self.out.write_all(format!("\r{up}{WIPE}{lines}{row}{below}").as_bytes())?;
        self.out.flush()
    }

    fn tame(&self, text: &str) -> String {
        if self.columns.is_some() { text::for_terminal(text) } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests;
