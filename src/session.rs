//! Sessions: the agent's continuing memory of a conversation, and the name under which the engine keeps it.

use std::hash::Hasher;

use fnv::FnvHasher;

use crate::model::Conversation;

/// The longest readable part of a key.
const READABLE: usize = 24;

/// A name for a conversation that is safe in a path: readable at the front, unambiguous at the end.
///
/// Engines keep their sessions under it, so it must never change: the end is the 64-bit FNV-1a hash of the
/// conversation as it is printed (<http://www.isthe.com/chongo/tech/comp/fnv/>).
pub(crate) fn key(conversation: &Conversation) -> String {
    let printed = conversation.to_string();
    let readable: String = printed
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(READABLE)
        .collect();
    let mut hash = FnvHasher::default();
    hash.write(printed.as_bytes());
    format!("{readable}-{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(chat: &str, thread: Option<&str>) -> Conversation {
        Conversation {
            chat: chat.parse().unwrap(),
            thread: thread.map(|thread| thread.parse().unwrap()),
        }
    }

    #[test]
    fn keys_never_change() {
        assert_eq!(key(&conversation("terminal:main", None)), "terminal_main-b6b67f17281bb714");
    }

    #[test]
    fn keys_are_safe_and_tell_conversations_apart() {
        let threads = ["1", "2", "../..", "a/b", "a_b"];
        let mut keys: Vec<String> = threads
            .iter()
            .map(|thread| key(&conversation("slack:T01/C02", Some(thread))))
            .collect();
        for key in &keys {
            assert!(key.len() <= 64, "{key}");
            assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }
        keys.dedup();
        assert_eq!(keys.len(), threads.len());
    }
}
