//! How a conversation ends: what was entered is said, and what may not have reached the store is told.

use super::link::{Link, Unkept};
use crate::cli::output;
use crate::text::one_line;

/// The most messages that are named, of each sort.
const MOST: usize = 5;
/// As many characters of a message as say which it is.
const BEGINNING: usize = 40;

/// Says what was entered and not said yet, and tells what became of none.
pub(super) async fn part(link: &mut Link) {
    let unkept = link.settle().await;
    for line in lines(&unkept, &link.unconfirmed(), &link.unsaid()) {
        output::aside(line);
    }
}

/// A message by its first words, in quotes.
pub(super) fn named(text: &str) -> String {
    format!("“{}”", one_line(text, BEGINNING))
}

fn lines(unkept: &[Unkept], unconfirmed: &[&str], unsaid: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let refused = unkept
        .iter()
        .map(|Unkept { text, reason }| format!("not kept: {} ({reason})", named(text)));
    lines.extend(refused.take(MOST));
    if unkept.len() > MOST {
        lines.push(format!("not kept either: {} more", unkept.len() - MOST));
    }
    if !unconfirmed.is_empty() {
        let named = all_named(unconfirmed);
        lines.push(format!(
            "no gateway confirms it, so it is not known whether this was kept: {named}"
        ));
    }
    if !unsaid.is_empty() {
        lines.push(format!("not sent: {}", all_named(unsaid)));
    }
    lines
}

fn all_named(texts: &[&str]) -> String {
    let mut names: Vec<String> = texts.iter().take(MOST).map(|text| named(text)).collect();
    if texts.len() > MOST {
        names.push(format!("and {} more", texts.len() - MOST));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_kept_is_named_and_what_is_too_much_to_name_is_counted() {
        assert_eq!(lines(&[], &[], &[]), Vec::<String>::new());
        let unkept = |text: &str| Unkept { text: text.to_owned(), reason: "full".to_owned() };
        let many = ["a", "b", "c", "d", "e", "f", "g"];
        let long = "a very long\n\u{1b}[2Jmessage ".repeat(9);
        assert_eq!(
            lines(&many.map(unkept), &[&long], &many),
            [
                "not kept: “a” (full)",
                "not kept: “b” (full)",
                "not kept: “c” (full)",
                "not kept: “d” (full)",
                "not kept: “e” (full)",
                "not kept either: 2 more",
                "no gateway confirms it, so it is not known whether this was kept: \
                 “a very long ␛[2Jmessage a very long ␛[2…”",
                "not sent: “a”, “b”, “c”, “d”, “e”, and 2 more",
            ]
        );
    }
}
