//! What somebody says in a message, without the code and the quotations in it.

use crate::text::Fence;

/// The text with a blank in the place of fenced code, code within a line, and quoted lines.
pub(super) fn spoken(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut open: Option<Fence> = None;
    for line in text.split_inclusive('\n') {
        let was_open = open.is_some();
        let quoted = !was_open && line.trim_start().starts_with('>');
        if !quoted {
            open = Fence::after(open, line);
        }
        if quoted || was_open || open.is_some() {
            kept.push_str("\n\n");
        } else {
            kept.push_str(line);
        }
    }
    without_spans(&kept)
}

/// The text with a blank in the place of code spans: what stands between two runs of equally many backticks. One or
/// two backticks reach no further than their paragraph; three or more do, for chats know no fences within a line.
fn without_spans(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let (before, opening) = rest.split_at(at);
        let inside = opening.trim_start_matches('`');
        let marks = opening.len() - inside.len();
        kept.push_str(before);
        kept.push(' ');
        rest = after_span(inside, marks).unwrap_or(inside);
    }
    kept + rest
}

/// What follows the closing of a span, where there is one.
fn after_span(inside: &str, marks: usize) -> Option<&str> {
    let reach = if marks < 3 { inside.find("\n\n") } else { None };
    let (mut rest, beyond) = inside.split_at(reach.unwrap_or(inside.len()));
    while let Some(at) = rest.find('`') {
        let closing = rest.get(at..)?;
        rest = closing.trim_start_matches('`');
        if closing.len() - rest.len() == marks {
            return inside.get(inside.len() - beyond.len() - rest.len()..);
        }
    }
    None
}
