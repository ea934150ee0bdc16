//! What the row that changes says, and how much of it fits.

use crate::channel::terminal::wire::GatewayFrame;
use crate::cli::chat::width::width;
use crate::text;

/// What the agent is doing, in a few words.
pub(in crate::cli::chat) fn doing(activity: &GatewayFrame) -> Option<String> {
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
pub(super) fn fit(line: &str, columns: usize) -> String {
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

/// As much of a line's end as fits into one row of so many columns.
pub(super) fn fit_end(line: &str, columns: usize) -> &str {
    let mut left = columns;
    let mut from = line.len();
    for (at, c) in line.char_indices().rev() {
        match left.checked_sub(width(c)) {
            Some(rest) => (left, from) = (rest, at),
            None => break,
        }
    }
    line.get(from..).unwrap_or_default()
}
