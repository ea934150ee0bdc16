//! The tool `read`.

use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;

use super::paths::{failed, regular, resolve};
use super::{MAX_RESULT_BYTES, ToolError, told};
use crate::files;
use crate::settings::Settings;

/// Lines that are returned when the model does not say how many.
const DEFAULT_LINES: usize = 2000;
/// The most bytes of one line that are returned.
const MAX_LINE_BYTES: usize = 2000;
/// The most bytes that are searched for the first line.
const MAX_SCANNED_BYTES: u64 = 256 * 1024 * 1024;
/// How many bytes decide whether a file is binary.
const PROBE_BYTES: usize = 8 * 1024;

/// What the model writes.
#[derive(Debug, Deserialize)]
pub(super) struct Input {
    path: String,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// Returns numbered lines.
pub(super) fn read(settings: &Settings, input: Input) -> Result<String, ToolError> {
    let path = resolve(settings, &input.path);
    regular(&path)?;
    let failed = |error| failed("read", &path, &error);
    let file = File::open(&path).map_err(failed)?;
    let mut reader = BufReader::with_capacity(PROBE_BYTES, file.take(MAX_SCANNED_BYTES));
    if reader.fill_buf().map_err(failed)?.contains(&0) {
        return Err(told(format!("{} is a binary file; look at it with bash", path.display())));
    }
    let first = input.offset.unwrap_or(1).max(1);
    let last = first.saturating_add(input.limit.unwrap_or(DEFAULT_LINES)).saturating_sub(1);
    let mut text = String::new();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        // The rest of a long line is passed over without being kept.
        let limit = u64::try_from(MAX_LINE_BYTES + 1).unwrap_or(u64::MAX);
        if reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let cut = line.len() > MAX_LINE_BYTES && !line.ends_with(b"\n");
        if cut {
            reader.skip_until(b'\n').map_err(failed)?;
        }
        number += 1;
        if number < first {
            continue;
        }
        if number > last || text.len() > MAX_RESULT_BYTES {
            return Ok(text + "[There are more lines.]\n");
        }
        let words = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
        let mark = if cut { " [… the line goes on …]" } else { "" };
        // Writing to a string cannot fail.
        writeln!(text, "{number:>6}\t{}{mark}", files::cut(&words, MAX_LINE_BYTES)).ok();
    }
    match (number, text.is_empty()) {
        (0, _) => Ok(String::from("(the file is empty)")),
        (_, true) => Err(told(format!("the file has only {number} lines"))),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn run(content: &[u8], offset: Option<usize>, limit: Option<usize>) -> Result<String, String> {
        let group = tempfile::tempdir().unwrap();
        fs::write(group.path().join("f"), content).unwrap();
        let settings = Settings { group: group.path().into(), ..Settings::default() };
        let input = Input { path: String::from("f"), offset, limit };
        read(&settings, input).map_err(|error| match error {
            ToolError::Told(words) => words,
            ToolError::Fatal(failure) => panic!("{failure:?}"),
        })
    }

    #[test]
    fn lines_are_numbered_and_chosen() {
        for (content, offset, limit, expected) in [
            ("a\nb\n", None, None, "     1\ta\n     2\tb\n"),
            ("a\nb", Some(2), None, "     2\tb\n"),
            ("a\nb\nc\n", Some(2), Some(1), "     2\tb\n[There are more lines.]\n"),
            ("a\r\n\n", None, None, "     1\ta\r\n     2\t\n"),
            ("", None, None, "(the file is empty)"),
        ] {
            assert_eq!(run(content.as_bytes(), offset, limit).unwrap(), expected);
        }
        assert_eq!(run(b"a\n", Some(5), None).unwrap_err(), "the file has only 1 lines");
    }

    #[test]
    fn long_lines_and_long_files_are_bounded() {
        let long = format!("{}\nend\n", "x".repeat(100_000));
        let text = run(long.as_bytes(), None, None).unwrap();
        assert!(text.contains("[… the line goes on …]\n     2\tend\n") && text.len() < 3000);
        let many = "line\n".repeat(100_000);
        let text = run(many.as_bytes(), None, Some(100_000)).unwrap();
        assert!(
            text.ends_with("[There are more lines.]\n") && text.len() < MAX_RESULT_BYTES + 3000
        );
    }

    #[test]
    fn what_is_not_text_is_refused() {
        assert!(run(b"\x7fELF\0\0", None, None).unwrap_err().contains("binary"));
        let settings = Settings { group: "/".into(), ..Settings::default() };
        for (path, words) in
            [("tmp", "is a directory"), ("dev/zero", "not a regular file"), ("no", "cannot read")]
        {
            let input = Input { path: path.to_owned(), offset: None, limit: None };
            let Err(ToolError::Told(said)) = read(&settings, input) else { panic!("{path}") };
            assert!(said.contains(words), "{said}");
        }
    }
}
