//! What must hold for any text on its way to Slack.

use super::outbound::{MARKDOWN_LIMIT, TEXT_LIMIT};
use super::{outgoing, plain};
use crate::channel::slack::id::UserId;
use crate::text::Fence;

/// Sends a text: it pings nobody who may not be, and says what it said.
pub(crate) fn assert_harmless(text: &str, may_ping: &dyn Fn(&UserId) -> bool) {
    let messages = outgoing(text, may_ping);
    assert_eq!(messages.is_empty(), text.trim().is_empty());
    for message in &messages {
        assert!((1..=MARKDOWN_LIMIT).contains(&message.markdown.chars().count()));
        assert!(message.notification.chars().count() <= TEXT_LIMIT);
        assert_eq!(live_ping(&message.markdown, may_ping), None, "{text:?}");
        assert_eq!(live_ping(&message.notification, may_ping), None, "{text:?}");
    }
    for text in plain(text, may_ping) {
        assert!(text.chars().count() <= TEXT_LIMIT);
        assert_eq!(live_ping(&text, may_ping), None, "{text:?}");
    }
    // A mention is written anew, without the name beside it; and where a fence is cut there is more than was said.
    if let ([message], false) = (&*messages, text.contains('|')) {
        assert_eq!(undressed(&message.markdown), undressed(text));
    }
}

/// A text without what makes it harmless.
pub(crate) fn undressed(text: &str) -> String {
    text.replace('\u{200b}', "").replace("&lt;", "<")
}

/// The first thing in a text that pings somebody who may not be, looked for in another way than it is prevented.
fn live_ping<'a>(text: &'a str, may_ping: &dyn Fn(&UserId) -> bool) -> Option<&'a str> {
    let token = text.match_indices('<').find_map(|(at, _)| {
        let token = text.get(at + 1..)?.split('>').next()?;
        let target = token.split('|').next()?.to_lowercase();
        let user = token.strip_prefix('@').and_then(|id| id.split('|').next()?.parse().ok());
        let looks_like_user = token.starts_with("@U") || token.starts_with("@W");
        let pings_one = looks_like_user
            && user.is_some_and(|user| {
                let id: &str = user_text(&user);
                id.chars().all(|c| !c.is_ascii_lowercase()) && id.len() > 1 && !may_ping(&user)
            });
        let pings_many = ["!here", "!channel", "!everyone", "!group", "!subteam^"]
            .iter()
            .any(|word| target.starts_with(word));
        (pings_one || pings_many).then_some(token)
    });
    token.or_else(|| live_word(text))
}

fn user_text(user: &UserId) -> &str {
    user.as_str()
}

/// The first word outside of code that pings many.
fn live_word(text: &str) -> Option<&str> {
    let mut open = None;
    text.split_inclusive('\n').find_map(|line| {
        let was_open = open.is_some();
        open = Fence::after(open.take(), line);
        let mut words =
            line.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '@' | '\u{200b}')));
        let pings = |word: &&str| {
            ["@here", "@channel", "@everyone"].iter().any(|ping| word.eq_ignore_ascii_case(ping))
        };
        words.find(pings).filter(|_| !was_open && open.is_none())
    })
}
