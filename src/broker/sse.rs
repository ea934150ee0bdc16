//! Server-sent events, read and written: pure, bounded, fit for fuzzing.
//!
//! The reader follows the WHATWG rules for `text/event-stream`. It looks on while bytes pass through elsewhere, so
//! an event that is larger than [`MAX_EVENT_BYTES`] is left out rather than refused.

use bytes::Bytes;

/// The largest event that the reader reports, in bytes of its name and data.
pub(super) const MAX_EVENT_BYTES: usize = 256 * 1024;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub(super) struct SseReader {
    line: Vec<u8>,
    name: Vec<u8>,
    /// The lines of data so far, if there were any.
    data: Option<Vec<u8>>,
    too_long: bool,
    after_return: bool,
    after_first_line: bool,
}

impl SseReader {
    /// Takes the next bytes and reports each event that they complete: its name, empty if it has none, and its data.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut event: impl FnMut(&[u8], &[u8])) {
        while let Some(at) = bytes.iter().position(|&byte| byte == b'\n' || byte == b'\r') {
            let (head, tail) = bytes.split_at(at);
            let Some((&end, rest)) = tail.split_first() else { return };
            bytes = rest;
            // The second half of a CR LF belongs to the line that the CR has ended.
            let half = end == b'\n' && self.after_return && head.is_empty();
            self.after_return = end == b'\r';
            if !half {
                self.keep(head);
                self.end_line(&mut event);
            }
        }
        if !bytes.is_empty() {
            self.after_return = false;
            self.keep(bytes);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let data = self.data.as_ref().map_or(0, Vec::len);
        if self.line.len() + self.name.len() + data + bytes.len() > MAX_EVENT_BYTES {
            self.too_long = true;
            self.line.clear();
            self.data = None;
        }
        if !self.too_long {
            self.line.extend_from_slice(bytes);
        } else if self.line.is_empty() && !bytes.is_empty() {
            // Only whether a line is blank matters until the event is over.
            self.line.push(b':');
        }
    }

    fn end_line(&mut self, event: &mut impl FnMut(&[u8], &[u8])) {
        let mut line = std::mem::take(&mut self.line);
        let text = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if !self.after_first_line => rest,
            _ => line.as_slice(),
        };
        self.after_first_line = true;
        if text.is_empty() {
            if let (Some(data), false) = (self.data.take(), self.too_long) {
                event(&self.name, &data);
            }
            self.name.clear();
            self.too_long = false;
        } else {
            let (field, value) = split_field(text);
            match field {
                b"event" => {
                    self.name.clear();
                    self.name.extend_from_slice(value);
                }
                b"data" => match &mut self.data {
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                    None => self.data = Some(value.to_vec()),
                },
                // Comments, ids, retry times and what is yet to be invented.
                _ => {}
            }
        }
        line.clear();
        self.line = line;
    }
}

fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return (line, b"") };
    let (field, rest) = line.split_at(colon);
    let value = rest.strip_prefix(b":").unwrap_or(rest);
    (field, value.strip_prefix(b" ").unwrap_or(value))
}

/// Writes one event. Neither name nor data may hold a line break; JSON on one line does not.
pub(super) fn event(name: &str, data: &[u8]) -> Bytes {
    [b"event: ", name.as_bytes(), b"\ndata: ", data, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(piece, |name, data| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                events.push((text(name), text(data)));
            });
        }
        events
    }

    fn check(input: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|&(name, data)| (name.to_owned(), data.to_owned())).collect();
        assert_eq!(read(&[input.as_bytes()]), expected, "{input:?}");
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes), expected, "{input:?}, byte by byte");
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        check("event: a\ndata: 1\n\n", &[("a", "1")]);
        check("event: a\r\ndata: 1\r\n\r\n", &[("a", "1")]);
        check("event: a\rdata: 1\r\r", &[("a", "1")]);
        check("\u{feff}data:x\n\n", &[("", "x")]);
        check("data:  x\n\n", &[("", " x")]);
        check("data: 1\ndata: 2\n\n", &[("", "1\n2")]);
        check("data\n\n", &[("", "")]);
        check(": comment\n\nid: 3\nretry: 5\n\n", &[]);
        check("event: lost\n\ndata: kept\n\n", &[("", "kept")]);
        check("event: a\ndata: 1\n", &[]);
        check("event: a\nevent: b\ndata: 1\n\n\n\ndata: 2\n\n", &[("b", "1"), ("", "2")]);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = event("message_stop", br#"{"type":"message_stop"}"#);
        let expected = ("message_stop".to_owned(), r#"{"type":"message_stop"}"#.to_owned());
        assert_eq!(read(&[&bytes]), [expected]);
    }

    #[test]
    fn a_huge_event_is_left_out_and_the_next_one_is_read() {
        let huge = "x".repeat(MAX_EVENT_BYTES + 1);
        let many = "data: y\n".repeat(MAX_EVENT_BYTES / 2);
        let stream = format!("data: {huge}\n\n{many}\nevent: b\ndata: 2\n\n");
        assert_eq!(read(&[stream.as_bytes()]), [("b".to_owned(), "2".to_owned())]);
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(1000).collect();
        assert_eq!(read(&pieces), [("b".to_owned(), "2".to_owned())]);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(
            input in prop::collection::vec(prop::sample::select(b"adt:e \r\n\xff".to_vec()), 0..200),
            cut in 1usize..50,
        ) {
            let pieces: Vec<&[u8]> = input.chunks(cut).collect();
            prop_assert_eq!(read(&pieces), read(&[&input]));
        }
    }
}
