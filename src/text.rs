//! Text on its way out: cut, split, and made harmless.

#[cfg_attr(
    not(any(feature = "slack", fuzzing, test)),
    expect(dead_code, reason = "no channel of this build splits messages")
)]
mod fence;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
#[cfg(any(feature = "slack", fuzzing, test))]
mod split;

pub(crate) use self::fence::Fence;
#[cfg(any(feature = "slack", fuzzing, test))]
pub(crate) use self::split::split;

/// The first `max_bytes` of a text, or a little less: no character is cut in two.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or(text)
}

/// The last `max_bytes` of a text, or a little less.
pub(crate) fn cut_front(text: &str, max_bytes: usize) -> &str {
    let from = text.ceil_char_boundary(text.len().saturating_sub(max_bytes));
    text.get(from..).unwrap_or(text)
}

/// Money, from millionths of a dollar: in cents, but what is less than a cent in full.
pub(crate) fn dollars(micros: u64) -> String {
    if (1..10_000).contains(&micros) {
        let digits = format!("{micros:06}");
        return format!("$0.{}", digits.trim_end_matches('0'));
    }
    let cents = micros.saturating_add(5_000) / 10_000;
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// A number of things, in words: `1 box`, `2 boxes`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// One line of at most `max` characters for a listing or a log: whitespace is collapsed, what a terminal would act
/// upon and what a reader would not see is shown as such, and what is left out is marked.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut room = max;
    for (number, word) in text.split_whitespace().enumerate() {
        for c in (number > 0).then_some(' ').into_iter().chain(word.chars()) {
            let before = line.len();
            push_visible(&mut line, c, is_control_like(c) || is_invisible(c));
            match room.checked_sub(line.get(before..).unwrap_or_default().chars().count()) {
                Some(left) => room = left,
                None => {
                    line.truncate(before);
                    while line.chars().count() >= max && line.pop().is_some() {}
                    line.push('…');
                    return line;
                }
            }
        }
    }
    line
}

/// A text for a terminal: an agent must not move the cursor, change colours or titles, or turn the line around of
/// the person who reads what it wrote.
pub(crate) fn for_terminal(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let line_end = c == '\r' && chars.peek() == Some(&'\n');
        if !line_end {
            push_visible(&mut safe, c, is_control_like(c) && !matches!(c, '\n' | '\t'));
        }
    }
    safe
}

/// Adds a character, or what stands for it.
fn push_visible(text: &mut String, c: char, hidden: bool) {
    match u32::from(c) {
        _ if !hidden => text.push(c),
        // Unicode has a picture for each of these.
        code @ 0..0x20 => text.extend(char::from_u32(0x2400 + code)),
        0x7f => text.push('\u{2421}'),
        _ => text.extend(c.escape_unicode()),
    }
}

/// A text on one line without what a reader would not see, each such character replaced: as a part of a file's name.
pub(crate) fn plain(text: &str) -> String {
    let plain = |c| if is_control_like(c) || is_invisible(c) { '_' } else { c };
    text.chars().map(plain).collect()
}

/// Characters that a terminal acts upon, or that turn around the text after them.
fn is_control_like(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fff9}'..='\u{fffb}')
}

/// Characters without a shape of their own, by which two names can differ and look the same. The two joiners are
/// not among them: emoji and some scripts need them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, max, front, back) in [
            ("abc", 5, "abc", "abc"),
            ("abc", 2, "ab", "bc"),
            ("aéb", 2, "a", "b"),
            ("aéb", 3, "aé", "éb"),
            ("é", 1, "", ""),
            ("", 0, "", ""),
        ] {
            assert_eq!(cut(text, max), front, "{text:?} {max}");
            assert_eq!(cut_front(text, max), back, "{text:?} {max}");
        }
    }

    #[test]
    fn money_is_shown_in_cents_and_what_is_less_in_full() {
        for (micros, shown) in [
            (0, "$0.00"),
            (1, "$0.000001"),
            (123, "$0.000123"),
            (5_000, "$0.005"),
            (9_999, "$0.009999"),
            (10_000, "$0.01"),
            (1_234_999, "$1.23"),
            (1_235_000, "$1.24"),
            (2_500_000, "$2.50"),
            (u64::MAX, "$18446744073709.55"),
        ] {
            assert_eq!(dollars(micros), shown);
        }
    }

    #[test]
    fn listings_have_one_line_each() {
        for (text, max, expected) in [
            ("", 5, ""),
            ("  a \n\t b  ", 5, "a b"),
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("a\u{1b}[31m", 20, "a␛[31m"),
            ("a\0\u{7f}", 20, "a␀␡"),
            ("a\u{9b}b", 20, "a\\u{9b}b"),
            ("a\u{202e}b", 20, "a\\u{202e}b"),
            ("a\u{202e}b", 5, "a…"),
            ("a\u{200b}b", 20, "a\\u{200b}b"),
            ("👨\u{200d}👩", 20, "👨\u{200d}👩"),
        ] {
            assert_eq!(one_line(text, max), expected, "{text:?}");
        }
    }

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        for (text, expected) in [
            ("a\n\tb", "a\n\tb"),
            ("a\r\nb", "a\nb"),
            ("50%\r100%", "50%␍100%"),
            ("\u{1b}]0;title\u{7}", "␛]0;title␇"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("x\u{202e}y", "x\\u{202e}y"),
            ("שלום\u{200f}!", "שלום\u{200f}!"),
            ("\u{8}\u{7f}", "␈␡"),
        ] {
            assert_eq!(for_terminal(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn harmless_text_stays_as_it_is(text in "[\\n\\PC&&[^\\p{Zl}\\p{Zp}]]*") {
            prop_assert_eq!(for_terminal(&text), text);
        }

        #[test]
        fn nothing_acts_on_a_terminal(text in any::<String>(), max in 1usize..40) {
            let safe = for_terminal(&text);
            prop_assert!(safe.chars().all(|c| matches!(c, '\n' | '\t') || !is_control_like(c)));
            let line = one_line(&text, max);
            prop_assert!(!line.chars().any(|c| is_control_like(c) || is_invisible(c)));
            prop_assert!(line.chars().count() <= max);
        }
    }
}
