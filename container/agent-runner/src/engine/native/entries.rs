//! What a session's file says: one entry a line, in JSON.
//!
//! Reading leaves out a last line that a crash has torn. A tool call without its result is found by [`open_calls`]:
//! the service takes no conversation with a call left open.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use super::reply::{self, ToolCall};
use crate::files;

/// What the model is told of a tool call that a crash or a cancelled run left open.
pub(crate) const INTERRUPTED: &str = "interrupted: it is not known how far this call got";

/// What stands behind messages that a run left without an answer, so that the next one does not carry them out.
pub(crate) const UNANSWERED: &str = "[This was stopped or given up before it was answered. What is not done of it is \
                                     not to be done now, unless somebody asks for it again.]";

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
    Prompt {
        /// As in [`protocol::Prompt`].
        from: u64,
        /// As in [`protocol::Prompt`].
        through: u64,
    },
    /// What arrived while the agent worked, up to this `seq`.
    FollowUp {
        /// As in [`protocol::FollowUp`].
        through: u64,
    },
    /// The model.
    Model {
        /// A random number, from which the calls in it take the names of their requests.
        mark: u64,
    },
    /// The tools.
    Tools,
    /// The engine, where a run ended without an answer and other messages follow.
    Unanswered,
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
        let origin = Origin::Model { mark: files::random_number() };
        Self { run, origin, message: Message { role: Role::Assistant, content } }
    }

    /// The mark behind messages that have no answer. It stands where the model's answer would: the next messages are
    /// then a turn of their own.
    pub(crate) fn unanswered(run: u64) -> Self {
        let content = vec![json!({"type": "text", "text": UNANSWERED})];
        let message = Message { role: Role::Assistant, content };
        Self { run, origin: Origin::Unanswered, message }
    }

    /// Roughly how many bytes it takes of the model's context.
    pub(crate) fn bytes(&self) -> usize {
        serde_json::to_vec(&self.message).map_or(0, |json| json.len())
    }

    /// The highest `seq` of what people said in it.
    pub(crate) fn through(&self) -> Option<u64> {
        match self.origin {
            Origin::Prompt { through, .. } | Origin::FollowUp { through } => Some(through),
            Origin::Model { .. } | Origin::Tools | Origin::Unanswered | Origin::Summary => None,
        }
    }

    /// Whether a run began with it.
    pub(crate) fn is_prompt(&self) -> bool {
        matches!(self.origin, Origin::Prompt { .. })
    }

    /// Whether the model wrote it.
    pub(crate) fn is_models(&self) -> bool {
        matches!(self.origin, Origin::Model { .. })
    }

    /// The calls in it, each with the name of the request that it makes of the gateway, if it makes one.
    pub(crate) fn calls(&self) -> Vec<(String, ToolCall)> {
        let Origin::Model { mark } = self.origin else { return Vec::new() };
        let calls = reply::tool_calls(&self.message.content).into_iter().enumerate();
        calls.map(|(place, call)| (format!("{mark:016x}-{place}"), call)).collect()
    }

    /// Whether these are the words with which the model ended its turn.
    pub(crate) fn ends_a_turn(&self) -> bool {
        self.is_models() && reply::tool_calls(&self.message.content).is_empty()
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

/// The calls that have no result yet, each with the name of its request. Only the model's last words can have some.
pub(crate) fn open_calls(entries: &[Entry]) -> Vec<(String, ToolCall)> {
    let Some(last) = entries.iter().rposition(Entry::is_models) else { return Vec::new() };
    let (before, results) = entries.split_at(last + 1);
    let results = results.iter().flat_map(|entry| &entry.message.content);
    let answered: Vec<_> = results.filter_map(|block| block["tool_use_id"].as_str()).collect();
    let mut calls = before.last().map(Entry::calls).unwrap_or_default();
    calls.retain(|(_, call)| !answered.contains(&call.id.as_str()));
    calls
}

/// The entries that earlier attempts at the same messages left, the prompt first; empty when there are none.
pub(crate) fn of_attempt(entries: &[Entry], from: u64) -> &[Entry] {
    let last_prompt = entries.iter().rposition(Entry::is_prompt);
    let attempt = last_prompt.and_then(|index| entries.get(index..)).unwrap_or_default();
    let same = |first: &&Entry| matches!(first.origin, Origin::Prompt { from: begun, .. } if begun == from);
    attempt.first().filter(same).map_or(&[], |_| attempt)
}

/// Whether these end with messages that were never answered, nor marked as such.
pub(crate) fn end_unanswered(entries: &[Entry]) -> bool {
    let closes = |entry: &Entry| entry.ends_a_turn() || entry.origin == Origin::Unanswered;
    entries.last().is_some_and(|last| !closes(last))
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

    fn prompt(from: u64) -> Origin {
        Origin::Prompt { from, through: from + 1 }
    }

    fn session() -> Vec<Entry> {
        vec![
            Entry::text(1, prompt(4), "héllo"),
            Entry::model(1, vec![call("t1"), call("t2")]),
            Entry::user(1, Origin::Tools, vec![tool_result("t1", Ok(""))]),
            Entry::user(1, Origin::Tools, vec![tool_result("t2", Ok(""))]),
            Entry::text(1, Origin::FollowUp { through: 9 }, "more"),
            Entry::model(1, vec![json!({"type": "text", "text": "done"})]),
        ]
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
    fn open_calls_are_those_without_a_result() {
        let entries = session();
        let open = |length: usize| -> Vec<String> {
            open_calls(&entries[..length]).into_iter().map(|(_, call)| call.id).collect()
        };
        for (length, expected) in [
            (0, vec![]),
            (1, vec![]),
            (2, vec!["t1", "t2"]),
            (3, vec!["t2"]),
            (4, vec![]),
            (6, vec![]),
        ] {
            assert_eq!(open(length), expected, "{length}");
        }
        let again = parse(&lines(&entries[..3])).unwrap().0;
        assert_eq!(
            open_calls(&again)[0].0,
            open_calls(&entries[..2])[1].0,
            "its request keeps its name"
        );
    }

    #[test]
    fn an_attempt_is_known_by_the_first_message() {
        let entries = session();
        assert_eq!(of_attempt(&entries, 4), entries);
        assert!(of_attempt(&entries, 5).is_empty());
        let later = [entries, vec![Entry::text(2, prompt(10), "x")]].concat();
        assert!(of_attempt(&later, 4).is_empty(), "a later run stands there");
    }

    #[test]
    fn messages_without_an_answer_are_known_until_they_are_marked() {
        let entries = session();
        for (length, expected) in
            [(0, false), (1, true), (2, true), (4, true), (5, true), (6, false)]
        {
            assert_eq!(end_unanswered(&entries[..length]), expected, "{length}");
        }
        let marked = [&entries[..1], &[Entry::unanswered(2)]].concat();
        assert!(!end_unanswered(&marked));
        assert_eq!(parse(&lines(&marked)).unwrap().0, marked);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((entries, good)) = parse(&bytes) {
                prop_assert!(good <= bytes.len());
                open_calls(&entries);
            }
        }
    }
}
