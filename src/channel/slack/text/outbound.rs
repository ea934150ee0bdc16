//! Markdown as Slack takes it: nobody is pinged who does not take part, and nothing is too long.
//!
//! Slack reads its own tokens (`<!here>`, `<@U1>`) within Markdown too. An angle that would begin a ping is written as
//! an entity: Slack shows it as an angle and does not read it again, as `PostHog` has measured (their pull request
//! 95054). That it is done in code as well is caution: whether Slack reads tokens there is not known to us.

use crate::channel::slack::id::UserId;
use crate::text::{Fence, split};

/// The most that the Markdown of one message may have, in characters: Slack's page of the `markdown` block.
pub(crate) const MARKDOWN_LIMIT: usize = 12_000;
/// The most that the text beside blocks should have, and a message of text alone: Slack's page of `chat.postMessage`.
pub(crate) const TEXT_LIMIT: usize = 4_000;

/// What pings many at once as a token.
const BROADCASTS: &[&str] = &["here", "channel", "everyone", "group", "subteam"];
/// What pings many at once as a word, where names are linked.
const BROADCAST_WORDS: &[&str] = &["here", "channel", "everyone"];
/// Stands in what must not be taken for a ping. It has no width.
const BREAK: char = '\u{200b}';
/// The longest name in a mention, in bytes.
const MOST_LABEL: usize = 400;

/// One message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// For a `markdown` block, or `markdown_text`.
    pub(crate) markdown: String,
    /// For `text` beside the block, in Slack's markup: what notifications show, cut when it is long.
    pub(crate) notification: String,
    /// The Markdown that it says, as it was written: what [`plain`] takes should Slack refuse the block.
    pub(crate) source: String,
}

/// Makes of Markdown as many messages as it takes, none for blank text; `may_ping` says who takes part in the
/// conversation.
pub(crate) fn outgoing(markdown: &str, may_ping: &dyn Fn(&UserId) -> bool) -> Vec<Outgoing> {
    let pieces = pieces(markdown, MARKDOWN_LIMIT, &|piece| dress(piece, Form::Markdown, may_ping));
    let outgoing = |(piece, markdown): (String, String)| Outgoing {
        markdown,
        notification: notification(&piece, may_ping),
        source: piece,
    };
    pieces.into_iter().map(outgoing).collect()
}

/// Makes of Markdown messages of text alone, for where Slack refuses blocks: what stands there is shown as it is.
pub(crate) fn plain(markdown: &str, may_ping: &dyn Fn(&UserId) -> bool) -> Vec<String> {
    let pieces = pieces(markdown, TEXT_LIMIT, &|piece| dress(piece, Form::Markup, may_ping));
    pieces.into_iter().map(|(_, text)| text).collect()
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As Markdown.
    Markdown,
    /// In Slack's own markup, in which three characters are always entities.
    Markup,
}

/// Splits a text so that every piece fits when it is dressed; returns them undressed and dressed.
fn pieces(text: &str, limit: usize, dress: &dyn Fn(&str) -> String) -> Vec<(String, String)> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut room = limit;
    loop {
        let pieces = split(text, room).into_iter().map(|piece| {
            let dressed = dress(&piece);
            (piece, dressed)
        });
        let pieces: Vec<_> = pieces.collect();
        // What is dressed is at most five times as long and takes two units for each character, so this ends.
        if room < limit / 16 || pieces.iter().all(|(_, dressed)| length(dressed) <= limit) {
            return pieces;
        }
        room /= 2;
    }
}

/// How long Slack may take a text to be. It does not say what it counts; this is the more of two.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The text beside the blocks.
fn notification(piece: &str, may_ping: &dyn Fn(&UserId) -> bool) -> String {
    let mut text = dress(piece, Form::Markup, may_ping);
    let mut room = TEXT_LIMIT;
    while length(&text) > TEXT_LIMIT {
        room = room * 3 / 4;
        let short: String = piece.chars().take(room).chain(['…']).collect();
        text = dress(&short, Form::Markup, may_ping);
    }
    text
}

/// Writes a text so that it pings nobody but who may be.
fn dress(text: &str, form: Form, may_ping: &dyn Fn(&UserId) -> bool) -> String {
    let (mut dressed, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('<') {
        dressed.push_str(&form.text(before));
        rest = after;
        match Mention::parse(after) {
            Some(mention) if may_ping(&mention.user) => {
                dressed.push_str(&format!("<@{}>", mention.user));
                rest = mention.after;
            }
            Some(Mention { label: Some(label), after, .. }) => {
                dressed.push('@');
                dressed.push(BREAK);
                dressed.push_str(&form.text(label));
                rest = after;
            }
            _ if form == Form::Markup || is_ping(after) => dressed.push_str("&lt;"),
            _ => dressed.push('<'),
        }
    }
    dressed.push_str(&form.text(rest));
    break_words(&dressed)
}

impl Form {
    /// Text without an opening angle.
    fn text(self, text: &str) -> String {
        match self {
            Self::Markdown => text.to_owned(),
            Self::Markup => super::escape(text),
        }
    }
}

/// A mention of somebody.
struct Mention<'a> {
    user: UserId,
    /// The name that stands beside the id, when the agent has copied it.
    label: Option<&'a str>,
    after: &'a str,
}

impl<'a> Mention<'a> {
    /// The mention that an angle begins with this after it.
    fn parse(text: &'a str) -> Option<Self> {
        let id = user_id(text.strip_prefix('@')?)?;
        let after = text.get(1 + id.len()..)?;
        let user = id.parse().ok()?;
        if let Some(after) = after.strip_prefix('>') {
            return Some(Self { user, label: None, after });
        }
        let (label, after) = after.strip_prefix('|')?.split_once('>')?;
        let is_label = !label.contains(['<', '&', '\n']) && label.len() <= MOST_LABEL;
        let label = (!label.is_empty()).then_some(label);
        is_label.then_some(Self { user, label, after })
    }
}

/// The id of a user that a text begins with.
fn user_id(text: &str) -> Option<&str> {
    let is_id = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    let id = text.get(..text.find(|c| !is_id(c)).unwrap_or(text.len()))?;
    (id.starts_with(['U', 'W']) && id.len() > 1).then_some(id)
}

/// Whether an angle with this after it may ping somebody. What a backslash escapes is taken for what is escaped.
fn is_ping(after: &str) -> bool {
    let after = after.trim_start_matches('\\');
    let begins = |text: &str, word: &str| {
        text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let broadcast = after.strip_prefix('!').map(|text| text.trim_start_matches('\\'));
    let user = after.strip_prefix('@').map(|text| text.trim_start_matches('\\'));
    broadcast.is_some_and(|text| BROADCASTS.iter().any(|word| begins(text, word)))
        || user.and_then(user_id).is_some()
}

/// Breaks the words that ping many, but not in fenced code, where words ping nobody and are copied.
fn break_words(text: &str) -> String {
    let (mut broken, mut open) = (String::with_capacity(text.len()), None);
    for line in text.split_inclusive('\n') {
        let was_open = open.is_some();
        open = Fence::after(open, line);
        if was_open || open.is_some() {
            broken.push_str(line);
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('@') {
            broken.push_str(before);
            broken.push('@');
            if !before.ends_with(is_word) && begins_with_broadcast(after) {
                broken.push(BREAK);
            }
            rest = after;
        }
        broken.push_str(rest);
    }
    broken
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn begins_with_broadcast(text: &str) -> bool {
    BROADCAST_WORDS.iter().any(|word| {
        let (start, rest) = text.split_at_checked(word.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(word) && !rest.starts_with(is_word)
    })
}

#[cfg(test)]
mod tests;
