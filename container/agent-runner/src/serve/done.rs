//! Writes `done.json`, the last file of a run.
//!
//! A run without this file looks like a run that died, so a failing disk is tried again for a while, and an
//! answer that is too long is cut rather than lost.

use std::io;
use std::path::Path;
use std::time::Duration;

use protocol::{Done, Outcome, layout};

use crate::files::{self, Durability};
use crate::note;

/// How often writing is tried; the agent may have filled the disk, and may be emptied of it meanwhile.
const ATTEMPTS: u32 = 60;
/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// What stands at the end of an answer that was cut.
const CUT: &str = "\n\n[The rest of this answer was too long.]";

/// Leaves the outcome for the gateway, durably.
///
/// # Errors
///
/// The last attempt's error.
pub(crate) async fn write(ipc: &Path, done: Done) -> io::Result<()> {
    let bytes = encode(done)?;
    let mut attempt = 1;
    loop {
        match files::write_atomic(ipc, layout::DONE, &bytes, Durability::Durable) {
            Err(error) if attempt < ATTEMPTS => {
                if attempt == 1 {
                    note(format_args!("cannot write the outcome yet: {error}"));
                }
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Encodes within [`layout::MAX_FILE_BYTES`].
fn encode(mut done: Done) -> io::Result<Vec<u8>> {
    loop {
        let bytes = serde_json::to_vec(&done)?;
        let text = match &mut done.outcome {
            Outcome::Answer { text } => text,
            Outcome::Failed(failure) => &mut failure.message,
            Outcome::Cancelled => return Ok(bytes),
        };
        if bytes.len() <= layout::MAX_FILE_BYTES || text.is_empty() {
            return Ok(bytes);
        }
        let whole = text.strip_suffix(CUT).unwrap_or(text);
        *text = match files::cut(whole, whole.len() / 8 * 7) {
            "" => String::new(),
            kept => format!("{kept}{CUT}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: String) -> Done {
        let outcome = Outcome::Answer { text };
        Done { run: 1, outcome, session: None, through: None }
    }

    #[test]
    fn a_long_answer_is_cut_with_a_note() {
        for unit in ["a", "é", "\u{1}"] {
            let bytes = encode(answer(unit.repeat(layout::MAX_FILE_BYTES))).unwrap();
            assert!(bytes.len() <= layout::MAX_FILE_BYTES);
            assert!(bytes.len() > layout::MAX_FILE_BYTES / 2, "no more than needed is lost");
            let done: Done = serde_json::from_slice(&bytes).unwrap();
            let Outcome::Answer { text } = done.outcome else { panic!("not an answer") };
            assert!(text.ends_with(CUT));
            assert_eq!(text.matches(CUT).count(), 1);
        }
        let short = answer("short".to_owned());
        assert_eq!(encode(short.clone()).unwrap(), serde_json::to_vec(&short).unwrap());
    }

    #[tokio::test]
    async fn the_outcome_replaces_an_older_one() {
        let ipc = tempfile::tempdir().unwrap();
        for text in ["one", "two"] {
            write(ipc.path(), answer(text.to_owned())).await.unwrap();
        }
        let bytes = std::fs::read(ipc.path().join(layout::DONE)).unwrap();
        assert_eq!(bytes, serde_json::to_vec(&answer("two".to_owned())).unwrap());
        assert_eq!(std::fs::read_dir(ipc.path()).unwrap().count(), 1);
    }
}
