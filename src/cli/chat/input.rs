//! A message from standard input that is no terminal: all of it is one message.

use std::io::{self, Read};

use crate::channel::terminal::wire::MAX_TEXT_BYTES;
use crate::cli::exit::Failure;
use crate::cli::output;

/// Reads the message. What is not UTF-8 is replaced, and that is said.
///
/// # Errors
/// When there is none, or more than fits into a message.
pub(super) fn read() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_TEXT_BYTES + 1).unwrap_or(u64::MAX);
    io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(|error| {
        Failure::failed("the message cannot be read from standard input").because(error)
    })?;
    let (text, replaced) = message(&bytes)?;
    if replaced {
        output::aside("the input is not all UTF-8; what is not was replaced by \u{fffd}");
    }
    Ok(text)
}

/// The message in these bytes, and whether something had to be replaced.
fn message(bytes: &[u8]) -> Result<(String, bool), Failure> {
    if bytes.len() > MAX_TEXT_BYTES {
        let most = MAX_TEXT_BYTES / 1024;
        return Err(Failure::usage(format!(
            "the message is too long: at most {most} KiB fit; put it into a file of the group instead"
        )));
    }
    let text = String::from_utf8_lossy(bytes);
    let replaced = matches!(text, std::borrow::Cow::Owned(_));
    let text = text.trim_end_matches(['\n', '\r']);
    if text.trim().is_empty() {
        return Err(Failure::usage("there is no message: standard input is empty"));
    }
    Ok((text.to_owned(), replaced))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_input_is_one_message() {
        assert_eq!(message(b"one\ntwo\n\n").unwrap(), ("one\ntwo".to_owned(), false));
        assert_eq!(message(b"caf\xe9\n").unwrap(), ("caf\u{fffd}".to_owned(), true));
        assert!(message(b" \n").is_err());
        assert!(message(&vec![b'x'; MAX_TEXT_BYTES + 1]).is_err());
    }
}
