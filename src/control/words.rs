//! What agents write and read: the names of emojis, the list of chats.

use std::fmt::Write;

use crate::store::ChatRow;
use crate::text;

/// The longest name of an emoji.
const MAX_EMOJI_BYTES: usize = 100;
/// The most chats that are listed.
pub(super) const MOST_CHATS: usize = 200;

/// The name of an emoji, such as `thumbsup`, with or without its colons; `None` for what is no name.
pub(super) fn emoji_name(written: &str) -> Option<&str> {
    let written = written.trim();
    let name = written.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap_or(written);
    let is_part = |c: char| c.is_alphanumeric() && !c.is_uppercase() || "_+-'".contains(c);
    ((1..=MAX_EMOJI_BYTES).contains(&name.len()) && name.chars().all(is_part)).then_some(name)
}

/// The chats, one on a line; of one more than may be listed it is only said that there are more.
pub(super) fn listed(chats: &[ChatRow]) -> String {
    let mut list = String::new();
    for ChatRow { id, name, group, .. } in chats.iter().take(MOST_CHATS) {
        let name = text::one_line(name.as_deref().unwrap_or("without a name"), 80);
        let group = group.as_ref().map_or("not registered".to_owned(), |it| format!("group {it}"));
        writeln!(list, "{id} ({name}): {group}").expect("a string takes all text");
    }
    if chats.len() > MOST_CHATS {
        list.push_str("There are more, in which nothing was said of late.\n");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GroupName;

    #[test]
    fn a_list_of_chats_is_bounded_and_each_is_one_line() {
        let row = |n: usize| ChatRow {
            id: format!("slack:T1/C{n}").parse().unwrap(),
            name: Some("a\nb".to_owned()),
            group: (n == 0).then(GroupName::main),
            last_message_at: None,
        };
        let many: Vec<ChatRow> = (0..=MOST_CHATS).map(row).collect();
        let list = listed(&many);
        assert!(list.starts_with("slack:T1/C0 (a b): group main\nslack:T1/C1 (a b): not reg"));
        assert_eq!(list.lines().count(), MOST_CHATS + 1);
        assert!(list.ends_with("of late.\n"));
        assert_eq!(listed(&many[..1]).lines().count(), 1);
    }

    #[test]
    fn emojis_are_named_or_refused() {
        for (written, expected) in [
            ("thumbsup", Some("thumbsup")),
            (" :+1: ", Some("+1")),
            ("ours_at_work-2", Some("ours_at_work-2")),
            ("👍", None),
            ("", None),
            ("::", None),
            (":a", None),
            ("thumbs up", None),
            ("a:b", None),
            ("Thumbsup", None),
            (&"a".repeat(101), None),
        ] {
            assert_eq!(emoji_name(written), expected, "{written}");
        }
    }
}
