//! What a session's file says: one entry a line, in JSON.
//!
//! Reading repairs what a crash leaves: a torn last line is left out, and a tool call without its result gets
//! one that says so, because the service takes no conversation with a call left open.

use protocol::Prompt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use super::reply;

/// What the model is told of a tool call that a crash or a cancelled run left open.
const INTERRUPTED: &str = "interrupted: it is not known how far this call got";

/// Why a session's file cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum EntriesError {
    /// A line before the last one is not an entry.
    #[error("line {0} is damaged")]
    Damaged(usize),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The run in which it was written.
    pub(crate) run: u64,
    /// Where the message comes from.
    pub(crate) origin: Origin,
    /// The message, as the service takes it.
    pub(crate) message: Message,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Origin {
    /// What the run began with.
    Prompt,
    /// What arrived while the agent worked, up to this `seq`.
    FollowUp {
        /// As in [`protocol::FollowUp`].
        through: u64,
    },
    /// The model.
    Model,
    /// The tools.
    Tools,
    /// The summary of what stood here before.
    Summary,
}

/// A message of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Who speaks.
    pub(crate) role: Role,
    /// The content blocks.
    pub(crate) content: Vec<Value>,
}

/// Who speaks, as the service calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// People, and the tools.
    User,
    /// The model.
    Assistant,
}

impl Entry {
    /// Text from outside, or a summary.
    pub(crate) fn text(run: u64, origin: Origin, text: &str) -> Self {
        // The service refuses text that is empty.
        let text = if text.trim().is_empty() { "(no text)" } else { text };
        Self::user(run, origin, vec![json!({"type": "text", "text": text})])
    }

    /// Content that goes to the model.
    pub(crate) fn user(run: u64, origin: Origin, content: Vec<Value>) -> Self {
        Self { run, origin, message: Message { role: Role::User, content } }
    }

    /// Content that came from the model.
    pub(crate) fn model(run: u64, content: Vec<Value>) -> Self {
        Self { run, origin: Origin::Model, message: Message { role: Role::Assistant, content } }
    }

    /// Roughly how many bytes it takes of the model's context.
    pub(crate) fn bytes(&self) -> usize {
        serde_json::to_vec(&self.message).map_or(0, |json| json.len())
    }

    /// The highest `seq` of a follow-up.
    pub(crate) fn through(&self) -> Option<u64> {
        match self.origin {
            Origin::FollowUp { through } => Some(through),
            _ => None,
        }
    }

    /// Whether these are the words with which the model ended its turn.
    pub(crate) fn ends_a_turn(&self) -> bool {
        self.origin == Origin::Model && reply::tool_calls(&self.message.content).is_empty()
    }
}

/// The entries of a file, and how many of its bytes they take; what follows is torn.
///
/// # Errors
///
/// The file is damaged in the middle.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Vec<Entry>, usize), EntriesError> {
    let mut entries = Vec::new();
    let mut good = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        match entry {
            Some(entry) => entries.push(entry),
            None if good + line.len() == bytes.len() => break,
            None => return Err(EntriesError::Damaged(index + 1)),
        }
        good += line.len();
    }
    Ok((entries, good))
}

/// The results that are missing after the last entry, if it left calls open.
pub(crate) fn missing_results(entries: &[Entry]) -> Option<Entry> {
    let last = entries.last().filter(|entry| entry.origin == Origin::Model)?;
    let results: Vec<_> = reply::tool_calls(&last.message.content)
        .iter()
        .map(|call| tool_result(&call.id, Err(INTERRUPTED)))
        .collect();
    (!results.is_empty()).then(|| Entry::user(last.run, Origin::Tools, results))
}

/// The entries that an earlier attempt at the same run left, its prompt first; empty when there are none.
///
/// The text must be the same too: an attempt may bring messages that the one before did not have.
pub(crate) fn of_attempt<'a>(entries: &'a [Entry], prompt: &Prompt) -> &'a [Entry] {
    let last_prompt = entries.iter().rposition(|entry| entry.origin == Origin::Prompt);
    let attempt = last_prompt.and_then(|index| entries.get(index..)).unwrap_or_default();
    let same = Entry::text(prompt.run, Origin::Prompt, &prompt.text);
    attempt.first().filter(|first| **first == same).map_or(&[], |_| attempt)
}

/// What a tool gave, or why it gave nothing, as the service takes it.
pub(crate) fn tool_result(id: &str, result: Result<&str, &str>) -> Value {
    let (Ok(text) | Err(text)) = result;
    let text = if text.trim().is_empty() { "(no output)" } else { text };
    json!({
        "type": "tool_result",
        "tool_use_id": id,
        "content": [{"type": "text", "text": text}],
        "is_error": result.is_err(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(entries: &[Entry]) -> Vec<u8> {
        let lines = entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n");
        lines.collect::<String>().into_bytes()
    }

    fn call(id: &str) -> Value {
        json!({"type": "tool_use", "id": id, "name": "bash", "input": {}})
    }

    fn session() -> Vec<Entry> {
        vec![
            Entry::text(1, Origin::Prompt, "héllo"),
            Entry::model(1, vec![call("t1"), call("t2")]),
            Entry::user(1, Origin::Tools, vec![tool_result("t1", Ok(""))]),
            Entry::text(1, Origin::FollowUp { through: 9 }, "more"),
            Entry::model(1, vec![json!({"type": "text", "text": "done"})]),
        ]
    }

    fn prompt(run: u64, text: &str) -> Prompt {
        Prompt {
            version: protocol::VERSION,
            run,
            conversation: String::from("c"),
            session: None,
            text: text.to_owned(),
            system: String::new(),
            engine: String::from("native"),
            model: String::from("m"),
            max_output_bytes: 1,
        }
    }

    #[test]
    fn a_session_cut_anywhere_keeps_its_whole_lines() {
        let entries = session();
        let bytes = lines(&entries);
        for cut in 0..=bytes.len() {
            let (read, good) = parse(&bytes[..cut]).unwrap();
            let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(read, entries[..whole]);
            assert_eq!(lines(&read), bytes[..good]);
        }
    }

    #[test]
    fn damage_in_the_middle_is_not_guessed_at() {
        let bytes = [b"{}\n".as_slice(), &lines(&session())].concat();
        assert_eq!(parse(&bytes), Err(EntriesError::Damaged(1)));
    }

    #[test]
    fn open_calls_get_results() {
        let entries = session();
        assert_eq!(missing_results(&[]), None);
        assert_eq!(missing_results(&entries), None);
        assert_eq!(missing_results(&entries[..1]), None);
        let repair = missing_results(&entries[..2]).unwrap();
        let ids: Vec<_> =
            repair.message.content.iter().map(|block| block["tool_use_id"].clone()).collect();
        assert_eq!(ids, ["t1", "t2"]);
        assert_eq!((repair.run, repair.message.role), (1, Role::User));
    }

    #[test]
    fn an_attempt_is_known_by_run_and_text() {
        let entries = session();
        assert_eq!(of_attempt(&entries, &prompt(1, "héllo")), entries);
        assert!(of_attempt(&entries, &prompt(1, "héllo and more")).is_empty());
        assert!(of_attempt(&entries, &prompt(2, "héllo")).is_empty());
        let later = [entries, vec![Entry::text(2, Origin::Prompt, "x")]].concat();
        assert!(of_attempt(&later, &prompt(1, "héllo")).is_empty(), "a later run stands there");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((entries, good)) = parse(&bytes) {
                prop_assert!(good <= bytes.len());
                missing_results(&entries);
            }
        }
    }
}
