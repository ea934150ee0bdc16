//! Slack's markup and ours: what people wrote made readable, what the agent wrote made harmless.

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod inbound;
mod outbound;

pub(crate) use self::inbound::{Named, Names, Readable, Reader, named};
pub(crate) use self::outbound::{MARKDOWN_LIMIT, Outgoing, outgoing, plain};

/// Plain text in Slack's markup: the three characters that it reserves, as entities.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The text behind the three entities that Slack writes. Each is decoded once: `&amp;lt;` is `&lt;`.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
