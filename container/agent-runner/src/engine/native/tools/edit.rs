//! The tools `write` and `edit`: a file changes whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::paths::{failed, regular, resolve};
use super::{ToolError, told};
use crate::files::{self, Durability};
use crate::settings::Settings;

/// The largest file that is edited, in bytes.
const MAX_EDIT_BYTES: u64 = 16 * 1024 * 1024;

/// What the model writes for `write`.
#[derive(Debug, Deserialize)]
pub(super) struct WriteInput {
    path: String,
    content: String,
}

/// What the model writes for `edit`.
#[derive(Debug, Deserialize)]
pub(super) struct EditInput {
    path: String,
    old_text: String,
    new_text: String,
    #[serde(default)]
    replace_all: bool,
}

/// Writes a whole file.
pub(super) fn write(settings: &Settings, input: WriteInput) -> Result<String, ToolError> {
    let path = resolve(settings, &input.path);
    if path.exists() {
        regular(&path)?;
    } else if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| failed("make the directory", parent, &error))?;
    }
    replace(&path, &input.content)?;
    Ok(format!("wrote {} bytes to {}", input.content.len(), path.display()))
}

/// Replaces text in a file.
pub(super) fn edit(settings: &Settings, input: EditInput) -> Result<String, ToolError> {
    let path = resolve(settings, &input.path);
    if regular(&path)?.len() > MAX_EDIT_BYTES {
        return Err(told("the file is too large to edit here; use bash"));
    }
    let bytes = fs::read(&path).map_err(|error| failed("read", &path, &error))?;
    let content = String::from_utf8(bytes).map_err(|_bytes| told("the file is not UTF-8 text"))?;
    let (count, edited) = substitute(&content, &input)?;
    replace(&path, &edited)?;
    Ok(format!("replaced {count} in {}", path.display()))
}

fn substitute(content: &str, input: &EditInput) -> Result<(usize, String), ToolError> {
    let EditInput { old_text, new_text, replace_all, .. } = input;
    if old_text.is_empty() {
        return Err(told("old_text is empty; use write for a new file"));
    }
    if old_text == new_text {
        return Err(told("old_text and new_text are the same"));
    }
    match content.matches(old_text.as_str()).count() {
        0 => Err(told("old_text does not stand in the file; read it again and copy exactly")),
        count if count > 1 && !replace_all => Err(told(format!(
            "old_text stands there {count} times; take in more of its surroundings, or set replace_all"
        ))),
        count => Ok((count, content.replace(old_text.as_str(), new_text))),
    }
}

/// Puts the content in place at once. A link keeps leading to its file, and a file keeps its mode.
fn replace(path: &Path, content: &str) -> Result<(), ToolError> {
    let target: PathBuf = fs::canonicalize(path).unwrap_or_else(|_new| path.to_owned());
    let failed = |error| failed("write", path, &error);
    let mode = fs::metadata(&target).ok().map(|metadata| metadata.permissions());
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(told(format!("{} is not a file", path.display())));
    };
    let name = name.to_str().ok_or_else(|| told("the file's name is not UTF-8"))?;
    files::write_atomic(directory, name, content.as_bytes(), Durability::Volatile)
        .map_err(failed)?;
    match mode {
        Some(mode) => fs::set_permissions(&target, mode).map_err(failed),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, Settings) {
        let group = tempfile::tempdir().unwrap();
        let settings = Settings { group: group.path().into(), ..Settings::default() };
        (group, settings)
    }

    #[test]
    fn writing_makes_parents_and_keeps_links_and_modes() {
        let (group, settings) = place();
        let put = |path: &str, content: &str| {
            write(&settings, WriteInput { path: path.to_owned(), content: content.to_owned() })
        };
        put("a/b/run.sh", "one").unwrap();
        let script = group.path().join("a/b/run.sh");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("a/b/run.sh", group.path().join("link")).unwrap();
        put("link", "two").unwrap();
        assert_eq!(fs::read_to_string(&script).unwrap(), "two");
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(group.path().join("link").is_symlink());
        for path in ["a", "/dev/null", "a/b/run.sh/x"] {
            assert!(put(path, "").is_err(), "{path}");
        }
    }

    #[test]
    fn edits_are_exact() {
        let check = |content: &str, old: &str, new: &str, replace_all| {
            let input = EditInput {
                path: String::new(),
                old_text: old.to_owned(),
                new_text: new.to_owned(),
                replace_all,
            };
            substitute(content, &input).ok()
        };
        for (content, old, new, all, expected) in [
            ("a b", "a", "c", false, Some((1, "c b"))),
            ("a a", "a", "c", false, None),
            ("a a", "a", "c", true, Some((2, "c c"))),
            ("a", "b", "c", false, None),
            ("a", "a", "a", false, None),
            ("a", "", "a", false, None),
            ("a\r\n", "a\n", "c", false, None),
        ] {
            let expected = expected.map(|(count, text)| (count, text.to_owned()));
            assert_eq!(check(content, old, new, all), expected, "{content:?}");
        }
    }
}
