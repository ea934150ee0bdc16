//! What must hold for any text on its way out.

use super::{cut, cut_front, for_terminal, one_line, split};

/// Splits, cuts and defuses a text.
pub(crate) fn outgoing(limit: usize, text: &str) {
    let pieces = split(text, limit);
    assert!(pieces.iter().all(|piece| (1..=limit).contains(&piece.chars().count())));
    let kept: usize = pieces.iter().map(|piece| piece.chars().count()).sum();
    assert!(kept >= text.chars().count());
    assert!(text.starts_with(cut(text, limit)) && text.ends_with(cut_front(text, limit)));
    let line = one_line(text, limit);
    assert!(line.chars().count() <= limit && !line.contains(char::is_control));
    assert!(for_terminal(text).chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()));
}
