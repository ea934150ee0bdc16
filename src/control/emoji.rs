//! The names of emojis, as people and models write them.

/// What is often written as it is, with the name that platforms have for it.
const KNOWN: [(&str, &str); 16] = [
    ("👍", "thumbsup"),
    ("👎", "thumbsdown"),
    ("❤", "heart"),
    ("😂", "joy"),
    ("😄", "smile"),
    ("🎉", "tada"),
    ("✅", "white_check_mark"),
    ("❌", "x"),
    ("👀", "eyes"),
    ("🙏", "pray"),
    ("🔥", "fire"),
    ("🚀", "rocket"),
    ("👋", "wave"),
    ("👏", "clap"),
    ("🤔", "thinking_face"),
    ("💯", "100"),
];
/// The longest name.
const MAX_BYTES: usize = 100;

/// The name of an emoji, such as `thumbsup`; `None` for what is no name and not well known.
pub(super) fn name(written: &str) -> Option<&str> {
    let written = written.trim();
    // An emoji may be followed by the sign that it is to be shown as one.
    let plain = written.trim_end_matches('\u{fe0f}');
    if let Some((_, name)) = KNOWN.iter().find(|(emoji, _)| *emoji == plain) {
        return Some(name);
    }
    let name = written.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap_or(written);
    let is_part = |c: char| c.is_alphanumeric() && !c.is_uppercase() || "_+-'".contains(c);
    let fits = (1..=MAX_BYTES).contains(&name.len()) && name.chars().all(is_part);
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emojis_are_named_or_refused() {
        for (written, expected) in [
            ("thumbsup", Some("thumbsup")),
            (" :+1: ", Some("+1")),
            ("👍", Some("thumbsup")),
            ("❤️", Some("heart")),
            ("ours_at_work-2", Some("ours_at_work-2")),
            ("🦀", None),
            ("", None),
            ("::", None),
            (":a", None),
            ("thumbs up", None),
            ("a:b", None),
            ("Thumbsup", None),
            (&"a".repeat(101), None),
        ] {
            assert_eq!(name(written), expected, "{written}");
        }
    }
}
