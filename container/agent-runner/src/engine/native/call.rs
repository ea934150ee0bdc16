//! One model call, with the patience that it needs: a stream that was cut is asked for again, a busy service
//! is waited for, and nobody sees the same words twice.

use std::time::Duration;

use bytes::Bytes;
use protocol::Sign;
use serde_json::Value;

use super::budget::Budget;
use super::fault::{self, CallFault};
use super::http;
use super::reply::{Assembler, Reply, Step};
use super::sse::SseReader;
use crate::engine::Link;
use crate::settings::Broker;

/// How often a stream that was cut is asked for again.
const MAX_CUTS: u32 = 3;
/// How often a busy service is asked again; the broker has been patient before.
const MAX_WAITS: u32 = 3;
/// The first wait when the service names none; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait that is worth holding a sandbox for; the gateway waits better.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whom the text of an answer is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The people in the chat.
    People,
    /// Nobody: the engine asks for itself.
    Nobody,
}

/// What a call needs besides its request.
#[derive(Debug)]
pub(crate) struct Caller<'run> {
    /// Where the broker is.
    pub(crate) broker: &'run Broker,
    /// Where signs go.
    pub(crate) link: &'run Link,
    /// What the run may produce.
    pub(crate) budget: &'run Budget,
}

impl Caller<'_> {
    /// Asks until there is an answer, and returns it with the tokens it now takes of the context.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    pub(crate) async fn call(
        &self,
        request: &Value,
        audience: Audience,
    ) -> Result<(Reply, u64), CallFault> {
        let body = Bytes::from(request.to_string());
        let mut shown = Shown::default();
        let (mut cuts, mut waits) = (0, 0);
        loop {
            shown.begin_again();
            let mut assembler = Assembler::default();
            let attempt = self.attempt(body.clone(), &mut assembler, |text| {
                if let Some(new) = shown.push(text).filter(|_| audience == Audience::People) {
                    self.link.say(Sign::Text { delta: new });
                }
            });
            let attempt = attempt.await;
            match attempt {
                Ok(()) => {
                    let context = assembler.context();
                    return Ok((assembler.finish(), context));
                }
                Err(CallFault::Cut(_)) if cuts < MAX_CUTS => cuts += 1,
                Err(CallFault::Busy { retry_after, message }) if waits < MAX_WAITS => {
                    let wait = retry_after.unwrap_or(FIRST_WAIT * 2u32.pow(waits));
                    if wait > LONGEST_WAIT {
                        return Err(CallFault::Busy { retry_after, message });
                    }
                    waits += 1;
                    self.link.say(Sign::Waiting { reason: message });
                    tokio::time::sleep(wait).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Asks once.
    async fn attempt(
        &self,
        body: Bytes,
        assembler: &mut Assembler,
        mut show: impl FnMut(&str),
    ) -> Result<(), CallFault> {
        let mut answer = http::post(self.broker, "/v1/messages", body).await?;
        if !answer.status.is_success() {
            let (status, headers) = (answer.status, answer.headers.clone());
            return Err(fault::of_answer(status, &headers, &answer.whole().await?));
        }
        let mut events = SseReader::default();
        while let Some(bytes) = answer.next().await? {
            let events = events.push(&bytes).map_err(|error| CallFault::Cut(error.to_string()))?;
            for event in events {
                let step = assembler.push(&event.data);
                match step.map_err(|error| CallFault::Cut(error.to_string()))? {
                    Step::Quiet => {}
                    Step::Text(text) => {
                        self.budget.spend(text.len()).map_err(CallFault::Final)?;
                        show(&text);
                    }
                    Step::End => return Ok(()),
                    Step::Error { name, message } => return Err(fault::of_event(&name, &message)),
                }
            }
        }
        Err(CallFault::Cut(String::from("the model's answer was cut off")))
    }
}

/// What people have seen of an answer that had to be asked for again.
///
/// As long as the new words repeat the old ones they are not shown; where they part, the new answer is shown
/// from its beginning, as a paragraph of its own.
#[derive(Debug, Default)]
struct Shown {
    shown: String,
    current: String,
    /// All of `current` has been shown.
    caught_up: bool,
}

impl Shown {
    fn begin_again(&mut self) {
        self.current.clear();
        self.caught_up = self.shown.is_empty();
    }

    /// Takes a piece of the answer and returns what to show.
    fn push(&mut self, piece: &str) -> Option<String> {
        if self.caught_up {
            self.shown.push_str(piece);
            return Some(piece.to_owned());
        }
        self.current.push_str(piece);
        if self.shown.starts_with(&self.current) {
            return None;
        }
        self.caught_up = true;
        let new = match self.current.strip_prefix(&self.shown) {
            Some(rest) => rest.to_owned(),
            None => format!("\n\n{}", self.current),
        };
        self.shown.clone_from(&self.current);
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_once() {
        let cases: [(&[&[&str]], &str); 6] = [
            (&[&["a", "b"]], "ab"),
            (&[&["hel"], &["hello", " you"]], "hello you"),
            (&[&["hel"], &["h", "e", "l", "l", "o"]], "hello"),
            (&[&["hello"], &["hel"], &["hello!"]], "hello!"),
            (&[&["hello"], &["hi ", "you"]], "hello\n\nhi you"),
            (&[&["hello"], &["hi"], &["hi", " you"]], "hello\n\nhi you"),
        ];
        for (attempts, expected) in cases {
            let mut shown = Shown::default();
            let mut seen = String::new();
            for attempt in attempts {
                shown.begin_again();
                seen.extend(attempt.iter().filter_map(|piece| shown.push(piece)));
            }
            assert_eq!(seen, expected, "{attempts:?}");
        }
    }
}
