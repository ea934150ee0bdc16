//! What the chat draws: the answer as it is written, and below it a line that says what the agent is doing.
//!
//! The line is drawn and wiped with ANSI sequences; where standard output is no terminal that knows them, only
//! whole answers and notes are written. What the agent says is made harmless before a terminal sees it.

use std::io::{self, Write};
use std::time::Instant;

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
    since: Instant,
    turn: usize,
    /// Whether the line that says so is on the screen.
    line_shown: bool,
    /// What has been streamed of the answer.
    streamed: String,
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
            since: Instant::now(),
            turn: 0,
            line_shown: false,
            streamed: String::new(),
            midway: false,
        }
    }

    /// Begins to wait for an answer.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.doing = Some("sent".to_owned());
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
        let doing = match activity {
            GatewayFrame::Text { delta } => return self.stream(delta),
            GatewayFrame::Queued { ahead } => format!("queued, {ahead} ahead"),
            GatewayFrame::Working => "working".to_owned(),
            GatewayFrame::Tool { name, summary } => {
                format!("{}: {}", text::one_line(name, 24), text::one_line(summary, 200))
            }
            GatewayFrame::Waiting { reason } => format!("waiting: {}", text::one_line(reason, 200)),
            _ => return Ok(()),
        };
        self.say_doing(doing)
    }

    /// Changes what the line says.
    pub(super) fn say_doing(&mut self, doing: String) -> io::Result<()> {
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
        let line =
            fit(&format!("{doing} ({seconds} s, Ctrl-C stops it)"), columns.saturating_sub(4));
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
                writeln!(self.out, "{text}")?;
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
        let text = self.tame(text);
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
        write!(self.out, "{delta}")?;
        self.midway = true;
        self.streamed.push_str(&delta);
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
mod tests {
    use super::*;

    /// What a terminal shows in the end, line by line, after the given actions.
    fn shown(columns: Option<usize>, act: impl FnOnce(&mut Screen<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        act(&mut Screen::new(&mut out, columns));
        let raw = String::from_utf8(out).unwrap().replace(DIM, "").replace(PLAIN, "");
        let visible = |line: &str| line.rsplit(WIPE).next().unwrap_or("").to_owned();
        raw.split('\n').map(visible).collect::<Vec<_>>().join("\n")
    }

    fn text(delta: &str) -> GatewayFrame {
        GatewayFrame::Text { delta: delta.into() }
    }

    fn tool(summary: &str) -> GatewayFrame {
        GatewayFrame::Tool { name: "bash".into(), summary: summary.into() }
    }

    #[test]
    fn an_answer_that_was_streamed_is_not_repeated() {
        let seen = shown(Some(80), |screen| {
            screen.begin().unwrap();
            for piece in ["\n\nHel", "lo,\n", "world", "."] {
                screen.show(&text(piece)).unwrap();
                screen.tick().unwrap();
            }
            screen.answer("Hello,\nworld.\n\n").unwrap();
            screen.end().unwrap();
        });
        assert_eq!(seen, "Hello,\nworld.\n\n");
    }

    #[test]
    fn what_was_said_before_a_tool_stands_and_the_answer_follows_once() {
        let seen = shown(Some(80), |screen| {
            screen.begin().unwrap();
            screen.show(&text("I will look.")).unwrap();
            screen.show(&tool("ls")).unwrap();
            screen.show(&text("\n\nThere is nothing.")).unwrap();
            screen.answer("There is nothing.").unwrap();
            screen.end().unwrap();
        });
        assert_eq!(seen, "I will look.\nThere is nothing.\n\n");
    }

    #[test]
    fn an_answer_that_was_streamed_with_gaps_is_given_whole() {
        let seen = shown(Some(80), |screen| {
            screen.begin().unwrap();
            screen.show(&text("Hello, w")).unwrap();
            screen.answer("Hello, world.").unwrap();
            screen.end().unwrap();
        });
        assert_eq!(seen, "Hello, w\nHello, world.\n\n");
    }

    #[test]
    fn what_is_no_terminal_gets_whole_answers_only() {
        let seen = shown(None, |screen| {
            screen.begin().unwrap();
            screen.show(&tool("ls")).unwrap();
            screen.show(&text("Hel")).unwrap();
            screen.tick().unwrap();
            screen.answer("Hello.").unwrap();
            screen.note("(that was it)").unwrap();
            screen.end().unwrap();
        });
        assert_eq!(seen, "Hello.\n(that was it)\n\n");
    }

    #[test]
    fn the_line_says_what_is_done_and_never_wraps() {
        let long = "x".repeat(300);
        let seen = shown(Some(40), |screen| {
            screen.begin().unwrap();
            screen.show(&tool(&long)).unwrap();
        });
        assert!(seen.contains("bash: xxx"), "{seen}");
        assert!(seen.chars().count() <= 40, "{seen}");
        let wide = fit(&"語".repeat(100), 20);
        assert!(wide.chars().count() <= 11, "{wide}");
    }

    #[test]
    fn nothing_that_the_agent_says_reaches_the_terminal_as_a_command() {
        for (said, seen) in [
            ("a\x1b]52;c;cHduZWQ=\x07b", "a␛]52;c;cHduZWQ=␇b"),
            ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ] {
            let shown = shown(Some(80), |screen| {
                screen.begin().unwrap();
                screen.show(&text(said)).unwrap();
            });
            assert!(shown.contains(seen), "{shown:?}");
        }
    }
}
