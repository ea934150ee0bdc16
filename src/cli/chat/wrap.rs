//! Breaks lines between words, piece by piece, as an answer is written.
//!
//! What is laid out already stays as it is: code, tables, and words wider than the terminal.

use super::width::width;

/// Columns between tab stops.
const TAB: usize = 8;
/// As much of a line's beginning as says what it is.
const BEGINNING: usize = 8;

/// Text on its way to a terminal of so many columns.
#[derive(Debug)]
pub(super) struct Wrap {
    columns: usize,
    /// Where the next character goes.
    column: usize,
    /// A word that may go on.
    word: String,
    /// Whether its beginning is shown already.
    begun: bool,
    /// How the line, as it was written, begins.
    beginning: String,
    /// Whether it lies in fenced code.
    fenced: bool,
}

impl Wrap {
    /// At the beginning of a line.
    pub(super) fn new(columns: usize) -> Self {
        Self {
            columns,
            column: 0,
            word: String::new(),
            begun: false,
            beginning: String::new(),
            fenced: false,
        }
    }

    /// What can be shown after this piece.
    pub(super) fn push(&mut self, piece: &str) -> String {
        let mut out = String::new();
        for c in piece.chars() {
            if c == '\n' {
                self.place(&mut out);
                self.begun = false;
                self.fenced ^= self.beginning.trim_start().starts_with("```");
                self.beginning.clear();
                self.column = 0;
                out.push(c);
                continue;
            }
            if self.beginning.chars().count() < BEGINNING {
                self.beginning.push(c);
            }
            match c {
                ' ' | '\t' => {
                    self.place(&mut out);
                    self.begun = false;
                    self.column = match c {
                        '\t' => (self.column / TAB + 1) * TAB,
                        _ => self.column + 1,
                    };
                    // A space at the very edge would begin the next line.
                    if self.column <= self.columns || self.is_laid_out() {
                        out.push(c);
                    }
                }
                _ => self.word.push(c),
            }
            if self.word.chars().map(width).sum::<usize>() >= self.columns {
                self.place(&mut out);
                self.begun = true;
            }
        }
        out
    }

    /// What was held back.
    pub(super) fn finish(&mut self) -> String {
        let mut out = String::new();
        self.place(&mut out);
        out
    }

    /// Puts the word where it fits.
    fn place(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let width: usize = self.word.chars().map(width).sum();
        let fits = self.column + width <= self.columns;
        if self.column > 0 && !fits && !self.begun && !self.is_laid_out() {
            out.push('\n');
            self.column = 0;
        }
        out.push_str(&self.word);
        self.word.clear();
        self.column += width;
        if self.column > self.columns {
            self.column %= self.columns.max(1);
        }
    }

    fn is_laid_out(&self) -> bool {
        let trimmed = self.beginning.trim_start();
        self.fenced
            || trimmed.starts_with('|')
            || trimmed.starts_with("```")
            || self.beginning.starts_with("    ")
            || self.beginning.starts_with('\t')
    }
}

/// A whole text, for a stream of so many columns; one that is no terminal gets it as it is.
pub(super) fn wrapped(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let mut wrap = Wrap::new(columns);
    let shown = wrap.push(text);
    shown + &wrap.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        for (text, shown) in [
            ("one two three", "one two \nthree"),
            ("one two thr", "one two \nthr"),
            ("0123456789 a", "0123456789\na"),
            ("0123456789abc d", "0123456789abc d"),
            ("one\ntwo three four", "one\ntwo three \nfour"),
            ("語語語 語語語", "語語語 \n語語語"),
            ("“a” – two", "“a” – two"),
            (
                "se\u{301}e\u{301} se\u{301}e\u{301} too",
                "se\u{301}e\u{301} se\u{301}e\u{301} \ntoo",
            ),
            ("one \u{301}\ntwo", "one \u{301}\ntwo"),
            ("    let x = something_long;", "    let x = something_long;"),
            ("| a table | with cells |", "| a table | with cells |"),
            (
                "```\nlong line of code\n```\nlong line of text",
                "```\nlong line of code\n```\nlong line \nof text",
            ),
            ("two spaces  at  the edge", "two spaces\nat  the \nedge"),
        ] {
            assert_eq!(wrapped(text, Some(10)), shown, "{text:?}");
        }
        assert_eq!(wrapped("one two three four", None), "one two three four");
    }

    #[test]
    fn it_does_not_matter_how_a_text_is_cut_into_pieces() {
        let text =
            "The quick  brown fox\njumps over\n```\nthe lazy old dog\n```\nand again and again";
        let whole = wrapped(text, Some(12));
        for size in 1..text.len() {
            let mut wrap = Wrap::new(12);
            let chars: Vec<char> = text.chars().collect();
            let mut shown = String::new();
            for piece in chars.chunks(size) {
                shown += &wrap.push(&piece.iter().collect::<String>());
            }
            assert_eq!(shown + &wrap.finish(), whole, "pieces of {size}");
        }
    }
}
