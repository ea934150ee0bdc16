//! Signs that wait to be written: text is joined, and everything fits into files that a gateway accepts.

use std::mem;

use protocol::Sign;

use crate::files;

/// The most bytes of text in one sign. JSON may need six bytes for one, and a file must stay under
/// [`protocol::layout::MAX_FILE_BYTES`].
const MAX_TEXT_BYTES: usize = 32 * 1024;
/// The most bytes of an encoded batch before its last sign.
const MAX_BATCH_BYTES: usize = 32 * 1024;
/// The most bytes of a name, a summary or a reason.
const MAX_NOTE_BYTES: usize = 512;

/// Signs that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    signs: Vec<Sign>,
}

impl Pending {
    /// Adds a sign.
    pub(super) fn push(&mut self, sign: Sign) {
        let short = |text: String| files::cut(&text, MAX_NOTE_BYTES).to_owned();
        let sign = match sign {
            Sign::Text { delta } => return self.push_text(&delta),
            Sign::Tool { name, summary } => {
                Sign::Tool { name: short(name), summary: short(summary) }
            }
            Sign::Waiting { reason } => Sign::Waiting { reason: short(reason) },
            Sign::FreshSession { reason } => Sign::FreshSession { reason: short(reason) },
            Sign::Started | Sign::Accepted | Sign::Heartbeat | Sign::Ready { .. } => sign,
        };
        self.signs.push(sign);
    }

    /// Takes everything, divided into files.
    pub(super) fn take(&mut self) -> Vec<Vec<Sign>> {
        let mut batches: Vec<Vec<Sign>> = Vec::new();
        let mut bytes = 0;
        for sign in mem::take(&mut self.signs) {
            let size = serde_json::to_vec(&sign).map_or(0, |json| json.len());
            match batches.last_mut() {
                Some(batch) if bytes < MAX_BATCH_BYTES => {
                    batch.push(sign);
                    bytes += size;
                }
                _ => {
                    batches.push(vec![sign]);
                    bytes = size;
                }
            }
        }
        batches
    }

    /// Adds text, to the last sign where that is text too.
    fn push_text(&mut self, mut text: &str) {
        while !text.is_empty() {
            if let Some(Sign::Text { delta }) = self.signs.last_mut() {
                let piece = files::cut(text, MAX_TEXT_BYTES.saturating_sub(delta.len()));
                delta.push_str(piece);
                text = text.get(piece.len()..).unwrap_or_default();
            }
            if !text.is_empty() {
                self.signs.push(Sign::Text { delta: String::new() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Progress, layout};

    use super::*;

    #[test]
    fn long_text_is_divided_into_files_a_gateway_accepts() {
        // A control character takes six bytes in JSON.
        for unit in ["a", "é", "\u{1}"] {
            let long = unit.repeat(5 * MAX_TEXT_BYTES + 7);
            let mut pending = Pending::default();
            for piece in [&long[..1000], &long[1000..]] {
                pending.push(Sign::Text { delta: piece.to_owned() });
            }
            let mut back = String::new();
            for signs in pending.take() {
                let json = serde_json::to_vec(&Progress { run: u64::MAX, signs }).unwrap();
                assert!(json.len() <= layout::MAX_FILE_BYTES);
                let read: Progress = serde_json::from_slice(&json).unwrap();
                for sign in read.signs {
                    let Sign::Text { delta } = sign else { panic!("not text") };
                    back.push_str(&delta);
                }
            }
            assert!(back == long);
        }
    }
}
