//! The engine `native`: asks a model, does what it asks of its tools, and asks again until it has answered.
//!
//! Everything that is said is in the session's file before it is acted upon. So another attempt at the same messages
//! goes on where the one before stopped: the prompt stands in the file once, a call that has a result is not carried
//! out again, and one that has none only if doing it twice does no harm. Messages that a run left without an answer
//! are marked as such before other ones follow: what was stopped is not carried out with what comes next.

use std::sync::Arc;

use futures_util::future::{self, BoxFuture, FutureExt};
use protocol::{Failure, FailureKind, Outcome, Prompt, Sign};
use serde_json::Value;

use super::{Ended, Engine, Link};
use crate::settings::Settings;
use budget::Budget;
use call::{Audience, Caller};
use entries::{Entry, Origin};
use fault::CallFault;
use reply::{Reply, ToolCall};
use request::Setup;
use session::{Session, SessionError};
use tools::Tools;

mod budget;
mod call;
mod compact;
pub(crate) mod entries;
mod fault;
mod http;
mod memory;
mod reply;
mod request;
mod session;
pub(crate) mod sse;
mod tools;

/// The most model calls of one run; a model that goes round in circles is stopped here.
const MAX_CALLS: usize = 200;
/// What stands between the parts of an answer, as people see it written and as a whole.
const BETWEEN: &str = "\n\n";
/// What stands before the messages of another attempt that brings more than the one before.
const AGAIN: &str = "[Your work was interrupted and goes on. These are all the messages that it is about, new ones \
                     among them. What you have done already is done.]";

/// The engine; all that lasts is in its session files.
#[derive(Debug)]
pub(crate) struct Native {
    settings: Arc<Settings>,
}

impl Native {
    /// An engine that works in these places.
    pub(crate) fn new(settings: &Arc<Settings>) -> Self {
        Self { settings: Arc::clone(settings) }
    }
}

impl Engine for Native {
    fn prompt<'run>(
        &'run mut self,
        prompt: &'run Prompt,
        link: &'run Link,
    ) -> BoxFuture<'run, Ended> {
        async move {
            let budget = Budget::new(prompt.max_output_bytes);
            let session = match open_session(&self.settings, prompt, link) {
                Ok(session) => session,
                Err(error) => return Ended::failed(prompt, error.to_string()),
            };
            let mut run = Run::new(&self.settings, prompt, link, &budget, session);
            let outcome = tokio::select! {
                biased;
                () = link.cancelled() => Outcome::Cancelled,
                worked = run.work() => match worked {
                    Ok(text) => Outcome::Answer { text },
                    Err(failure) => Outcome::Failed(failure),
                },
            };
            Ended { outcome, session: Some(run.session.name().to_owned()), through: run.through }
        }
        .boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        future::ready(()).boxed()
    }
}

/// Resumes the prompt's session; one that cannot be resumed is given up, aloud, for a fresh one.
fn open_session(
    settings: &Settings,
    prompt: &Prompt,
    link: &Link,
) -> Result<Session, SessionError> {
    if let Some(name) = &prompt.session {
        match Session::resume(&settings.home, prompt, name) {
            Ok(session) => return Ok(session),
            Err(error @ SessionError::Write(_)) => return Err(error),
            Err(error) => link.say(Sign::FreshSession { reason: error.to_string() }),
        }
    }
    Session::fresh(&settings.home, prompt)
}

/// One run.
struct Run<'run> {
    settings: &'run Settings,
    prompt: &'run Prompt,
    link: &'run Link,
    tools: Tools<'run>,
    caller: Caller<'run>,
    session: Session,
    system: String,
    definitions: Vec<Value>,
    /// Tokens that the next request takes of the context, as far as is known.
    context: u64,
    /// The highest `through` in the session from an earlier attempt.
    through: Option<u64>,
}

impl<'run> Run<'run> {
    fn new(
        settings: &'run Settings,
        prompt: &'run Prompt,
        link: &'run Link,
        budget: &'run Budget,
        session: Session,
    ) -> Self {
        let mut run = Self {
            settings,
            prompt,
            link,
            tools: Tools { settings, link, budget },
            caller: Caller { broker: &settings.broker, link, budget },
            session,
            system: memory::system(settings, &prompt.system),
            definitions: tools::definitions(prompt.main),
            context: 0,
            through: None,
        };
        run.estimate();
        run
    }

    /// Works until the model has answered and nobody has added anything.
    async fn work(&mut self) -> Result<String, Failure> {
        self.begin().await?;
        let attempt = entries::of_attempt(self.session.entries(), self.prompt.from);
        let mut answered = attempt.last().is_some_and(Entry::ends_a_turn);
        let words = attempt.iter().filter(|entry| entry.ends_a_turn());
        let mut answers: Vec<_> = words.map(|entry| reply::text(&entry.message.content)).collect();
        self.through = attempt.iter().filter_map(Entry::through).max();
        for call in 0.. {
            if answered && !self.take_follow_ups()? {
                answers.retain(|answer| !answer.trim().is_empty());
                self.session.synchronize().map_err(unwritten)?;
                return Ok(answers.join(BETWEEN));
            }
            if call == MAX_CALLS {
                break;
            }
            if answered && answers.last().is_some_and(|answer| !answer.trim().is_empty()) {
                self.link.say(Sign::Text { delta: BETWEEN.to_owned() });
            }
            let reply = self.think().await?;
            let calls = reply::tool_calls(&reply.blocks);
            answered = calls.is_empty() && reply.stop != "pause_turn";
            if answered {
                answers.push(words_of(&reply));
            }
            // The service takes no message without content.
            if !reply.blocks.is_empty() {
                self.append(Entry::model(self.prompt.run, reply.blocks))?;
            }
            if !calls.is_empty() {
                for (request, call) in entries::open_calls(self.session.entries()) {
                    self.carry_out(&request, &call).await?;
                }
                self.take_follow_ups()?;
            }
        }
        let message = format!("the agent did not come to an end in {MAX_CALLS} model calls");
        Err(fault::failure(FailureKind::Other, message))
    }

    /// Begins with the prompt, or goes on where an earlier attempt at the same messages stopped.
    async fn begin(&mut self) -> Result<(), Failure> {
        let Prompt { run, from, through, text, .. } = self.prompt;
        let attempt = entries::of_attempt(self.session.entries(), *from);
        let known = attempt.iter().filter_map(Entry::through).max();
        for (request, call) in entries::open_calls(self.session.entries()) {
            if known.is_some() && tools::may_be_repeated(&call.name) {
                self.carry_out(&request, &call).await?;
            } else {
                let result = entries::tool_result(&call.id, Err(entries::INTERRUPTED));
                self.append(Entry::user(*run, Origin::Tools, vec![result]))?;
            }
        }
        match known {
            None => {
                if entries::end_unanswered(self.session.entries()) {
                    self.append(Entry::unanswered(*run))?;
                }
                let origin = Origin::Prompt { from: *from, through: *through };
                self.append(Entry::text(*run, origin, text))
            }
            Some(known) if known < *through => {
                let origin = Origin::FollowUp { through: *through };
                self.append(Entry::text(*run, origin, &format!("{AGAIN}\n\n{text}")))
            }
            Some(_) => Ok(()),
        }
    }

    /// Carries out a call, and keeps its result.
    async fn carry_out(&mut self, request: &str, call: &ToolCall) -> Result<(), Failure> {
        if tools::asks_the_gateway(&call.name) {
            // The gateway keeps what it was asked for good; the call must then be kept as well.
            self.session.synchronize().map_err(unwritten)?;
        }
        let result = self.tools.run(request, call).await?;
        self.append(Entry::user(self.prompt.run, Origin::Tools, vec![result]))
    }

    /// Asks the model, and makes room first where it is needed.
    async fn think(&mut self) -> Result<Reply, Failure> {
        if self.context >= self.settings.context_tokens / 4 * 3 {
            self.compact().await?;
        }
        match self.ask().await {
            Err(CallFault::TooLong(message)) => {
                if !self.compact().await? {
                    return Err(CallFault::TooLong(message).into_failure());
                }
                self.ask().await.map_err(CallFault::into_failure)
            }
            asked => asked.map_err(CallFault::into_failure),
        }
    }

    async fn ask(&mut self) -> Result<Reply, CallFault> {
        let setup =
            Setup { model: &self.prompt.model, system: &self.system, tools: &self.definitions };
        let request = request::body(&setup, self.session.entries());
        let (reply, context) = self.caller.call(&request, Audience::People).await?;
        self.context = context;
        Ok(reply)
    }

    /// Folds what is old into a summary; `false` when there is nothing to fold.
    async fn compact(&mut self) -> Result<bool, Failure> {
        let context = self.settings.context_tokens;
        let (fold, keep) = compact::divide(self.session.entries(), compact::bytes(context / 4));
        if fold.iter().all(|entry| entry.origin == Origin::Summary) {
            return Ok(false);
        }
        let run = self.prompt.run;
        let transcript = compact::transcript(&fold, compact::bytes(context / 2));
        let origin = Origin::Prompt { from: self.prompt.from, through: self.prompt.through };
        let question = [Entry::text(run, origin, &transcript)];
        let setup = Setup { model: &self.prompt.model, system: compact::SYSTEM, tools: &[] };
        let request = request::body(&setup, &question);
        let called = self.caller.call(&request, Audience::Nobody).await;
        let (reply, _) = called.map_err(CallFault::into_failure)?;
        let notes = format!("Notes on the conversation so far:\n\n{}", reply::text(&reply.blocks));
        let mut entries = vec![Entry::text(run, Origin::Summary, &notes)];
        entries.extend(keep);
        self.session.replace(entries).map_err(unwritten)?;
        self.estimate();
        Ok(true)
    }

    /// Takes what people have added; `false` when that is nothing.
    fn take_follow_ups(&mut self) -> Result<bool, Failure> {
        let follow_ups = self.link.ready();
        for follow_up in &follow_ups {
            let origin = Origin::FollowUp { through: follow_up.through };
            self.append(Entry::text(self.prompt.run, origin, &follow_up.text))?;
        }
        Ok(!follow_ups.is_empty())
    }

    fn append(&mut self, entry: Entry) -> Result<(), Failure> {
        // What the model wrote was counted with the call.
        if !entry.is_models() {
            self.context += compact::tokens(entry.bytes());
        }
        self.session.append(entry).map_err(unwritten)
    }

    /// Estimates the context from what is in memory, before a call has reported it.
    fn estimate(&mut self) {
        let entries: usize = self.session.entries().iter().map(Entry::bytes).sum();
        let tools: usize = self.definitions.iter().map(|tool| tool.to_string().len()).sum();
        let prompt = self.prompt.text.len();
        self.context = compact::tokens(entries + tools + prompt + self.system.len());
    }
}

/// The words of an answer, with a note where they are not all that there was to say.
fn words_of(reply: &Reply) -> String {
    let words = reply::text(&reply.blocks);
    let note = match reply.stop.as_str() {
        "max_tokens" | "model_context_window_exceeded" => {
            "[The answer was cut off at the model's limit.]"
        }
        "refusal" => "[The model declined to answer.]",
        _ => return words,
    };
    if words.is_empty() { note.to_owned() } else { format!("{words}\n\n{note}") }
}

fn unwritten(error: SessionError) -> Failure {
    fault::failure(FailureKind::Other, error.to_string())
}
