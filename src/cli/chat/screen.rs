//! What the chat draws: the answer as it is written, and below it a line that says what the agent is doing.
//!
//! The line is drawn and wiped with ANSI sequences; where standard output is no terminal that knows them, only
//! whole answers and notes are written. What the agent says is made harmless before a terminal sees it.

use std::io::{self, Write};
use std::time::Instant;

use super::wrap::{Wrap, wrapped};
use crate::channel::terminal::wire::GatewayFrame;
use crate::text;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const WIPE: &str = "\r\x1b[2K";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Where the chat draws.
pub(super) struct Screen<W> {
    out: W,
    /// The width in columns of a terminal that knows ANSI sequences; `None` for everything else.
    columns: Option<usize>,
    /// What the agent is doing, while somebody waits for it.
    doing: Option<String>,
    /// Whether Ctrl-C stops that.
    stoppable: bool,
    since: Instant,
    turn: usize,
    /// Whether the line that says so is on the screen.
    line_shown: bool,
    /// What has been streamed of the answer.
    streamed: String,
    /// Breaks its lines.
    wrap: Wrap,
    /// Whether the cursor stands behind streamed text.
    midway: bool,
}

impl<W: Write> Screen<W> {
    /// A screen of so many columns, or one that is none.
    pub(super) fn new(out: W, columns: Option<usize>) -> Self {
        Self {
            out,
            columns,
            doing: None,
            stoppable: true,
            since: Instant::now(),
            turn: 0,
            line_shown: false,
            streamed: String::new(),
            wrap: Wrap::new(columns.unwrap_or(usize::MAX)),
            midway: false,
        }
    }

    /// Goes by another width from now on.
    pub(super) fn resize(&mut self, columns: Option<usize>) {
        if !self.midway && columns != self.columns {
            self.columns = columns;
            self.wrap = Wrap::new(columns.unwrap_or(usize::MAX));
        }
    }

    /// Begins to wait for an answer.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        (self.doing, self.stoppable) = (Some("sent".to_owned()), true);
        self.since = Instant::now();
        self.streamed.clear();
        self.tick()
    }

    /// Stops waiting, and leaves a line free before the next prompt.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.doing = None;
        self.wipe()?;
        self.end_line()?;
        writeln!(self.out)?;
        self.streamed.clear();
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

    /// Changes what the line says.
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
        self.end_line()?;
        self.tick()
    }

    /// Draws the line anew; to be called a few times a second.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        let (Some(columns), Some(doing), false) = (self.columns, &self.doing, self.midway) else {
            return Ok(());
        };
        self.turn = self.turn.wrapping_add(1);
        let spinner = SPINNER.get(self.turn % SPINNER.len()).copied().unwrap_or("-");
        let seconds = self.since.elapsed().as_secs();
        let hint = if self.stoppable { ", Ctrl-C stops it" } else { "" };
        let line = fit(&format!("{doing} ({seconds} s{hint})"), columns.saturating_sub(4));
        write!(self.out, "{WIPE}{DIM}{spinner} {line}{PLAIN}")?;
        self.line_shown = true;
        self.out.flush()
    }

    /// Shows an answer; what was streamed of it already is not repeated.
    pub(super) fn answer(&mut self, text: &str) -> io::Result<()> {
        self.wipe()?;
        let text = self.tame(text);
        let text = text.trim_end();
        if text.is_empty() || !self.streamed.trim_end().ends_with(text.trim_start()) {
            self.end_line()?;
            if !text.is_empty() {
                writeln!(self.out, "{}", wrapped(text, self.columns))?;
            }
        }
        self.end_line()?;
        self.streamed.clear();
        self.out.flush()
    }

    /// Says something that is not the agent's word.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.wipe()?;
        self.end_line()?;
        let text = wrapped(&self.tame(text), self.columns);
        match self.columns {
            Some(_) => writeln!(self.out, "{DIM}{text}{PLAIN}")?,
            None => writeln!(self.out, "{text}")?,
        }
        self.out.flush()
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
        self.wipe()?;
        let shown = self.wrap.push(&delta);
        write!(self.out, "{shown}")?;
        self.midway = true;
        self.streamed.push_str(&delta);
        self.out.flush()
    }

    /// Wipes the line that says what the agent is doing; the next tick draws it again.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.wipe()?;
        self.out.flush()
    }

    fn wipe(&mut self) -> io::Result<()> {
        if self.line_shown {
            write!(self.out, "{WIPE}")?;
            self.line_shown = false;
        }
        Ok(())
    }

    /// Goes to the beginning of a line, if the cursor stands behind streamed text.
    fn end_line(&mut self) -> io::Result<()> {
        if self.midway {
            let held_back = self.wrap.finish();
            write!(self.out, "{held_back}")?;
            self.wrap = Wrap::new(self.columns.unwrap_or(usize::MAX));
            if !self.streamed.ends_with('\n') {
                writeln!(self.out)?;
            }
            self.streamed.push('\n');
            self.midway = false;
        }
        Ok(())
    }

    fn tame(&self, text: &str) -> String {
        if self.columns.is_some() { text::for_terminal(text) } else { text.to_owned() }
    }
}

/// What the agent is doing, in a few words.
pub(super) fn doing(activity: &GatewayFrame) -> Option<String> {
    Some(match activity {
        GatewayFrame::Queued { ahead: 0 } => "queued, next in line".to_owned(),
        GatewayFrame::Queued { ahead } => format!("queued, {ahead} ahead"),
        GatewayFrame::Working => "working".to_owned(),
        GatewayFrame::Tool { name, summary } => {
            format!("{}: {}", text::one_line(name, 24), text::one_line(summary, 200))
        }
        GatewayFrame::Waiting { reason } => format!("waiting: {}", text::one_line(reason, 200)),
        _ => return None,
    })
}

/// As much of a line as fits into so many columns.
fn fit(line: &str, columns: usize) -> String {
    let mut left = columns;
    let mut fitting = String::new();
    for c in line.chars() {
        let width = width(c);
        if left < width + 1 {
            fitting.push('…');
            break;
        }
        left -= width;
        fitting.push(c);
    }
    fitting
}

/// How many columns a character takes at most.
pub(super) fn width(c: char) -> usize {
    // Everything from the Hangul letters on may take two.
    if c < '\u{1100}' { 1 } else { 2 }
}

#[cfg(test)]
mod tests;
