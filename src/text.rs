//! Text on its way out: cut, split, and made harmless.

/// One line of at most `max` characters for a listing: whitespace is collapsed, what a terminal would act upon or
/// a reader could not see is escaped, and what is left out is marked.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split_whitespace() {
        for c in std::iter::once(' ').skip(usize::from(line.is_empty())).chain(word.chars()) {
            chars += 1;
            if chars > max {
                line.pop();
                line.push('…');
                return line;
            }
            if c.is_control() || is_invisible(c) {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
    }
    line
}

/// Characters that change how others are shown without being seen themselves.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
