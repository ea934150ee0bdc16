//! What goes out pings nobody, fits, and loses nothing.

use proptest::prelude::*;

use super::super::fuzz::{assert_harmless, undressed};
use super::*;

fn may_ping(user: &UserId) -> bool {
    user.as_str() == "U1"
}

#[test]
fn nobody_is_pinged_but_who_takes_part() {
    for (written, markdown, notification) in [
        ("hi", "hi", "hi"),
        ("**a** < b & c > d", "**a** < b & c > d", "**a** &lt; b &amp; c &gt; d"),
        ("<@U1> <@U1|alice>!", "<@U1> <@U1>!", "<@U1> <@U1>!"),
        ("<@U9>", "&lt;@U9>", "&lt;@U9&gt;"),
        ("<@U9|bob> <@W9|>", "@\u{200b}bob &lt;@W9|>", "@\u{200b}bob &lt;@W9|&gt;"),
        ("<<@U9|U5>>", "<@\u{200b}U5>", "&lt;@\u{200b}U5&gt;"),
        ("<@U9|here>", "@\u{200b}here", "@\u{200b}here"),
        ("<!here> <!CHANNEL|x>", "&lt;!here> &lt;!CHANNEL|x>", "&lt;!here&gt; &lt;!CHANNEL|x&gt;"),
        ("<!subteam^S1>", "&lt;!subteam^S1>", "&lt;!subteam^S1&gt;"),
        ("<\\!here> \\<!here>", "&lt;\\!here> \\&lt;!here>", "&lt;\\!here&gt; \\&lt;!here&gt;"),
        ("`<!here>`", "`&lt;!here>`", "`&lt;!here&gt;`"),
        ("<!DOCTYPE> <!-- -->", "<!DOCTYPE> <!-- -->", "&lt;!DOCTYPE&gt; &lt;!-- --&gt;"),
        ("List<@NonNull X>", "List<@NonNull X>", "List&lt;@NonNull X&gt;"),
        ("<#C1> <https://x|y>", "<#C1> <https://x|y>", "&lt;#C1&gt; &lt;https://x|y&gt;"),
        (
            "@here, @Channel.",
            "@\u{200b}here, @\u{200b}Channel.",
            "@\u{200b}here, @\u{200b}Channel.",
        ),
        ("me@here.com @hereafter", "me@here.com @hereafter", "me@here.com @hereafter"),
        (
            "```\n@here\n```\n@here",
            "```\n@here\n```\n@\u{200b}here",
            "```\n@here\n```\n@\u{200b}here",
        ),
    ] {
        let expected = Outgoing {
            markdown: markdown.into(),
            notification: notification.into(),
            source: written.into(),
        };
        assert_eq!(outgoing(written, &may_ping), [expected], "{written:?}");
        assert_eq!(plain(written, &may_ping), [notification], "{written:?}");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for blank in ["", " \n\t"] {
        assert_eq!(outgoing(blank, &may_ping), []);
        assert_eq!(plain(blank, &may_ping), [""; 0]);
    }
}

#[test]
fn long_answers_become_several_messages_however_slack_counts() {
    for (unit, count) in [("word ", 2_400), ("🦀", 6_000), ("<!here> ", 600), ("&", 12_000)] {
        let fits = unit.repeat(count);
        let cases = [(fits.clone(), 1), (fits.repeat(2), 2)];
        for (text, at_least) in cases {
            let messages = outgoing(&text, &may_ping);
            assert!(messages.len() >= at_least, "{unit:?}");
            for message in &messages {
                assert!(length(&message.markdown) <= MARKDOWN_LIMIT, "{unit:?}");
                assert!(length(&message.notification) <= TEXT_LIMIT, "{unit:?}");
            }
            let whole: String = messages.iter().map(|m| undressed(&m.markdown)).collect();
            assert_eq!(whole, text, "{unit:?}");
            let plain = plain(&text, &may_ping);
            assert!(plain.iter().all(|text| length(text) <= TEXT_LIMIT), "{unit:?}");
        }
    }
    let one = outgoing(&"x".repeat(12_000), &may_ping);
    assert_eq!(one.len(), 1);
    assert!(one[0].notification.ends_with("xx…"));
}

#[test]
fn code_that_is_cut_stays_code() {
    let code: String = (0..2_000).map(|line| format!("line {line}\n")).collect();
    let messages = outgoing(&format!("intro\n```rust\n{code}```\nend"), &may_ping);
    assert!(messages.len() > 1);
    for message in &messages {
        let open = message.markdown.split_inclusive('\n').fold(None, Fence::after);
        assert_eq!(open, None);
    }
    assert!(messages[1].markdown.starts_with("```rust\nline "));
}

fn tokens() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[<>@!|\\\\`&#^ ]",
        "(<@)?(U1|U9|W2)(\\|)?>?",
        "(<!|@)(here|channel|Everyone|subteam\\^S1)>?",
        Just("\n```\n".to_owned()),
        "[a-z]{1,4}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nobody_is_pinged(text in tokens()) {
        assert_harmless(&text, &may_ping);
    }
}
