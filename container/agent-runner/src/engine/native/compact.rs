//! Makes room before the context is full: decides what is folded into a summary and what stays word for word.

use std::fmt::Write;

use serde_json::Value;

use super::entries::{Entry, Origin};
use super::reply;
use crate::files;

/// What the model is told when it writes a summary.
pub(crate) const SYSTEM: &str = "\
You write the notes by which an assistant remembers a conversation it can no longer read. From the transcript \
keep, in plain sentences and lists: who the people are and what they want; what was decided, promised and \
refused; facts, names, numbers, file paths and commands that may matter later; what was done and how it turned \
out; what is under way or still open. Leave out greetings and repetition. Write only the notes.";

/// The most bytes of one block in a transcript.
const MAX_BLOCK_BYTES: usize = 4 * 1024;

/// Bytes of text that make a token, as a fraction: 7/2. Measured on English prose and code it is nearer to 4;
/// a lower figure errs on the safe side.
const BYTES_PER_TOKEN: (u64, u64) = (7, 2);

/// An estimate of the tokens in so many bytes.
pub(crate) fn tokens(bytes: usize) -> u64 {
    let (bytes_per, tokens) = BYTES_PER_TOKEN;
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(tokens) / bytes_per
}

/// The bytes that make so many tokens.
pub(crate) fn bytes(tokens: u64) -> usize {
    let (bytes, per_tokens) = BYTES_PER_TOKEN;
    usize::try_from(tokens.saturating_mul(bytes) / per_tokens).unwrap_or(usize::MAX)
}

/// Divides a session into what is folded and what stays, which is at most about `limit` bytes.
///
/// The last prompt and the follow-ups to it always stay. Beyond that, whole runs stay while they fit; if not
/// even the last run fits, its latest steps do. A call and its result are never parted.
pub(crate) fn divide(entries: &[Entry], limit: usize) -> (Vec<Entry>, Vec<Entry>) {
    let sizes: Vec<usize> = entries.iter().map(Entry::bytes).collect();
    let fits = |from: usize| sizes.iter().skip(from).sum::<usize>() <= limit;
    let starts = |is_start: fn(&Entry) -> bool, from: usize| {
        let matching = move |(_, entry): &(usize, &Entry)| is_start(entry);
        entries.iter().enumerate().skip(from).filter(matching).map(|(index, _)| index)
    };
    let last_prompt = starts(Entry::is_prompt, 0).next_back().unwrap_or(0);
    if let Some(from) = starts(Entry::is_prompt, 1).find(|from| fits(*from)) {
        let (fold, keep) = entries.split_at(from);
        return (fold.to_vec(), keep.to_vec());
    }
    let steps_from = starts(Entry::is_models, last_prompt).find(|from| fits(*from));
    let steps_from = steps_from.unwrap_or(entries.len());
    let (mut fold, mut keep) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let said = matches!(entry.origin, Origin::Prompt { .. } | Origin::FollowUp { .. });
        let stays = index >= steps_from || (index >= last_prompt && said);
        if stays { &mut keep } else { &mut fold }.push(entry.clone());
    }
    (fold, keep)
}

/// The entries as text for the summary, at most about `limit` bytes of the latest.
pub(crate) fn transcript(entries: &[Entry], limit: usize) -> String {
    let mut pieces: Vec<String> = Vec::new();
    let mut bytes = 0;
    for entry in entries.iter().rev() {
        let piece = describe(entry);
        bytes += piece.len();
        if bytes > limit {
            pieces.push(String::from("[What was said before that is left out.]\n\n"));
            break;
        }
        pieces.push(piece);
    }
    pieces.into_iter().rev().collect()
}

fn describe(entry: &Entry) -> String {
    let speaker = match entry.origin {
        Origin::Prompt { .. } | Origin::FollowUp { .. } => "People",
        Origin::Model { .. } | Origin::Unanswered => "Assistant",
        Origin::Tools => "Tools",
        Origin::Summary => "Notes so far",
    };
    let mut text = format!("{speaker}:\n");
    for block in &entry.message.content {
        let (label, words) = match reply::kind(block) {
            "text" => ("", string(&block["text"])),
            "tool_use" => {
                ("calls a tool: ", format!("{} {}", string(&block["name"]), block["input"]))
            }
            "tool_result" => {
                ("result: ", reply::text(block["content"].as_array().map_or(&[], Vec::as_slice)))
            }
            _ => continue,
        };
        let cut = files::cut(&words, MAX_BLOCK_BYTES);
        let mark = if cut.len() < words.len() { " […]" } else { "" };
        // Writing to a string cannot fail.
        writeln!(text, "{label}{cut}{mark}").ok();
    }
    text.push('\n');
    text
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::native::entries::tool_result;

    /// A session by its letters: `p`rompt, `f`ollow-up, `c`all with its `r`esult, last `w`ords, `s`ummary.
    fn session(letters: &str) -> Vec<Entry> {
        let words = || "x".repeat(100);
        letters
            .chars()
            .map(|letter| match letter {
                'p' => Entry::text(1, Origin::Prompt { from: 1, through: 1 }, &words()),
                'f' => Entry::text(1, Origin::FollowUp { through: 1 }, &words()),
                's' => Entry::text(1, Origin::Summary, &words()),
                'c' => Entry::model(
                    1,
                    vec![json!({"type": "tool_use", "id": "t", "name": "bash", "input": words()})],
                ),
                'r' => Entry::user(1, Origin::Tools, vec![tool_result("t", Ok(&words()))]),
                _ => Entry::model(1, vec![json!({"type": "text", "text": words()})]),
            })
            .collect()
    }

    fn letters(entries: &[Entry]) -> String {
        entries
            .iter()
            .map(|entry| match entry.origin {
                Origin::Prompt { .. } => 'p',
                Origin::FollowUp { .. } => 'f',
                Origin::Summary => 's',
                Origin::Tools => 'r',
                Origin::Unanswered => 'u',
                Origin::Model { .. } if entry.ends_a_turn() => 'w',
                Origin::Model { .. } => 'c',
            })
            .collect()
    }

    #[test]
    fn whole_runs_stay_while_they_fit_then_the_latest_steps() {
        for (all, limit, fold, keep) in [
            ("pwpwp", 10_000, "pw", "pwp"),
            ("pwpwp", 500, "pw", "pwp"),
            ("pwpwp", 200, "pwpw", "p"),
            ("pwpwp", 0, "pwpw", "p"),
            ("spwp", 10_000, "s", "pwp"),
            ("pwpcrfcr", 700, "pwcr", "pfcr"),
            ("pcrcr", 500, "cr", "pcr"),
            ("pcrcr", 0, "crcr", "p"),
            ("pcrcr", 10_000, "", "pcrcr"),
            ("p", 0, "", "p"),
            ("", 0, "", ""),
        ] {
            let (folded, kept) = divide(&session(all), limit);
            assert_eq!(
                (letters(&folded).as_str(), letters(&kept).as_str()),
                (fold, keep),
                "{all} {limit}"
            );
        }
    }

    #[test]
    fn a_transcript_keeps_the_latest_and_says_that_it_is_cut() {
        let entries = session("pcrw");
        let whole = transcript(&entries, 100_000);
        assert!(whole.starts_with("People:\nxxx"));
        assert!(whole.contains("calls a tool: bash") && whole.contains("result: xxx"));
        let cut = transcript(&entries, 200);
        assert!(cut.starts_with("[What was said before that is left out.]"));
        assert!(cut.ends_with(&describe(&entries[3])));
    }

    #[test]
    fn tokens_and_bytes_agree() {
        assert_eq!((tokens(7), bytes(2)), (2, 7));
        assert_eq!(tokens(usize::MAX), u64::MAX / 7);
    }
}
