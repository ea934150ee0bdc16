//! The tools `glob` and `grep`: bounded in results, in size and in time.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use globset::{GlobBuilder, GlobMatcher};
use ignore::{DirEntry, WalkBuilder};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::paths::resolve;
use super::{MAX_RESULT_BYTES, ToolError, told};
use crate::files;
use crate::settings::Settings;

/// The most results of a search.
const MAX_RESULTS: usize = 200;
/// How long a search may take.
const MAX_TIME: Duration = Duration::from_secs(20);
/// The most files that are looked at.
const MAX_FILES: usize = 200_000;
/// The largest file that is searched, in bytes.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// The most bytes of a matching line.
const MAX_LINE_BYTES: usize = 400;
/// How many bytes decide whether a file is binary.
const PROBE_BYTES: usize = 1024;
/// What stands after results that are not all.
const NOT_ALL: &str = "[There is more; search for less.]\n";

/// What the model writes for `glob`.
#[derive(Debug, Deserialize)]
pub(super) struct GlobInput {
    pattern: String,
    path: Option<String>,
}

/// What the model writes for `grep`.
#[derive(Debug, Deserialize)]
pub(super) struct GrepInput {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    files_only: bool,
}

/// Finds files by their path, latest changes first.
pub(super) fn glob(settings: &Settings, input: GlobInput) -> Result<String, ToolError> {
    let root = resolve(settings, input.path.as_deref().unwrap_or("."));
    let matcher = matcher(&input.pattern)?;
    let mut found = Vec::new();
    let complete = walk(&root, |entry| {
        let path = below(entry.path(), &root);
        if matcher.is_match(path) {
            let changed = entry.metadata().ok().and_then(|metadata| metadata.modified().ok());
            let changed = changed.unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((std::cmp::Reverse(changed), path.display().to_string()));
        }
        true
    })?;
    found.sort();
    let mut text = String::new();
    for (_, path) in found.iter().take(MAX_RESULTS) {
        text.push_str(path);
        text.push('\n');
    }
    Ok(conclude(text, complete && found.len() <= MAX_RESULTS))
}

/// Finds lines by their content.
pub(super) fn grep(settings: &Settings, input: GrepInput) -> Result<String, ToolError> {
    let root = resolve(settings, input.path.as_deref().unwrap_or("."));
    let regex = RegexBuilder::new(&input.pattern).case_insensitive(input.ignore_case).build();
    let regex = regex.map_err(|error| told(format!("the pattern is not right: {error}")))?;
    let glob = input.glob.as_deref().map(matcher).transpose()?;
    let mut text = String::new();
    let mut results = 0;
    let complete = walk(&root, |entry| {
        let path = below(entry.path(), &root);
        if glob.as_ref().is_some_and(|glob| !glob.is_match(path)) {
            return true;
        }
        for (number, line) in matches(entry, &regex) {
            if results == MAX_RESULTS || text.len() > MAX_RESULT_BYTES {
                return false;
            }
            results += 1;
            // A search in one file has no path to name.
            let path = if path.as_os_str().is_empty() { entry.path() } else { path };
            // Writing to a string cannot fail.
            if input.files_only {
                writeln!(text, "{}", path.display()).ok();
                break;
            }
            let line = files::cut(&line, MAX_LINE_BYTES);
            writeln!(text, "{}:{number}:{line}", path.display()).ok();
        }
        true
    })?;
    Ok(conclude(text, complete))
}

fn conclude(text: String, complete: bool) -> String {
    match (complete, text.is_empty()) {
        (true, true) => String::from("(nothing found)"),
        (true, false) => text,
        (false, _) => text + NOT_ALL,
    }
}

/// A pattern matches the whole path or, without a slash, the file's name.
fn matcher(pattern: &str) -> Result<GlobMatcher, ToolError> {
    let anywhere = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
    let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
    Ok(glob.map_err(|error| told(format!("the pattern is not right: {error}")))?.compile_matcher())
}

/// Shows every file below `root` to `visit` until it returns `false`, and returns whether all were shown.
fn walk(root: &Path, mut visit: impl FnMut(&DirEntry) -> bool) -> Result<bool, ToolError> {
    if !root.exists() {
        return Err(told(format!("{} does not exist", root.display())));
    }
    let until = Instant::now() + MAX_TIME;
    let mut walker = WalkBuilder::new(root);
    walker.hidden(false).require_git(false).parents(false).git_global(false);
    walker.filter_entry(|entry| entry.file_name() != ".git");
    // What cannot be entered is passed over.
    for (seen, entry) in walker.build().flatten().enumerate() {
        if seen >= MAX_FILES || Instant::now() >= until {
            return Ok(false);
        }
        if entry.file_type().is_some_and(|kind| kind.is_file()) && !visit(&entry) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn below<'a>(path: &'a Path, root: &Path) -> &'a Path {
    // The walk joins names to the root, and a root of `.` stays in front of them.
    path.strip_prefix(root).unwrap_or(path)
}

/// The matching lines of a text file, with their numbers.
fn matches(entry: &DirEntry, regex: &Regex) -> Vec<(usize, String)> {
    if entry.metadata().map_or(true, |metadata| metadata.len() > MAX_FILE_BYTES) {
        return Vec::new();
    }
    let content = fs::read(entry.path()).unwrap_or_default();
    if content.iter().take(PROBE_BYTES).any(|byte| *byte == 0) {
        return Vec::new();
    }
    (1..)
        .zip(content.split(|byte| *byte == b'\n'))
        .filter(|(_, line)| regex.is_match(line))
        .map(|(number, line)| (number, String::from_utf8_lossy(line).into_owned()))
        .take(MAX_RESULTS + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Settings) {
        let group = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("a.md", "one\nTwo\n"),
            ("sub/b.md", "two\n"),
            ("sub/deep/c.txt", "two two\nthree"),
            (".hidden/d.md", "two\n"),
            (".git/e.md", "two\n"),
            ("ignored/f.md", "two\n"),
            (".gitignore", "ignored/\n"),
            ("binary", "two\0\n"),
        ] {
            let path = group.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("/dev/zero", group.path().join("endless")).unwrap();
        let settings = Settings { group: group.path().into(), ..Settings::default() };
        (group, settings)
    }

    fn sorted(text: &str) -> Vec<&str> {
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn files_are_found_by_path() {
        let (_group, settings) = place();
        let none = ["(nothing found)"];
        for (pattern, path, expected) in [
            ("*.md", None, &[".hidden/d.md", "a.md", "sub/b.md"][..]),
            ("**/*.md", None, &[".hidden/d.md", "a.md", "sub/b.md"]),
            ("sub/*", None, &["sub/b.md"]),
            ("*.txt", Some("sub"), &["deep/c.txt"]),
            ("*.rs", None, &none),
        ] {
            let input = GlobInput { pattern: pattern.to_owned(), path: path.map(str::to_owned) };
            assert_eq!(sorted(&glob(&settings, input).ok().unwrap()), expected, "{pattern}");
        }
    }

    #[test]
    fn lines_are_found_by_content() {
        let (_group, settings) = place();
        let input = |pattern: &str| GrepInput {
            pattern: pattern.to_owned(),
            path: None,
            glob: None,
            ignore_case: false,
            files_only: false,
        };
        let path = || Some(String::from("sub/b.md"));
        for (input, expected) in [
            (input("^two$"), &[".hidden/d.md:1:two", "sub/b.md:1:two"][..]),
            (
                GrepInput { ignore_case: true, glob: Some("a.*".into()), ..input("two") },
                &["a.md:2:Two"],
            ),
            (
                GrepInput { files_only: true, glob: Some("*.txt".into()), ..input("t") },
                &["sub/deep/c.txt"],
            ),
            (GrepInput { path: path(), files_only: true, ..input("none") }, &["(nothing found)"]),
        ] {
            assert_eq!(sorted(&grep(&settings, input).ok().unwrap()), expected);
        }
        let one = grep(&settings, GrepInput { path: path(), ..input("two") }).ok().unwrap();
        assert!(one.ends_with("sub/b.md:1:two\n"), "{one}");
        assert!(grep(&settings, input("(")).is_err());
        assert!(grep(&settings, GrepInput { path: Some("gone".into()), ..input("x") }).is_err());
    }

    #[test]
    fn too_many_results_are_cut_with_a_note() {
        let (group, settings) = place();
        fs::write(group.path().join("many"), "match\n".repeat(1000)).unwrap();
        let input = serde_json::from_str(r#"{"pattern": "match"}"#).unwrap();
        let text = grep(&settings, input).ok().unwrap();
        assert_eq!(text.lines().count(), MAX_RESULTS + 1);
        assert!(text.ends_with(NOT_ALL));
    }
}
