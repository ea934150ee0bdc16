//! Reads server-sent events, in whatever pieces the bytes arrive.
//!
//! The rules are those of the HTML standard's "event stream interpretation"; ids and retry times are of no use
//! here and passed over. Lines and events are bounded: a stream without line ends is refused, not collected.

use std::mem;

use thiserror::Error;

/// The most bytes of one line.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of one event's data.
const MAX_DATA_BYTES: usize = 8 * 1024 * 1024;

/// Why a stream was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum SseError {
    /// A line or an event is longer than any real one.
    #[error("an event of the stream is too long")]
    TooLong,
    /// A line is not UTF-8.
    #[error("the stream is not UTF-8")]
    NotUtf8,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type; `message` when the stream does not say.
    pub(crate) name: String,
    /// Its data, lines joined by line feeds.
    pub(crate) data: String,
}

/// A stream that is being read.
#[derive(Debug, Default)]
pub(crate) struct SseReader {
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed right after it ends no further line.
    after_return: bool,
    begun: bool,
    name: String,
    data: String,
    has_data: bool,
}

impl SseReader {
    /// Takes the next bytes and returns the events that they complete.
    ///
    /// # Errors
    ///
    /// The stream makes no sense; it must not be read any further.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, SseError> {
        let mut events = Vec::new();
        while let Some((&first, rest)) = bytes.split_first() {
            if mem::take(&mut self.after_return) && first == b'\n' {
                bytes = rest;
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + piece.len() > MAX_LINE_BYTES {
                return Err(SseError::TooLong);
            }
            self.line.extend_from_slice(piece);
            let Some((&ending, rest)) = rest.split_first() else { break };
            self.after_return = ending == b'\r';
            bytes = rest;
            let line = mem::take(&mut self.line);
            events.extend(self.end_line(&line)?);
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Event>, SseError> {
        let mut line = std::str::from_utf8(line).map_err(|_position| SseError::NotUtf8)?;
        if !mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() >= MAX_DATA_BYTES {
                    return Err(SseError::TooLong);
                }
                if mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // A comment (no field), an id, a retry time, or what is not known.
            _ => {}
        }
        Ok(None)
    }

    /// An event without data is none.
    fn end_event(&mut self) -> Option<Event> {
        let (name, data) = (mem::take(&mut self.name), mem::take(&mut self.data));
        mem::take(&mut self.has_data).then(|| Event {
            name: if name.is_empty() { String::from("message") } else { name },
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<(String, String)>, SseError> {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(reader.push(piece)?);
        }
        Ok(events.into_iter().map(|event| (event.name, event.data)).collect())
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let cases: [(&str, &[(&str, &str)]); 12] = [
            ("", &[]),
            ("data: a\n\n", &[("message", "a")]),
            ("event: ping\ndata: {}\n\n", &[("ping", "{}")]),
            ("data: a\ndata: b\n\n", &[("message", "a\nb")]),
            (
                "data:a\r\n\r\ndata:b\r\rdata:c\n\n",
                &[("message", "a"), ("message", "b"), ("message", "c")],
            ),
            ("data: a\n", &[]),
            (": comment\nid: 7\nretry: 1\ndata: a\n\n", &[("message", "a")]),
            ("event: lost\n\ndata: a\n\n", &[("message", "a")]),
            ("data\n\n", &[("message", "")]),
            ("data:\ndata:\n\n", &[("message", "\n")]),
            ("data:  two spaces\n\n", &[("message", " two spaces")]),
            ("\u{feff}data: a\n\n\n\n", &[("message", "a")]),
        ];
        for (stream, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(n, d)| ((*n).to_owned(), (*d).to_owned())).collect();
            assert_eq!(read(&[stream.as_bytes()]), Ok(expected), "{stream:?}");
        }
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        assert_eq!(read(&[b"data: \xff\n\n"]), Err(SseError::NotUtf8));
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(read(&[&long]), Err(SseError::TooLong));
        let line = [b"data: ".as_slice(), &long[..MAX_LINE_BYTES - 10], b"\n"].concat();
        assert_eq!(read(&[&line, &line, &line]), Err(SseError::TooLong));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            stream in "(data: ?|event: |[a-zé:]|\r\n|\n|\r){0,40}",
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[bytes]));
        }
    }
}
