//! What is sent: words, a file, a reaction.

use std::fmt;
use std::path::PathBuf;

use super::MessageId;

/// What a row of the outbox carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// What is said, Markdown.
    Text(String),
    /// A file.
    File(SentFile),
    /// An emoji on a message of the conversation.
    Reaction {
        /// The emoji's name, such as `thumbsup`.
        emoji: String,
        /// The message.
        message: MessageId,
    },
}

/// A file on its way: our copy of it, and what people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentFile {
    /// Its name.
    pub name: String,
    /// How large it is.
    pub bytes: u64,
    /// What is said with it, Markdown; may be empty.
    pub caption: String,
    /// Where the agent had it: in the home, `groups/<group>/<path>`.
    pub source: PathBuf,
    /// Our copy: its name, and in a parcel its whole path.
    pub copy: PathBuf,
}

/// In words alone, for where there is nothing else.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::File(SentFile { name, bytes, caption, source, .. }) => {
                if !caption.is_empty() {
                    write!(f, "{caption}\n\n")?;
                }
                let size = bytes.div_ceil(1024);
                write!(f, "[file: {name}, {size} KB: {}]", source.display())
            }
            Self::Reaction { emoji, .. } => write!(f, "[reaction: {emoji}]"),
        }
    }
}
