//! Fences of code, as `CommonMark` has them.

/// An open code fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fence {
    mark: char,
    length: usize,
    opening: String,
}

impl Fence {
    /// The fence that a line opens, if it does.
    pub(crate) fn opened_by(line: &str) -> Option<Self> {
        let opening = line.trim_end();
        let (mark, length, info) = marks(opening)?;
        // With backticks in it, it is a span of code within one line.
        let is_span = mark == '`' && info.contains('`');
        (length >= 3 && !is_span).then(|| Self { mark, length, opening: opening.to_owned() })
    }

    /// Whether a line closes this fence.
    pub(crate) fn is_closed_by(&self, line: &str) -> bool {
        marks(line.trim_end()).is_some_and(|(mark, length, info)| {
            mark == self.mark && length >= self.length && info.is_empty()
        })
    }

    /// What is open after a line, where `open` was before it.
    pub(crate) fn after(open: Option<Self>, line: &str) -> Option<Self> {
        match open {
            Some(fence) if fence.is_closed_by(line) => None,
            Some(fence) => Some(fence),
            None => Self::opened_by(line),
        }
    }

    /// The line that opened it, without its end.
    pub(crate) fn opening(&self) -> &str {
        &self.opening
    }

    /// A line that closes it, without its end.
    pub(crate) fn closing(&self) -> String {
        std::iter::repeat_n(self.mark, self.length).collect()
    }
}

/// The marks that a line begins with, how many, and what comes after them.
fn marks(line: &str) -> Option<(char, usize, &str)> {
    let inner = line.trim_start_matches(' ');
    let mark = inner.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = inner.trim_start_matches(mark);
    (line.len() - inner.len() <= 3).then(|| (mark, inner.len() - info.len(), info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_open_and_close_fences() {
        for (line, opens) in [
            ("```", true),
            ("```rust", true),
            ("   ~~~~ text\n", true),
            ("    ```", false),
            ("``", false),
            ("```code```", false),
            ("~~~a~~~", true),
            ("text ```", false),
        ] {
            assert_eq!(Fence::opened_by(line).is_some(), opens, "{line:?}");
        }
        let fence = Fence::opened_by("````rust").unwrap();
        for (line, closes) in [
            ("````", true),
            ("`````  \n", true),
            ("```", false),
            ("```` x", false),
            ("~~~~", false),
        ] {
            assert_eq!(fence.is_closed_by(line), closes, "{line:?}");
        }
        assert_eq!(fence.closing(), "````");
        assert_eq!(fence.opening(), "````rust");
    }
}
