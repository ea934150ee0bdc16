//! How wide a character is: the one rule by which the chat reckons, and the one of the line editor.

use unicode_width::UnicodeWidthChar;

/// How many columns a character takes; one that only changes another takes none.
pub(super) fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}
