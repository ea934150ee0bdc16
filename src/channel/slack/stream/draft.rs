//! What is written of an answer, and what of it may be shown.

use std::time::{Duration, Instant};

use crate::channel::slack::id::UserId;
use crate::channel::slack::text::{MARKDOWN_LIMIT, outgoing};
use crate::model::Activity;

/// How much is remembered of an answer, in bytes: more than one message shows.
const MOST: usize = 16 * MARKDOWN_LIMIT;

/// After this time what has grown is taken away: the look-up of a doubtful answer goes back twice as far, and no further.
const OLDEST: Duration = Duration::from_secs(60 * 60);

/// An answer that is being written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    written: String,
    /// When it was begun.
    since: Option<Instant>,
    /// Something else was done since: what comes now is a paragraph of its own.
    apart: bool,
    /// When its run was over.
    ended: Option<Instant>,
    /// Its answer will not come.
    pub(super) forsaken: bool,
    sight: Sight,
}

/// Whether people see a draft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Sight {
    /// Not yet.
    #[default]
    Hidden,
    /// They do.
    Shown,
    /// They will not.
    Declined,
}

/// How far a draft is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is being written.
    Written,
    /// Its run is over, and its answer is on the way.
    Ended,
    /// Its answer will not come.
    Forsaken,
}

impl Draft {
    /// Notes what its run is doing.
    pub(super) fn hear(&mut self, activity: &Activity) {
        match activity {
            Activity::Idle => self.ended = Some(Instant::now()),
            // Another run, or another attempt: if the answer to this one still comes, it is posted.
            Activity::Working | Activity::Text { .. } | Activity::Tool { .. }
                if self.ended.is_some() =>
            {
                self.forsaken = true;
            }
            Activity::Tool { .. } => self.apart = true,
            Activity::Text { delta } if self.written.len() < MOST => {
                let apart = std::mem::take(&mut self.apart) && !self.written.trim().is_empty();
                if apart && !self.written.ends_with("\n\n") {
                    let missing = if self.written.ends_with('\n') { "\n" } else { "\n\n" };
                    self.written.push_str(missing);
                }
                self.written.push_str(delta);
                self.since.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
    }

    /// Notes that it is shown.
    pub(super) fn show(&mut self) {
        self.sight = Sight::Shown;
    }

    /// Notes that it is shown no longer.
    pub(super) fn decline(&mut self) {
        self.sight = Sight::Declined;
    }

    /// Whether people see it.
    pub(super) fn is_seen(&self) -> bool {
        self.sight == Sight::Shown && !self.forsaken
    }

    /// How far it is, when an answer may take this long.
    pub(super) fn state(&self, patience: Duration) -> State {
        match self.ended {
            _ if self.forsaken => State::Forsaken,
            _ if self.since.is_some_and(|at| at.elapsed() >= OLDEST) => State::Forsaken,
            Some(at) if at.elapsed() >= patience => State::Forsaken,
            Some(_) => State::Ended,
            None => State::Written,
        }
    }

    /// What may be shown of it, as the answer will be dressed: whole lines, as far as one message goes.
    pub(super) fn shown(&self, may_ping: &dyn Fn(&UserId) -> bool) -> String {
        if self.sight == Sight::Declined {
            return String::new();
        }
        let pieces = outgoing(certain(&self.written), may_ping);
        pieces.into_iter().next().map(|first| first.markdown).unwrap_or_default()
    }
}

/// The part of a text with which its first message is sure to begin, whatever comes after it.
///
/// A line that is not whole may become something else, and a long text is cut after one of the later paragraphs.
fn certain(written: &str) -> &str {
    let until = |end: Option<usize>| written.get(..end.unwrap_or(0)).unwrap_or_default();
    let lines = until(written.rfind('\n').map(|at| at + 1));
    let count = lines.chars().count();
    if (MARKDOWN_LIMIT / 2..=MARKDOWN_LIMIT).contains(&count) {
        until(lines.rfind("\n\n").map(|at| at + 2))
    } else {
        lines
    }
}

/// What is to be added to what stands there; `None` when what stands there is not its beginning.
pub(super) fn addition<'t>(stands: Option<&str>, text: &'t str) -> Option<&'t str> {
    text.strip_prefix(stands?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(delta: &str) -> Activity {
        Activity::Text { delta: delta.to_owned() }
    }

    fn tool() -> Activity {
        Activity::Tool { name: "bash".to_owned(), summary: String::new() }
    }

    fn shown(heard: &[Activity]) -> String {
        let mut draft = Draft::default();
        heard.iter().for_each(|activity| draft.hear(activity));
        draft.shown(&|user| user.as_str() == "U1")
    }

    #[test]
    fn whole_lines_are_shown_and_ping_nobody() {
        for (heard, expected) in [
            (vec![], ""),
            (vec![text("Hel"), text("lo")], ""),
            (vec![text("Hel"), text("lo\nyou")], "Hello\n"),
            (vec![text("a\n<!he"), text("re> all\nmore")], "a\n&lt;!here> all\n"),
            (vec![text("a\n<!he")], "a\n"),
            (vec![text("<@U"), text("1> and <@U2>\n")], "<@U1> and &lt;@U2>\n"),
            (vec![text("I look."), tool(), tool(), text("There.\n")], "I look.\n\nThere.\n"),
            (vec![text("I look.\n"), tool(), text("There.\n")], "I look.\n\nThere.\n"),
            (vec![tool(), text("There.\n")], "There.\n"),
            (vec![text("\n \n")], ""),
        ] {
            assert_eq!(shown(&heard), expected, "{heard:?}");
        }
    }

    #[test]
    fn a_draft_ends_with_its_run_and_is_forsaken_by_the_next() {
        let patience = Duration::from_secs(60);
        for (heard, expected) in [
            (vec![text("a")], State::Written),
            (vec![text("a"), Activity::Working], State::Written),
            (vec![text("a"), Activity::Idle], State::Ended),
            (vec![text("a"), Activity::Idle, Activity::Queued { ahead: 1 }], State::Ended),
            (vec![text("a"), Activity::Idle, Activity::Working], State::Forsaken),
            (vec![text("a"), Activity::Idle, text("b")], State::Forsaken),
        ] {
            let mut draft = Draft::default();
            heard.iter().for_each(|activity| draft.hear(activity));
            assert_eq!(draft.state(patience), expected, "{heard:?}");
            assert_eq!(draft.state(Duration::ZERO) == State::Written, expected == State::Written);
        }
    }

    #[test]
    fn only_what_goes_on_from_what_stands_there_is_added() {
        for (stands, text, expected) in [
            (Some(""), "a\n", Some("a\n")),
            (Some("a\n"), "a\nb", Some("b")),
            (Some("a\n"), "a\n", Some("")),
            (Some("a\n"), "b\n", None),
            (Some("a\nb"), "a\n", None),
            (None, "a\n", None),
        ] {
            assert_eq!(addition(stands, text), expected, "{stands:?} {text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Where code would be cut, or where what may not ping makes a text too long, the end replaces what was shown.
        #[test]
        fn what_is_shown_is_what_the_answer_begins_with(lengths in proptest::collection::vec(1usize..200, 1..40)) {
            let paragraphs: Vec<_> =
                lengths.iter().map(|length| format!("<@U1>: {}", "word ".repeat(*length))).collect();
            let answer = paragraphs.join("\n\n");
            let pieces = outgoing(&answer, &|user| user.as_str() == "U1");
            let first = pieces.first().map(|first| first.markdown.as_str()).unwrap_or_default();
            let (mut draft, mut stands) = (Draft::default(), String::new());
            for paragraph in &paragraphs {
                draft.hear(&text(paragraph));
                draft.hear(&text("\n\n"));
                let shown = draft.shown(&|user| user.as_str() == "U1");
                let more = addition(Some(&stands), &shown);
                prop_assert!(more.is_some(), "{} after {}", shown.len(), stands.len());
                stands.push_str(more.unwrap());
            }
            prop_assert_eq!(stands.trim_end(), first.trim_end());
        }
    }
}
