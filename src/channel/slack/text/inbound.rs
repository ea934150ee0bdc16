//! Slack's markup made readable: mentions, links and dates with names in place of ids.

use jiff::Timestamp;

use super::unescape;
use crate::channel::slack::event::Message;
use crate::channel::slack::id::{ConversationId, UserId};
use crate::text::one_line;

/// The longest name that is written into a text, in characters.
const MOST_NAME: usize = 80;
/// The most names of one message that are worth asking for.
const MOST_NAMED: usize = 50;

/// The names behind ids, as far as they are known.
pub(crate) trait Names {
    /// What people call a user.
    fn user(&self, id: &UserId) -> Option<String>;
    /// What people call a conversation.
    fn chat(&self, id: &ConversationId) -> Option<String>;
}

/// What a message is read with.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The bot as a user.
    pub(crate) bot: &'a UserId,
    /// What the assistant is called here: a mention of the bot becomes `@` and this.
    pub(crate) assistant: &'a str,
    /// The names of others.
    pub(crate) names: &'a dyn Names,
}

/// A message as a person would read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readable {
    /// What was said; below it, as quotations, what was passed on with it.
    pub(crate) text: String,
    /// Whether its own words mention the bot.
    pub(crate) mentioned: bool,
}

/// Whom and what a text names by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Users, each once.
    pub(crate) users: Vec<UserId>,
    /// Conversations that stand there without a name, each once.
    pub(crate) chats: Vec<ConversationId>,
}

impl Reader<'_> {
    /// Reads a message with what was passed on in it.
    pub(crate) fn message(&self, message: &Message) -> Readable {
        let Readable { mut text, mentioned } = self.text(&message.text);
        let mentioned = mentioned || self.text(&message.in_blocks).mentioned;
        for forwarded in &message.forwarded {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            let quoted = self.text(forwarded).text;
            let lines: Vec<String> = quoted.lines().map(|line| format!("> {line}")).collect();
            text.push_str(&lines.join("\n"));
        }
        Readable { text, mentioned }
    }

    /// Reads a text. Entities are decoded last and apart from tokens, so that what somebody typed never becomes one.
    pub(crate) fn text(&self, markup: &str) -> Readable {
        let (mut text, mut mentioned) = (String::with_capacity(markup.len()), false);
        for piece in pieces(markup) {
            match piece {
                Piece::Text(plain) => text.push_str(&unescape(plain)),
                Piece::Token(token) => {
                    mentioned |= self.is_bot(&token);
                    text.push_str(&self.token(&token));
                }
            }
        }
        Readable { text, mentioned }
    }

    fn is_bot(&self, token: &Token<'_>) -> bool {
        token.target.strip_prefix('@') == Some(self.bot.as_str())
    }

    /// A token in words.
    fn token(&self, token: &Token<'_>) -> String {
        let Token { whole, target, label } = *token;
        let label = label.filter(|label| !label.is_empty());
        if self.is_bot(token) {
            return format!("@{}", self.assistant);
        }
        let mut sigil = target.chars();
        match (sigil.next(), sigil.as_str()) {
            (Some('@'), id) => match id.parse::<UserId>() {
                Ok(id) => {
                    let name = self.names.user(&id).or_else(|| label.map(unescape));
                    // With the id beside the name, the agent can mention them too.
                    name.map_or_else(
                        || format!("<@{id}>"),
                        |name| format!("<@{id}|{}>", tame(&name)),
                    )
                }
                Err(_) => unescape(whole),
            },
            (Some('#'), id) => {
                let known = || self.names.chat(&id.parse().ok()?);
                let name = label.map(unescape).or_else(known).unwrap_or_else(|| unescape(id));
                format!("#{}", one_line(&name, MOST_NAME))
            }
            (Some('!'), command) => special(command, label).unwrap_or_else(|| unescape(whole)),
            _ if target.contains(':') => link(target, label),
            _ => unescape(whole),
        }
    }
}

/// Whom and what a message names: what must be known for [`Names`] to have an answer.
pub(crate) fn named(message: &Message) -> Named {
    let mut named = Named::default();
    let markups = std::iter::once(&message.text).chain(&message.forwarded);
    for piece in markups.flat_map(|markup| pieces(markup)) {
        let Piece::Token(Token { target, label, .. }) = piece else { continue };
        if let Some(Ok(id)) = target.strip_prefix('@').map(str::parse) {
            push(&mut named.users, id);
        }
        if let Some(Ok(id)) = target.strip_prefix('#').map(str::parse)
            && label.is_none_or(str::is_empty)
        {
            push(&mut named.chats, id);
        }
    }
    named
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if list.len() < MOST_NAMED && !list.contains(&item) {
        list.push(item);
    }
}

/// A part of a text in Slack's markup.
enum Piece<'a> {
    Text(&'a str),
    Token(Token<'a>),
}

/// What stands between `<` and `>`.
#[derive(Clone, Copy)]
struct Token<'a> {
    whole: &'a str,
    target: &'a str,
    label: Option<&'a str>,
}

/// Cuts a text into tokens and what is between them. An angle that opens or closes nothing is text.
fn pieces(markup: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = markup;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((token, after)) = token(rest) {
            rest = after;
            return Some(Piece::Token(token));
        }
        // The first character is text, whatever it is; the next angle may open a token.
        let next = rest.char_indices().skip(1).find(|(_, c)| *c == '<');
        let (text, after) = rest.split_at(next.map_or(rest.len(), |(at, _)| at));
        rest = after;
        Some(Piece::Text(text))
    })
}

/// The token that a text begins with, and what comes after it.
fn token(text: &str) -> Option<(Token<'_>, &str)> {
    let inner = text.strip_prefix('<')?;
    let (inside, after) = inner.split_at_checked(inner.find(['<', '>', '\n'])?)?;
    let after = after.strip_prefix('>').filter(|_| !inside.is_empty())?;
    let whole = text.get(..inside.len() + 2)?;
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) => (target, Some(label)),
        None => (inside, None),
    };
    Some((Token { whole, target, label }, after))
}

/// A name as it may stand in a token of ours: on one line, and without what would end the token.
fn tame(name: &str) -> String {
    let name: String = name.chars().filter(|c| !matches!(c, '<' | '>' | '|' | '&')).collect();
    one_line(&name, MOST_NAME)
}

/// A command of Slack's markup in words; `None` when we do not know it and it has none.
fn special(command: &str, label: Option<&str>) -> Option<String> {
    let label = label.map(unescape);
    let (word, rest) = command.split_once('^').unwrap_or((command, ""));
    match word {
        "here" | "channel" | "everyone" | "group" => Some(format!("@{word}")),
        "subteam" => {
            let name = label.unwrap_or_else(|| unescape(rest));
            Some(format!("@{}", one_line(name.trim_start_matches('@'), MOST_NAME)))
        }
        "date" => {
            let mut parts = rest.splitn(3, '^');
            let at = parts.next().unwrap_or_default();
            let link = parts.nth(1).map(unescape);
            let time = || Timestamp::from_second(at.parse().ok()?).ok();
            let written = label.or_else(|| time().map(|time| time.to_string()))?;
            Some(link.map_or_else(|| written.clone(), |link| format!("[{written}]({link})")))
        }
        _ => label,
    }
}

/// A link as Markdown; by itself where its label says nothing else.
fn link(target: &str, label: Option<&str>) -> String {
    let (url, label) = (unescape(target), label.map(unescape));
    let bare = url.strip_prefix("mailto:").or_else(|| url.strip_prefix("tel:"));
    let shown = bare.unwrap_or(&url);
    let short = |url: &str| {
        let url = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        url.map(|url| url.trim_end_matches('/').to_owned())
    };
    match label {
        Some(label) if label != url && label != shown && Some(&label) != short(&url).as_ref() => {
            format!("[{label}]({url})")
        }
        _ => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests;
