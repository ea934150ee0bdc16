//! The file `.env`: its lines, and what `doctor` has to say about it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::fault::Fault;
use super::{HOME_VARIABLE, VARIABLES, is_known};

/// The most bytes of a `.env`; more is somebody's mistake.
const MAX_BYTES: u64 = 1024 * 1024;

/// The most quotes left open behind which the file is read on.
const MOST_OPEN_QUOTES: usize = 20;

/// A value of `.env` and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The value, unquoted.
    pub(super) value: String,
    /// The line, counted from 1.
    pub(super) line: usize,
    /// What is wrong with the line, where it tells its value all the same.
    pub(super) fault: Option<Fault>,
}

/// Reads `<home>/.env`; no file is an empty one.
pub(super) fn read(home: &Path, faults: &mut Vec<Fault>) -> BTreeMap<String, Entry> {
    let unreadable = |error: io::Error| Fault::new(".env", &format!("a readable file ({error})"));
    match load(&path(home)) {
        Ok(Some(text)) => parse(&text, faults),
        Ok(None) => BTreeMap::new(),
        Err(error) => {
            faults.push(unreadable(error));
            BTreeMap::new()
        }
    }
}

/// What can be said about a `.env` without reading the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether other users of this machine may read it.
    pub exposed: bool,
    /// The names in it that mean nothing to us.
    pub unknown: Vec<Unknown>,
}

/// A name in `.env` that means nothing to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The name.
    pub name: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The name that was perhaps meant.
    pub meant: Option<&'static str>,
}

impl EnvFile {
    /// Looks at `<home>/.env`; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inspect(home: &Path) -> io::Result<Option<Self>> {
        let path = path(home);
        let Some(text) = load(&path)? else { return Ok(None) };
        let unknown = parse(&text, &mut Vec::new())
            .into_iter()
            .filter(|(name, _)| !is_known(name))
            .map(|(name, entry)| Unknown { meant: resembling(&name), name, line: entry.line })
            .collect();
        Ok(Some(Self { exposed: is_exposed(&path)?, path, unknown }))
    }
}

fn path(home: &Path) -> PathBuf {
    home.join(".env")
}

fn is_exposed(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o044 != 0)
}

/// The text of the file; `None` when there is none.
fn load(path: &Path) -> io::Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_BYTES) {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(Some(text))
}

/// Takes the lines apart. What is wrong with them is added to `faults`, without their content: it may be secret.
fn parse(text: &str, faults: &mut Vec<Fault>) -> BTreeMap<String, Entry> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = BTreeMap::new();
    let mut next = Some(0);
    for _ in 0..MOST_OPEN_QUOTES {
        let Some(skipped) = next else { break };
        next = parse_from(text, skipped, &mut entries, faults);
    }
    entries
}

/// Takes the lines behind the first `skipped` apart. After a quote that is not closed, which takes all that follows
/// for its own, it says behind which line to go on.
fn parse_from(
    text: &str,
    skipped: usize,
    entries: &mut BTreeMap<String, Entry>,
    faults: &mut Vec<Fault>,
) -> Option<usize> {
    let line = Rc::new(Cell::new(skipped));
    let begin = text.split_inclusive('\n').take(skipped).map(str::len).sum();
    let rest = text.as_bytes().get(begin..).unwrap_or_default();
    let reader = LineByLine { rest, line: Rc::clone(&line) };
    let mut before = skipped;
    for item in dotenvy::from_read_iter(reader) {
        let line = line.get();
        let read = std::mem::replace(&mut before, line);
        let Ok((name, value)) = item else {
            // A quote that is not closed has taken lines that are not to blame.
            let mut lines = (1..).zip(text.lines()).skip(read);
            let first =
                lines.find(|(_, text)| !matches!(text.trim().chars().next(), None | Some('#')));
            let (to_blame, text) = first.unwrap_or((line, ""));
            match unquoted(text, to_blame) {
                // Whether the quotes are all that is wrong, whoever reads the value can tell.
                Some((name, entry)) if !entries.contains_key(&name) => {
                    entries.insert(name, entry);
                }
                _ => faults.push(malformed(text).at(Some(to_blame))),
            }
            if to_blame < line {
                return Some(to_blame);
            }
            continue;
        };
        if is_known(&name) && entries.contains_key(&name) {
            faults.push(Fault::new(&name, "to be set once").at(Some(line)));
        }
        entries.insert(name, Entry { value, line, fault: None });
    }
    None
}

/// A setting of ours whose value has spaces and no quotes.
fn unquoted(line: &str, number: usize) -> Option<(String, Entry)> {
    let (name, value) = halves(line)?;
    if !is_known(name) || !needs_quotes(value) {
        return None;
    }
    let value = value.split_once(" #").map_or(value, |(value, _comment)| value);
    let fault = Some(malformed(line).at(Some(number)));
    Some((name.to_owned(), Entry { value: value.trim().to_owned(), line: number, fault }))
}

/// What is wrong with a line that is none. Of what stands in it only a name of ours is told, or one like it:
/// anything else may be a piece of a secret.
fn malformed(line: &str) -> Fault {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain)
    };
    let Some((name, value)) = halves(line).filter(|(name, _)| is_name(name)) else {
        return Fault::new(".env", "NAME=value");
    };
    let is_ours = is_known(name) || resembling(name).is_some();
    let expected = match value {
        _ if needs_quotes(value) => "a value with spaces to stand in single quotes",
        _ if leaves_a_quote_open(value) => "the quote that it opens to be closed on the same line",
        _ => "a plain value, or one in single quotes",
    };
    Fault::new(if is_ours { name } else { ".env" }, expected)
}

/// Whether a quote begins in a value and does not end there.
fn leaves_a_quote_open(value: &str) -> bool {
    let mut open = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (open, c) {
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '\'' | '"') => open = Some(c),
            (Some(quote), c) if quote == c => open = None,
            _ => {}
        }
    }
    open.is_some()
}

fn needs_quotes(value: &str) -> bool {
    !value.starts_with(['"', '\'']) && value.contains(char::is_whitespace)
}

/// The name and the value of a line.
fn halves(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim().trim_start_matches("export ").trim_start();
    Some((name, value.trim()))
}

/// Hands out one line at each read and counts them, so that it is known how far the parser has come.
struct LineByLine<'a> {
    rest: &'a [u8],
    line: Rc<Cell<usize>>,
}

impl Read for LineByLine<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end =
            self.rest.iter().position(|&byte| byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let length = end.min(buffer.len());
        let (piece, rest) = self.rest.split_at(length);
        if let Some(target) = buffer.get_mut(..length) {
            target.copy_from_slice(piece);
        }
        if length > 0 && length == end {
            self.line.set(self.line.get() + 1);
        }
        self.rest = rest;
        Ok(length)
    }
}

/// The one of our names that `name` is a slip of the pen of.
fn resembling(name: &str) -> Option<&'static str> {
    if name == HOME_VARIABLE {
        return None;
    }
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_uppercase();
    VARIABLES
        .into_iter()
        .map(|known| (distance(&plain(name), &plain(known)), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be put in, taken out or changed to make one name of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let (mut diagonal, mut left) = (line, line + 1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let above = *cell;
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_over_comments_and_quotes() {
        let mut faults = Vec::new();
        let text = "# a comment\n\nexport ONE=1\nTWO=\"two\nlines\"\n# again\nTHREE='a b' # said\n";
        let entries = parse(text, &mut faults);
        let seen: Vec<_> =
            entries.iter().map(|(name, e)| (name.as_str(), e.value.as_str(), e.line)).collect();
        assert_eq!(seen, [("ONE", "1", 3), ("THREE", "a b", 7), ("TWO", "two\nlines", 5)]);
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn malformed_lines_are_named_by_number_and_setting_and_never_quoted() {
        let mut faults = Vec::new();
        let text = "A=1\nsk-secret with words\nASSISTANT_NAME=Hermit the Crab\nsecret=and more\n\
                    export LOG_LEVL = sk secret\nB=2\nTZ=\"UTC\n# said\nsecret\nNUMBER='3\nD=4\n\
                    SANDBOX=a b\nNONSENSE=\"\\q\"\n";
        let entries = parse(text, &mut faults);
        let names: Vec<_> = entries.keys().map(String::as_str).collect();
        assert_eq!(names, ["A", "ASSISTANT_NAME", "B", "D", "SANDBOX"]);
        faults.extend(entries.into_values().filter_map(|entry| entry.fault));
        let told = super::super::ConfigError::new(faults);
        let said: Vec<_> = told.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                ".env, line 2: expected NAME=value",
                "ASSISTANT_NAME (.env, line 3): expected a value with spaces to stand in single quotes",
                ".env, line 4: expected a value with spaces to stand in single quotes",
                "LOG_LEVL (.env, line 5): expected a value with spaces to stand in single quotes",
                "TZ (.env, line 7): expected the quote that it opens to be closed on the same line",
                ".env, line 9: expected NAME=value",
                ".env, line 10: expected the quote that it opens to be closed on the same line",
                "SANDBOX (.env, line 12): expected a value with spaces to stand in single quotes",
                ".env, line 13: expected a plain value, or one in single quotes",
            ]
        );
    }

    #[test]
    fn slips_of_the_pen_are_recognised_and_strangers_are_not() {
        for (name, meant) in [
            ("ANTHROPIC_APIKEY", Some("ANTHROPIC_API_KEY")),
            ("ASISTANT_NAME", Some("ASSISTANT_NAME")),
            ("log_level", Some("LOG_LEVEL")),
            ("SLACK_TEAM", None),
            ("PATH", None),
            ("HERMITCRAB_HOME", None),
        ] {
            assert_eq!(resembling(name), meant, "{name}");
        }
    }

    #[test]
    fn doctor_learns_of_unknown_names_and_open_doors() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        assert_eq!(EnvFile::inspect(home.path()).unwrap(), None);
        std::fs::write(path(home.path()), "SANDBOX=auto\nSANDBX=auto\nOTHER=1\n").unwrap();
        for (mode, exposed) in [(0o600, false), (0o640, true), (0o604, true)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path(home.path()), permissions).unwrap();
            let file = EnvFile::inspect(home.path()).unwrap().unwrap();
            assert_eq!(file.exposed, exposed, "{mode:o}");
            let unknown: Vec<_> = file.unknown.iter().map(|u| (u.line, u.meant)).collect();
            assert_eq!(unknown, [(3, None), (2, Some("SANDBOX"))]);
        }
    }
}
