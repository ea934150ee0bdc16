//! How files stand in the text of their message, and why one is nowhere to be found.

use super::{
    BEFORE, MOST_BYTES, MOST_FILES, MOST_NAME, MOST_SAID, Missing, SINCE, never, too_large,
};
use crate::channel::slack::event::{File, FileSource, Message};
use crate::model::{self, Attachment};
use crate::text::one_line;

/// Names the files of a message of a thread's beginning in its text: none of them is fetched.
pub(in crate::channel::slack) fn name_all(message: &Message, text: &mut String) {
    for (number, file) in message.files.iter().enumerate() {
        let missing = address(number, file).err().unwrap_or_else(|| never(BEFORE));
        name(file, Some(&missing), text);
    }
}

/// Names the files that a changed message has now in its text, with what was said of them before; returns those of the
/// kept ones that it still has.
pub(in crate::channel::slack) fn name_again(
    message: &Message,
    before: &model::Message,
    text: &mut String,
) -> Vec<Attachment> {
    let mut there = before.attachments.clone();
    let mut left = Vec::new();
    for file in &message.files {
        let missing = if file.source == FileSource::Gone {
            address(0, file).err()
        } else if let Some(at) = there.iter().position(|there| is_of(there, file)) {
            left.push(there.remove(at));
            None
        } else {
            Some(never(reason(file, &before.text).unwrap_or_else(|| SINCE.to_owned())))
        };
        name(file, missing.as_ref(), text);
    }
    left
}

/// Whether a file that was fetched is this one.
fn is_of(fetched: &Attachment, file: &File) -> bool {
    match (&fetched.id, &file.id) {
        (Some(one), Some(other)) => one == other,
        _ => fetched.name == one_line(&file.name, MOST_NAME),
    }
}

/// Why a file was not fetched, as a text says that names it.
fn reason(file: &File, text: &str) -> Option<String> {
    let named = format!("[file: {}", one_line(&file.name, MOST_NAME));
    let mut lines = text.lines().rev().filter_map(|line| line.strip_prefix(&named));
    let reason =
        |line: &str| Some(line.strip_suffix(']')?.split_once(": not fetched: ")?.1.to_owned());
    lines.find_map(reason)
}

/// Adds a line that names a file, and says why it is nowhere to be found.
pub(super) fn name(file: &File, missing: Option<&Missing>, text: &mut String) {
    let kind = file.kind.as_deref().map(|kind| format!(", {}", one_line(kind, 100)));
    let said = file.transcript.as_deref().map(|said| format!(": {}", one_line(said, MOST_SAID)));
    let missing = missing.map(|missing| format!(": not fetched: {missing}"));
    let parts = [kind, said, missing].map(Option::unwrap_or_default).concat();
    let line = if text.is_empty() { "" } else { "\n" };
    text.push_str(&format!("{line}[file: {}{parts}]", one_line(&file.name, MOST_NAME)));
}

/// Where a file is to be fetched from, or why it is not.
pub(super) fn address(number: usize, file: &File) -> Result<&str, Missing> {
    match &file.source {
        FileSource::Gone => Err(never("it was deleted")),
        FileSource::External(url) => Err(never(format!("it lies at {}", one_line(url, 500)))),
        FileSource::AskFor => Err(never("Slack does not say where it is")),
        FileSource::Url(_) if number >= MOST_FILES => {
            Err(never(format!("only the first {MOST_FILES} files of a message are")))
        }
        FileSource::Url(_) if file.bytes.is_some_and(|bytes| bytes > MOST_BYTES) => {
            Err(too_large())
        }
        FileSource::Url(url) => Ok(url),
    }
}
