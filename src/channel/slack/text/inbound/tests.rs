//! Tokens, entities and what is neither, one table each.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Knows one of each.
struct Few;

impl Names for Few {
    fn user(&self, id: &UserId) -> Option<String> {
        let names = [("U1", "alice"), ("U7", "x> <@UBOT"), ("U8", "a|b\nc")];
        names.iter().find(|(known, _)| *known == id.as_str()).map(|(_, name)| (*name).to_owned())
    }

    fn chat(&self, id: &ConversationId) -> Option<String> {
        (id.as_str() == "C1").then(|| "general".to_owned())
    }
}

fn read(markup: &str) -> Readable {
    let bot = "UBOT".parse().unwrap();
    Reader { bot: &bot, assistant: "Andy", names: &Few }.text(markup)
}

#[test]
fn tokens_become_words() {
    for (markup, text) in [
        ("", ""),
        ("plain *bold* :tada:", "plain *bold* :tada:"),
        ("<@UBOT> hi", "@Andy hi"),
        ("<@UBOT|bot>さん", "@Andyさん"),
        ("<@U1> and <@U1|al>", "<@U1|alice> and <@U1|alice>"),
        ("<@U2|bob> and <@W3>", "<@U2|bob> and <@W3>"),
        ("<@U7> <@U8>", "<@U7|x @UBOT> <@U8|ab c>"),
        ("<@> <@U 1>", "<@> <@U 1>"),
        ("<#C1> <#C1|> <#C1|gen> <#C2>", "#general #general #gen #C2"),
        ("<https://y.io>", "https://y.io"),
        ("<https://x.io/a|docs>", "[docs](https://x.io/a)"),
        ("<http://x.io|x.io>", "http://x.io"),
        ("<https://x.io/?a=1&amp;b=2|a &amp; b>", "[a & b](https://x.io/?a=1&b=2)"),
        ("<mailto:a@b.c|a@b.c>", "a@b.c"),
        ("<mailto:a@b.c|Ann>", "[Ann](mailto:a@b.c)"),
        ("<tel:+491|+491>", "+491"),
        ("<!here> <!channel> <!everyone|@everyone>", "@here @channel @everyone"),
        ("<!subteam^S1|@ops> <!subteam^S1>", "@ops @S1"),
        ("<!date^1^{date}|Jan 1>", "Jan 1"),
        ("<!date^0^{date}>", "1970-01-01T00:00:00Z"),
        ("<!date^1^{date}^https://x.io|Jan>", "[Jan](https://x.io)"),
        ("<!date^x^{date}>", "<!date^x^{date}>"),
        ("<!new^1|label> <!new^1>", "label <!new^1>"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a <b\nc> d", "a <b\nc> d"),
        ("< <@U1>", "< <@U1|alice>"),
        ("<>", "<>"),
        ("<b> <x|y>", "<b> <x|y>"),
        ("a &lt;@UBOT&gt; &amp;&amp; b &amp;lt;", "a <@UBOT> && b &lt;"),
        ("&nbsp; &", "&nbsp; &"),
    ] {
        assert_eq!(read(markup).text, text, "{markup:?}");
    }
}

#[test]
fn only_a_real_mention_is_one() {
    for (markup, mentioned) in [
        ("<@UBOT>", true),
        ("a<@UBOT|x>b", true),
        ("&lt;@UBOT&gt;", false),
        ("<@UBOT2> <@U7>", false),
        ("<@UBOT", false),
        ("<https://x.io|<@UBOT>", true),
    ] {
        assert_eq!(read(markup).mentioned, mentioned, "{markup:?}");
    }
}

#[test]
fn a_mention_in_the_blocks_alone_is_one() {
    let user = |id: &str| {
        json!([{ "type": "rich_text", "elements": [{ "type": "rich_text_section",
        "elements": [{ "type": "user", "user_id": id }] }] }])
    };
    for (user, mentioned) in [(user("UBOT"), true), (user("U1"), false), (json!(7), false)] {
        let message = json!({ "ts": "1.000001", "text": "look", "blocks": user });
        let message = Message::parse(&message, "C1".parse().ok()).unwrap();
        let bot = "UBOT".parse().unwrap();
        let reader = Reader { bot: &bot, assistant: "Andy", names: &Few };
        assert_eq!(reader.message(&message), Readable { text: "look".to_owned(), mentioned });
    }
}

#[test]
fn what_is_passed_on_is_quoted_and_mentions_nobody() {
    let message = json!({
        "ts": "1.000001", "text": "look",
        "attachments": [{ "is_share": true, "text": "<@UBOT> one\ntwo", "author_name": "bob" }],
    });
    let message = Message::parse(&message, "C1".parse().ok()).unwrap();
    let bot = "UBOT".parse().unwrap();
    let reader = Reader { bot: &bot, assistant: "Andy", names: &Few };
    let text = "look\n\n> bob:\n> @Andy one\n> two".to_owned();
    assert_eq!(reader.message(&message), Readable { text, mentioned: false });
    assert_eq!(named(&message).users, [bot]);
}

#[test]
fn ids_without_names_are_listed_once() {
    let text = "<@U1> <@U1|x> <@U2> <#C1|a> <#C2|> <#C3> <#C3>";
    let message = json!({ "ts": "1.000001", "text": text });
    let named = named(&Message::parse(&message, "C1".parse().ok()).unwrap());
    assert_eq!(named.users.iter().map(UserId::as_str).collect::<Vec<_>>(), ["U1", "U2"]);
    let chats: Vec<_> = named.chats.iter().map(ConversationId::as_str).collect();
    assert_eq!(chats, ["C2", "C3"]);
}

proptest! {
    #[test]
    fn what_people_type_is_read_as_they_typed_it(typed in any::<String>()) {
        let readable = read(&super::super::escape(&typed));
        prop_assert_eq!(readable, Readable { text: typed, mentioned: false });
    }

    #[test]
    fn pieces_are_the_whole(markup in "([<>|@!#&]|<@U1>|a|\n){0,40}") {
        let whole: String = pieces(&markup)
            .map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Token(token) => token.whole,
            })
            .collect();
        prop_assert_eq!(whole, markup);
    }
}
