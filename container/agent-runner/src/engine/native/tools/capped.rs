//! Keeps the beginning and the end of an output that may be endless.

use std::collections::VecDeque;

/// An output that is being collected.
#[derive(Debug)]
pub(super) struct Capped {
    /// The most bytes of each end.
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: u64,
}

impl Capped {
    /// Keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { half: limit / 2, head: Vec::new(), tail: VecDeque::new(), cut: 0 }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = self.half - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        // Only the last bytes of a long piece can stay.
        let (passed, rest) = rest.split_at(rest.len().saturating_sub(self.half));
        let over = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..over.min(self.tail.len()));
        self.tail.extend(rest);
        self.cut += u64::try_from(passed.len() + over).unwrap_or(u64::MAX);
    }

    /// The text, with a note where the middle is missing; bytes that are not UTF-8 are replaced.
    pub(super) fn into_text(mut self) -> String {
        if self.cut == 0 {
            self.head.extend(self.tail);
            return String::from_utf8_lossy(&self.head).into_owned();
        }
        let tail: Vec<u8> = self.tail.into();
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[… {} bytes left out …]\n{tail}", self.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_stay_whatever_the_pieces_are() {
        for (bytes, expected) in [
            ("", ""),
            ("abc", "abc"),
            ("abcdefgh", "abcdefgh"),
            ("abcdefghi", "abcd\n[… 1 bytes left out …]\nfghi"),
            ("abcdefghijklmnopq", "abcd\n[… 9 bytes left out …]\nnopq"),
        ] {
            for size in 1..=20 {
                let mut capped = Capped::new(8);
                for piece in bytes.as_bytes().chunks(size) {
                    capped.push(piece);
                }
                assert_eq!(capped.into_text(), expected, "pieces of {size}");
            }
        }
    }
}
