//! The engine `instant`: answers at once without a model, for benchmarks and crash tests.
//!
//! The answer is `ok`, followed by every token `[[id:…]]` of the prompt and its follow-ups, in order, so that a
//! test can tell which messages an answer covers. A prompt with `[[clock]]` in it is also told, in nanoseconds since
//! 1970, when the engine had it (`[[at:…]]`) and when the agent-runner's main function was entered (`[[main:…]]`).

use futures_util::future::{self, BoxFuture, FutureExt};
use protocol::{Outcome, Prompt};

use super::{Ended, Engine, Link};

/// An engine that does not think.
#[derive(Debug)]
pub(crate) struct Instant {
    /// When the agent-runner's main function was entered, in nanoseconds since 1970.
    pub(crate) begun: u64,
}

impl Engine for Instant {
    fn prompt<'run>(
        &'run mut self,
        prompt: &'run Prompt,
        link: &'run Link,
    ) -> BoxFuture<'run, Ended> {
        let at = crate::clock::now();
        let mut text = String::from("ok");
        let follow_ups = link.ready();
        let texts = follow_ups.iter().map(|follow_up| follow_up.text.as_str());
        for token in std::iter::once(prompt.text.as_str()).chain(texts).flat_map(tokens) {
            text.push(' ');
            text.push_str(token);
        }
        if prompt.text.contains("[[clock]]") {
            text.push_str(&format!(" [[at:{at}]] [[main:{}]]", self.begun));
        }
        future::ready(Ended {
            outcome: Outcome::Answer { text },
            session: Some(prompt.session.clone().unwrap_or_else(|| String::from("instant"))),
            through: None,
        })
        .boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        future::ready(()).boxed()
    }
}

/// Every `[[id:…]]` in the text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("[[id:").filter_map(|(start, _)| {
        let rest = text.get(start..)?;
        rest.get(..rest.find("]]")? + 2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_order() {
        let none: [&str; 0] = [];
        for (text, expected) in [
            ("", &none[..]),
            ("[[id:1]] and [[id:b-2]][[id:3]]", &["[[id:1]]", "[[id:b-2]]", "[[id:3]]"]),
            ("[[id:1", &none),
            ("[id:1]]", &none),
        ] {
            assert_eq!(tokens(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
