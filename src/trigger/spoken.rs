//! What somebody says in a message, without the code and the quotations in it.

use crate::text::Fence;

/// The text with blanks in the place of fenced code, code within a line, and quoted lines.
pub(super) fn spoken(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut at_start = true;
    while let Some(line) = rest.split_inclusive('\n').next() {
        let skipped = if at_start { block_length(rest, line) } else { 0 };
        if skipped > 0 {
            kept.push('\n');
            rest = rest.get(skipped..).unwrap_or_default();
        } else if let Some((before, span)) = line.find('`').and_then(|at| rest.split_at_checked(at))
        {
            kept.push_str(before);
            kept.push(' ');
            rest = after_span(span);
            at_start = false;
        } else {
            kept.push_str(line);
            rest = rest.get(line.len()..).unwrap_or_default();
            at_start = true;
        }
    }
    kept
}

/// How much of the text is the quoted line or the fenced code that its first line begins; 0 when it begins neither.
fn block_length(text: &str, line: &str) -> usize {
    if line.trim_start().starts_with('>') {
        return line.len();
    }
    let mut length = 0;
    let mut open = None;
    for line in text.split_inclusive('\n') {
        open = Fence::after(open, line);
        if length == 0 && open.is_none() {
            return 0;
        }
        length += line.len();
        if open.is_none() {
            break;
        }
    }
    length
}

/// What follows the code span that the text begins with: up to as many backticks as it begins with. One or two reach
/// no further than their paragraph; three or more do, for in many chats they make a block wherever they stand. When
/// nothing closes the span, it is none.
fn after_span(text: &str) -> &str {
    let inside = text.trim_start_matches('`');
    let marks = text.len() - inside.len();
    let reach = if marks < 3 { inside.find("\n\n") } else { None }.unwrap_or(inside.len());
    let mut at = 0;
    while let Some(found) = inside.get(at..reach).and_then(|part| part.find('`')) {
        let closing = inside.get(at + found..).unwrap_or_default();
        let rest = closing.trim_start_matches('`');
        if closing.len() - rest.len() == marks {
            return rest;
        }
        at = inside.len() - rest.len();
    }
    inside
}
