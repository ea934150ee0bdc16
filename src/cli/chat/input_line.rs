//! Where the input line stands on the screen, so that whoever draws above it draws it again below.
//!
//! The line editor draws it, on a thread of its own. It notes here what is on the screen before it is, and that it goes
//! on to the next line before it does; so nobody draws from a place where the cursor is no more. The line editor's own
//! way to print above it is of no use: with that, keys that were pressed ahead stay unseen until the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::width::width;

/// What stands before what is being written.
pub(super) const LEAD: &str = "> ";
/// Columns between the line editor's tab stops.
const TAB: usize = 8;

/// Where the person writes; what is copied is the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct InputLine(Arc<Mutex<Standing>>);

#[derive(Debug, Default)]
struct Standing {
    stage: Stage,
    /// What stands before the text; another one while the history is searched.
    lead: String,
    /// What is being written.
    text: String,
    /// Where the cursor stands in it, in bytes.
    cursor: usize,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Stage {
    /// There is none.
    #[default]
    Absent,
    /// The cursor is in it.
    Open,
    /// The line editor is about to leave it.
    Closing,
    /// The cursor is below it; what stands before that.
    Closed(String),
}

/// What is seen of an input line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: the cursor is where whoever drew last left it.
    Nothing,
    /// A line with the cursor in it.
    Open {
        /// How many rows above the cursor it begins.
        rows: usize,
        /// How it is drawn again.
        drawing: String,
    },
    /// It is being left, and nobody can tell where the cursor is.
    Closing,
    /// A line with the cursor below it; from now on nobody's concern.
    Closed {
        /// How many rows above the cursor it begins.
        rows: usize,
    },
}

impl InputLine {
    /// Is on the screen from now on, with what was being written when it was left without an end.
    pub(super) fn open(&self) {
        let mut standing = self.lock();
        standing.stage = Stage::Open;
        LEAD.clone_into(&mut standing.lead);
    }

    /// What is being written, before the cursor and behind it.
    pub(super) fn written(&self) -> (String, String) {
        let standing = self.lock();
        let (before, behind) = standing.text.split_at_checked(standing.cursor).unwrap_or_default();
        (before.to_owned(), behind.to_owned())
    }

    /// Notes what is being written.
    pub(super) fn note(&self, text: &str, cursor: usize) {
        let mut standing = self.lock();
        text.clone_into(&mut standing.text);
        standing.cursor = cursor;
    }

    /// Notes what stands before it.
    pub(super) fn note_lead(&self, lead: &str) {
        lead.clone_into(&mut self.lock().lead);
    }

    /// Begins to be left.
    pub(super) fn close(&self) {
        let mut standing = self.lock();
        if standing.stage == Stage::Open {
            standing.stage = Stage::Closing;
        }
    }

    /// Is left: the cursor is on the next line.
    pub(super) fn closed(&self) {
        let mut standing = self.lock();
        if standing.stage != Stage::Absent {
            standing.stage = Stage::Closed(standing.before_cursor());
        }
    }

    /// Forgets what was being written.
    pub(super) fn forget(&self) {
        self.note("", 0);
    }

    /// Whether the cursor is in it.
    pub(super) fn is_open(&self) -> bool {
        self.lock().stage == Stage::Open
    }

    /// What is seen of it in a terminal of so many columns.
    pub(super) fn seen(&self, columns: usize) -> Seen {
        let mut standing = self.lock();
        match &standing.stage {
            Stage::Absent => Seen::Nothing,
            Stage::Closing => Seen::Closing,
            Stage::Open => {
                let (row, column) = place(&standing.before_cursor(), columns);
                Seen::Open { rows: row, drawing: standing.drawing(row, column, columns) }
            }
            Stage::Closed(before) => {
                let rows = place(before, columns).0 + 1;
                standing.stage = Stage::Absent;
                Seen::Closed { rows }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // Nothing in here panics half-way, so what a poisoned lock guards is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn before_cursor(&self) -> String {
        let before = self.text.get(..self.cursor).unwrap_or(&self.text);
        format!("{}{before}", self.lead)
    }

    /// The lead, what is being written, and the way back to the cursor.
    fn drawing(&self, row: usize, column: usize, columns: usize) -> String {
        let mut drawing = format!("{}{}", self.lead, self.text);
        let (last, end) = place(&drawing, columns);
        // A terminal goes to the next row only with the next character.
        if end == 0 && last > 0 && !drawing.ends_with('\n') {
            drawing.push('\n');
        }
        if self.cursor < self.text.len() {
            if last > row {
                drawing.push_str(&format!("\x1b[{}A", last - row));
            }
            drawing.push('\r');
            if column > 0 {
                drawing.push_str(&format!("\x1b[{column}C"));
            }
        }
        drawing
    }
}

/// The row and the column behind a text that begins at the edge, as the line editor reckons.
fn place(text: &str, columns: usize) -> (usize, usize) {
    let (mut row, mut column) = (0, 0);
    for c in text.chars() {
        let width = match c {
            '\n' => {
                (row, column) = (row + 1, 0);
                continue;
            }
            '\t' => TAB - column % TAB,
            c => width(c),
        };
        column += width;
        if column > columns {
            (row, column) = (row + 1, width);
        }
    }
    if column == columns { (row + 1, 0) } else { (row, column) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_is_drawn_again_with_the_cursor_where_it_was() {
        for (text, cursor, rows, drawing) in [
            ("", 0, 0, "> "),
            ("half a", 6, 0, "> half a"),
            ("half a", 4, 0, "> half a\r\x1b[6C"),
            ("one\ntwo", 7, 1, "> one\ntwo"),
            ("one\ntwo", 2, 0, "> one\ntwo\x1b[1A\r\x1b[4C"),
            ("one\ntwo", 4, 1, "> one\ntwo\r"),
            ("01234567", 8, 1, "> 01234567\n"),
            ("0123456789", 10, 1, "> 0123456789"),
            ("0123456789", 0, 0, "> 0123456789\x1b[1A\r\x1b[2C"),
            ("é—語", 8, 0, "> é—語"),
            ("1234567語", 10, 1, "> 1234567語"),
        ] {
            let line = InputLine::default();
            line.open();
            line.note(text, cursor);
            let drawing = drawing.to_owned();
            assert_eq!(line.seen(10), Seen::Open { rows, drawing }, "{text:?}");
        }
    }

    #[test]
    fn nobody_draws_while_it_is_left_and_then_it_is_left_once() {
        let line = InputLine::default();
        line.close();
        assert_eq!(line.seen(10), Seen::Nothing);
        line.open();
        line.note("0123456789", 10);
        line.close();
        assert_eq!(line.seen(10), Seen::Closing);
        line.closed();
        line.forget();
        assert_eq!(line.seen(10), Seen::Closed { rows: 2 });
        assert_eq!(line.seen(10), Seen::Nothing);
    }
}
