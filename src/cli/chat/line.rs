//! What a line that was entered asks for: a command begins with a slash, everything else is a message.

use crate::channel::terminal::wire::MAX_TEXT_BYTES;

/// What `/help` says.
pub(super) const HELP: &str = "\
/help     this list
/status   how the gateway is
/stop     give up what is not answered yet
/quit     leave; Ctrl-D and two times Ctrl-C at an empty prompt do the same
Ctrl-C    stop the answer under way
Commands act at once; a message that is entered while an answer is on its way is sent after it.
A line that ends in \\ goes on in the next one, and a paste may have many lines.
A message that begins with a slash is written with two: //like this.";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Empty,
    /// The list of commands.
    Help,
    /// How the gateway is.
    Status,
    /// An end of what is not answered yet.
    Stop,
    /// The end.
    Quit,
    /// A command that there is not; the sentence says so.
    Unknown(String),
    /// More than fits into a message; the sentence says so.
    TooLong(String),
    /// A message.
    Message(String),
}

impl Line {
    /// Reads a line, or the lines of a paste.
    pub(super) fn read(text: String) -> Self {
        match text.trim() {
            "" => return Self::Empty,
            "/help" => return Self::Help,
            "/status" => return Self::Status,
            "/stop" => return Self::Stop,
            "/quit" | "/exit" => return Self::Quit,
            _ => {}
        }
        if text.len() > MAX_TEXT_BYTES {
            let most = MAX_TEXT_BYTES / 1024;
            return Self::TooLong(format!("(too long: at most {most} KiB fit into a message)"));
        }
        match text.strip_prefix('/') {
            Some(rest) if rest.starts_with('/') => Self::Message(rest.to_owned()),
            Some(rest) if is_name(rest.split_whitespace().next().unwrap_or_default()) => {
                let name = rest.split_whitespace().next().unwrap_or_default();
                Self::Unknown(format!("There is no command /{name}. These there are:\n{HELP}"))
            }
            _ => Self::Message(text),
        }
    }
}

/// Whether this looks like a command's name, and not like a path.
fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_and_a_name_is_a_command_and_everything_else_a_message() {
        for (text, line) in [
            (" ", Line::Empty),
            ("/help", Line::Help),
            (" /status ", Line::Status),
            ("/stop", Line::Stop),
            ("/exit", Line::Quit),
            ("hello", Line::Message("hello".into())),
            ("//nope", Line::Message("/nope".into())),
            (" /nope", Line::Message(" /nope".into())),
            ("/etc/passwd is readable", Line::Message("/etc/passwd is readable".into())),
            ("/", Line::Message("/".into())),
            ("a\n/nope", Line::Message("a\n/nope".into())),
        ] {
            assert_eq!(Line::read(text.into()), line, "{text:?}");
        }
        for text in ["/nope", "/nope at all", "/stats\n"] {
            let Line::Unknown(said) = Line::read(text.into()) else { panic!("{text:?}") };
            assert!(said.contains("no command /") && said.contains("/status"), "{said}");
        }
        assert!(matches!(Line::read("x".repeat(MAX_TEXT_BYTES + 1)), Line::TooLong(_)));
    }
}
