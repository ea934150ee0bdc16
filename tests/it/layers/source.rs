//! One source file, as far as its paths are concerned.

use std::collections::BTreeSet;
use std::path::Path;

/// A source file.
pub(super) struct Source {
    /// The names of its module path: `["store", "rows"]`; none for the crate's root.
    path: Vec<String>,
    /// Every path that the code names, groups multiplied out: `std::fs::File`.
    paths: Vec<Vec<String>>,
}

impl Source {
    /// Reads a file; `path` is relative to `src`.
    pub(super) fn new(path: &Path, text: &str) -> Self {
        let mut names: Vec<String> = path
            .with_extension("")
            .components()
            .map(|component| component.as_os_str().to_string_lossy().into_owned())
            .collect();
        if names == ["lib"] || names == ["main"] {
            names.clear();
        }
        let tokens = tokens(&blank(text));
        let mut paths = Vec::new();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = after;
            if is_name(token) {
                rest = read_path(vec![token.clone()], after, &mut paths);
            }
        }
        Self { path: names, paths }
    }

    /// The module that it belongs to; `None` for the crate's root.
    pub(super) fn module(&self) -> Option<&str> {
        self.path.first().map(String::as_str)
    }

    /// The modules that it imports from, itself perhaps among them. `is_module` tells a module from whatever else
    /// `super` may reach from inside an inline module.
    pub(super) fn imports(&self, is_module: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let from_root = |path: &Vec<String>| {
            let supers = path.iter().take_while(|name| *name == "super").count();
            match path.first().map(String::as_str) {
                Some("crate") => path.get(1).cloned(),
                Some("super") if supers >= self.path.len() => {
                    path.get(supers).filter(|name| is_module(name)).cloned()
                }
                _ => None,
            }
        };
        self.paths.iter().filter_map(from_root).collect()
    }

    /// Whether it names a path that begins or ends like `thing`: `std::env`, `Timestamp::now`. A thing of one name is a
    /// crate, which is followed by something.
    pub(super) fn mentions(&self, thing: &str) -> bool {
        let thing: Vec<&str> = thing.split("::").collect();
        let like = |part: &[String]| part.iter().map(String::as_str).eq(thing.iter().copied());
        self.paths.iter().filter(|path| path.len() > 1).any(|path| {
            let ends = path.len().checked_sub(thing.len()).and_then(|from| path.get(from..));
            path.get(..thing.len()).is_some_and(like) || (thing.len() > 1 && ends.is_some_and(like))
        })
    }
}

/// Reads on from the first name of a path; returns what comes after it.
fn read_path<'a>(
    mut path: Vec<String>,
    mut rest: &'a [String],
    paths: &mut Vec<Vec<String>>,
) -> &'a [String] {
    while let [colons, next, after @ ..] = rest {
        if colons != "::" {
            break;
        }
        if next == "{" {
            return read_group(&path, after, paths);
        }
        if !is_name(next) {
            break;
        }
        path.push(next.clone());
        rest = after;
    }
    paths.push(path);
    rest
}

/// Reads `a, b::{c, d}}` after the path that the group belongs to.
fn read_group<'a>(
    path: &[String],
    mut rest: &'a [String],
    paths: &mut Vec<Vec<String>>,
) -> &'a [String] {
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        if token == "}" {
            break;
        }
        if is_name(token) {
            let mut longer = path.to_vec();
            longer.push(token.clone());
            rest = read_path(longer, after, paths);
        }
    }
    rest
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Divides code into names, `::`, and single other characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut token = c.to_string();
        if c.is_alphanumeric() || c == '_' {
            while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                token.push(c);
            }
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            token.push(':');
        }
        tokens.push(token);
    }
    tokens
}

/// The text with comments and literals taken out.
pub(super) fn blank(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if c == '"' || (!after_name && (c == 'r' || c == 'b')) || c == '\'' {
            literal_length(rest)
        } else {
            0
        };
        let (gone, after) = rest.split_at(length);
        code.extend(gone.chars().filter(|c| *c == '\n'));
        rest = after;
        if length > 0 {
            code.push(' ');
        } else {
            code.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    code
}

/// The length of a block comment, with those inside it.
fn comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of the string or character that the text begins with; 0 when it begins with none.
fn literal_length(text: &str) -> usize {
    let prefix = text.find(|c| !matches!(c, 'b' | 'r')).unwrap_or(0);
    let (prefix, rest) = text.split_at(prefix);
    if prefix.contains('r') {
        let hashes = rest.find(|c| c != '#').unwrap_or(0);
        let (hashes, rest) = rest.split_at(hashes);
        let Some(inside) = rest.strip_prefix('"') else { return 0 };
        let end = inside.find(&format!("\"{hashes}"));
        let length = prefix.len() + 2 * hashes.len() + 2;
        return end.map_or(text.len(), |end| length + end);
    }
    let Some(quote @ ('"' | '\'')) = rest.chars().next() else { return 0 };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return prefix.len() + at + 1;
        }
        // A lifetime: one name and then no quote.
        if quote == '\'' && !escaped && at > 1 && !rest.starts_with("'\\") {
            return 0;
        }
        escaped = c == '\\' && !escaped;
    }
    0
}
