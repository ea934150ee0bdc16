//! Is a message addressed to the assistant?

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod rule;
mod spoken;

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;

pub(crate) use self::rule::{Place, Rule};
use crate::model::Group;

/// What makes a message wake the assistant: a word, usually `@` and the assistant's name.
pub(crate) struct Trigger {
    written: String,
    folded: String,
}

impl Trigger {
    /// The trigger of a group.
    pub(crate) fn of(group: &Group, assistant: &str) -> Self {
        Self::new(&group.trigger.clone().unwrap_or_else(|| format!("@{assistant}")))
    }

    /// The trigger that is written so.
    fn new(written: &str) -> Self {
        let written = written.trim().to_owned();
        Self { folded: fold(&written), written }
    }

    /// Whether a text is addressed to the assistant: the trigger stands in it as a whole word, in upper or lower case,
    /// and neither in code nor in a quotation.
    pub(crate) fn is_addressed(&self, text: &str) -> bool {
        let text = fold(&spoken::spoken(text));
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        !self.folded.is_empty()
            && text.match_indices(&self.folded).any(|(at, found)| {
                let (before, rest) = text.split_at(at);
                let after = rest.get(found.len()..).unwrap_or_default();
                !before.ends_with(is_word) && !after.starts_with(is_word)
            })
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The text without the differences that do not matter: upper and lower case, composed and decomposed accents.
///
/// The way through upper case brings together letters that share it, such as the Greek sigmas.
fn fold(text: &str) -> String {
    let composer = ComposingNormalizerBorrowed::new_nfc();
    let folded: String =
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    composer.normalize(&folded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::GroupName;

    fn check(trigger: &str, text: &str, expected: bool) {
        assert_eq!(Trigger::new(trigger).is_addressed(text), expected, "{trigger} in {text:?}");
    }

    #[test]
    fn whole_words_in_any_case_and_anywhere() {
        for text in [
            "@Andy",
            "@andy",
            "@ANDY help",
            "hello @Andy",
            "hello\n@Andy, are you there?",
            "(@Andy)",
            "@Andy's turn",
            "@Andy’s turn",
            "@Andy: x",
            "@Andy.",
            "@@Andy",
            "**@Andy**",
            "@Andy-san",
            "x @Andys @Andy",
            "мир @Andy мир",
            "@Andy\u{200b}",
            "🎉@Andy🎉",
        ] {
            check("@Andy", text, true);
        }
        for text in [
            "",
            "Andy",
            "@And",
            "@Andys",
            "@Andy2",
            "@Andy_bot",
            "mail@andy",
            "mail@andy.com",
            "é@Andy",
            "@Andyé",
            "@Andyи",
            "@ Andy",
            "@Ａndy",
        ] {
            check("@Andy", text, false);
        }
    }

    #[test]
    fn names_of_all_scripts() {
        for (trigger, text, expected) in [
            ("@José", "hola @JOSÉ!", true),
            ("@José", "hola @jose\u{301}", true),
            ("@Jose\u{301}", "hola @josé", true),
            ("@Jose", "hola @José", false),
            ("@Jose", "hola @Jose\u{301}", false),
            ("@Андрей", "привет, @андрей", true),
            ("@Андрей", "@Андрейка", false),
            ("@Σίσυφος", "@ΣΊΣΥΦΟΣ", true),
            ("@Strauß", "@STRAUSS", true),
            ("@小明", "@小明 你好", true),
            ("@小明", "@小明你好", false),
            ("@Андрей", "mail@андрей", false),
            ("Andy", "andy, help", true),
            ("Andy", "handy", false),
            ("hey crab", "Hey Crab!", true),
            ("", "anything", false),
            ("  @Andy ", "@andy", true),
        ] {
            check(trigger, text, expected);
        }
    }

    #[test]
    fn not_in_code_and_not_in_quotations() {
        for (text, expected) in [
            ("```\n@Andy\n```", false),
            ("```\n@Andy\n```\n@Andy", true),
            ("```sh\nping @Andy", false),
            ("~~~\n```\n@Andy\n~~~", false),
            ("look: ```@Andy``` there", false),
            ("look: ```\n@Andy\n``` there", false),
            ("say `@Andy` to call it", false),
            ("say `` `@Andy` `` to call it", false),
            ("a lone ` and @Andy", true),
            ("a lone `\n\n@Andy and another `", true),
            ("`a` @Andy `b`", true),
            ("> @Andy said", false),
            ("> quoted\n@Andy yes", true),
            ("  > @Andy", false),
            (">@Andy", false),
            ("> ```\n@Andy", true),
            ("a > @Andy", true),
            ("```\n> x\n```\n@Andy", true),
        ] {
            check("@Andy", text, expected);
        }
    }

    #[test]
    fn a_group_may_have_its_own() {
        let mut group = Group::new(GroupName::main());
        assert_eq!(Trigger::of(&group, "Andy").to_string(), "@Andy");
        group.trigger = Some("@bot".to_owned());
        let trigger = Trigger::of(&group, "Andy");
        assert!(trigger.is_addressed("@BOT") && !trigger.is_addressed("@Andy"));
    }

    proptest! {
        #[test]
        fn any_text_can_be_asked_about(trigger in any::<String>(), text in any::<String>()) {
            Trigger::new(&trigger).is_addressed(&text);
        }

        #[test]
        fn a_trigger_is_found_between_any_plain_words(before in "[a-zé ]*", after in "[a-zé ]*") {
            let text = format!("{before} @José, {after}");
            prop_assert!(Trigger::new("@José").is_addressed(&text));
        }
    }
}
