//! Splits a long text into messages.

use super::Fence;

/// Splits Markdown into pieces of at most `max_chars` characters, at least one piece for any text but the empty one.
///
/// Nothing is lost: a piece ends after a paragraph, else after a line, else after a word, with the whitespace kept. A
/// code fence that would be cut is closed and opened again.
pub(crate) fn split(text: &str, max_chars: usize) -> Vec<String> {
    pieces(text, max_chars.max(1)).iter().map(Piece::render).collect()
}

/// A part of the text, and what makes it whole by itself.
#[derive(Debug)]
struct Piece<'a> {
    reopened: Option<Fence>,
    body: &'a str,
    closed: Option<Fence>,
}

impl Piece<'_> {
    fn render(&self) -> String {
        let mut text = String::new();
        if let Some(fence) = &self.reopened {
            text.push_str(fence.opening());
            text.push('\n');
        }
        text.push_str(self.body);
        if let Some(fence) = &self.closed {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&fence.closing());
        }
        text
    }
}

fn pieces(text: &str, max: usize) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut open: Option<Fence> = None;
    while !rest.is_empty() {
        let reopened = open.take();
        let (body, after) = first_part(rest, max, reopened.clone());
        rest = rest.get(body.len()..).unwrap_or_default();
        // The end is left as the author left it.
        open = after.filter(|_| !rest.is_empty());
        pieces.push(Piece { reopened, body, closed: open.clone() });
    }
    pieces
}

/// The longest good part that fits, with the fence `open` opened before it and the fence closed that is open after
/// it, which comes with it.
fn first_part(text: &str, max: usize, open: Option<Fence>) -> (&str, Option<Fence>) {
    let room = max - open.as_ref().map_or(0, opening_chars);
    if text.chars().nth(room).is_none() {
        return (text, None);
    }
    let (mut used, mut at, mut state) = (0, 0, open.clone());
    let (mut paragraph, mut line) = (None, None);
    for next in text.split_inclusive('\n') {
        used += next.chars().count();
        at += next.len();
        let was_open = state.is_some();
        state = after(state, next, max);
        if used + state.as_ref().map_or(0, closing_chars) > room {
            break;
        }
        // Behind a fence's first line there would be an empty block.
        if was_open || state.is_none() {
            line = Some((at, state.clone()));
        }
        if next.trim().is_empty() && state.is_none() && used > room / 2 {
            paragraph.clone_from(&line);
        }
    }
    match paragraph.or(line) {
        Some((at, state)) => (text.get(..at).unwrap_or(text), state),
        None => part_of_line(text, (room, max), open),
    }
}

/// Cuts a line that is too long by itself, or with a fence's first line before it; after a word if there is one in
/// the second half.
fn part_of_line(
    text: &str,
    (room, max): (usize, usize),
    open: Option<Fence>,
) -> (&str, Option<Fence>) {
    let mut length = room;
    loop {
        let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        let part = text.get(..end).unwrap_or(text);
        let word = part.rfind(' ').map(|at| at + 1).filter(|at| *at > part.len() / 2);
        let part = word.and_then(|at| part.get(..at)).unwrap_or(part);
        let lines = part.split_inclusive('\n');
        let state = lines.fold(open.clone(), |open, line| after(open, line, max));
        // Only what is cut off shows whether a fence is open at the cut, and takes room to be closed.
        let closing = state.as_ref().map_or(0, closing_chars);
        if length <= 1 || part.chars().count() + closing <= room {
            return (part, state);
        }
        length = length.min(part.chars().count()).saturating_sub(closing).max(1);
    }
}

/// The fence that is open after a line. One that would take more than half of a message to open and close is taken
/// for text.
fn after(open: Option<Fence>, line: &str, max: usize) -> Option<Fence> {
    Fence::after(open, line).filter(|fence| opening_chars(fence) + closing_chars(fence) <= max / 2)
}

fn opening_chars(fence: &Fence) -> usize {
    fence.opening().chars().count() + 1
}

fn closing_chars(fence: &Fence) -> usize {
    fence.closing().len() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_split_where_a_reader_would() {
        for (text, max, expected) in [
            ("", 10, &[][..]),
            ("short", 10, &["short"]),
            ("exactly 10", 10, &["exactly 10"]),
            ("one two three", 8, &["one two ", "three"]),
            ("one\ntwo\nthree", 9, &["one\ntwo\n", "three"]),
            ("a a a\n\nb b\nc c\n", 12, &["a a a\n\n", "b b\nc c\n"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("ééé", 2, &["éé", "é"]),
            (
                "intro\n```sh\necho 1\necho 2\necho 3\n```\nend!",
                27,
                &["intro\n```sh\necho 1\n```", "```sh\necho 2\necho 3\n```\n", "end!"],
            ),
            ("text\n```\ncode\ncode\n```", 17, &["text\n", "```\ncode\ncode\n```"]),
            ("```\nabcdefghijklmnop\n```", 16, &["```\nabcdefgh\n```", "```\nijklmnop\n```"]),
            ("````````\nab\n````````", 12, &["````````\nab\n", "````````"]),
        ] {
            assert_eq!(split(text, max), expected, "{text:?}");
        }
    }

    /// Text that is likely to have fences, long lines and blank ones.
    fn markdown() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "[a-zé ]{0,60}",
            Just(String::new()),
            "(```|````|~~~)(rust|sh)?",
            "`{3,12}",
            any::<String>(),
        ];
        proptest::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_piece_fits(text in markdown(), max in 1usize..80) {
            let pieces = pieces(&text, max);
            let bodies: String = pieces.iter().map(|piece| piece.body).collect();
            prop_assert_eq!(&bodies, &text);
            for piece in &pieces {
                let rendered = piece.render();
                prop_assert!(rendered.chars().count() <= max, "{:?}", rendered);
                prop_assert!(!piece.body.is_empty());
            }
        }

        #[test]
        fn no_fence_is_left_open(text in markdown(), max in 40usize..80) {
            for piece in pieces(&text, max).split_last().map_or(&[][..], |(_, others)| others) {
                let rendered = piece.render();
                let open = rendered.split_inclusive('\n').fold(None, |open, line| after(open, line, max));
                prop_assert_eq!(open, None, "{:?}", rendered);
            }
        }
    }
}
