//! One model call: whom to ask, whom to ask next, and when to give up.
//!
//! A provider that asks for patience is left alone by all runs until it said; meanwhile the next one is asked, or
//! the call waits. Once the first byte of an answer is on its way nothing is asked again.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::provider::{Answer, AnswerBody, Failure, FailureKind, Provider};
use super::reply::{OVERLOADED, Reply};
use super::request::ModelRequest;
use super::sse::SseReader;
use super::standing::Standing;

/// How long a call may wait for providers that ask for patience, all waits together.
const PATIENCE: Duration = Duration::from_secs(120);

/// A provider, and how it stands.
pub(super) struct Source {
    /// Who it is.
    pub provider: Box<dyn Provider>,
    /// How it stands.
    pub standing: Standing,
}

impl Source {
    /// A provider of which nothing is known yet.
    pub(super) fn new(provider: impl Provider + 'static) -> Self {
        Self { provider: Box::new(provider), standing: Standing::default() }
    }

    /// Asks once, and notes how it went.
    async fn ask(&self, request: &ModelRequest) -> Result<Answer, Failure> {
        let asked = Instant::now();
        let answer = match self.provider.ask(request).await {
            Ok(answer) => first_event(answer).await,
            Err(failure) => Err(failure),
        };
        match &answer {
            Ok(_) => self.standing.succeeded(&request.model, asked),
            Err(failure) => self.note(failure, request, asked),
        }
        answer
    }

    /// Notes a failure, and says it if it is news; a wrong request is the sandbox's affair.
    fn note(&self, failure: &Failure, request: &ModelRequest, asked: Instant) {
        let now = Instant::now();
        let is_news = match failure.kind {
            FailureKind::Denied => {
                self.standing.deny(&request.model, request.is_configured, now)
                    && request.is_configured
            }
            kind => self.standing.failed(kind, asked, now, fastrand::f64()),
        };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    provider = self.provider.name(),
                    status = failure.reply.status.as_u16(),
                    "a model call failed: {:?}",
                    failure.kind
                )
            };
        }
        if is_news { line!(warn) } else { line!(debug) }
    }
}

/// Asks the sources, in their order, until one answers or none can.
pub(super) async fn ask(sources: &[Source], request: &ModelRequest) -> Result<Answer, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut given_up = vec![false; sources.len()];
    let mut last: Option<Failure> = None;
    loop {
        match choose(sources, &given_up, &request.model, Instant::now()) {
            Choice::Ask(at, source) => match source.ask(request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    match failure.kind {
                        FailureKind::Busy { .. } => {}
                        // What another provider may do better.
                        FailureKind::Broken
                        | FailureKind::Unauthorized
                        | FailureKind::Denied
                        | FailureKind::Unfit => {
                            given_up.iter_mut().skip(at).take(1).for_each(|this| *this = true);
                        }
                        FailureKind::Rejected => return Err(failure),
                    }
                    // Of several, what says most; of what says as much, the latest.
                    if last.as_ref().is_none_or(|last| last.kind.weight() <= failure.kind.weight())
                    {
                        last = Some(failure);
                    }
                }
            },
            Choice::Wait(until) if until <= deadline => tokio::time::sleep_until(until).await,
            Choice::Wait(until) => return Err(overloaded(last, until - Instant::now())),
            Choice::None => {
                return Err(last.unwrap_or_else(|| Failure::broken("no model is configured")));
            }
        }
    }
}

enum Choice<'a> {
    Ask(usize, &'a Source),
    Wait(Instant),
    None,
}

/// Whom to ask now: the first that nothing speaks against; else the first that failed, or does not have the model, but
/// did not ask for patience; else nobody until the first of the patient ones may be asked again.
fn choose<'a>(sources: &'a [Source], given_up: &[bool], model: &str, now: Instant) -> Choice<'a> {
    let mut broken = None;
    let mut wait: Option<Instant> = None;
    for (at, (source, _)) in
        sources.iter().zip(given_up).enumerate().filter(|(_, (_, given_up))| !**given_up)
    {
        match source.standing.hold(now) {
            None if source.standing.denies(model, now) => broken = broken.or(Some((at, source))),
            None => return Choice::Ask(at, source),
            Some(hold) if hold.busy => {
                wait = Some(wait.map_or(hold.until, |until| until.min(hold.until)));
            }
            Some(_) => broken = broken.or(Some((at, source))),
        }
    }
    match (broken, wait) {
        (Some((at, source)), _) => Choice::Ask(at, source),
        (None, Some(until)) => Choice::Wait(until),
        (None, None) => Choice::None,
    }
}

/// What a call gets that cannot wait any longer: the provider's own words, if it has heard any.
fn overloaded(last: Option<Failure>, wait: Duration) -> Failure {
    let kind = FailureKind::Busy { retry_after: Some(wait) };
    let reply = last.filter(|last| matches!(last.kind, FailureKind::Busy { .. })).map_or_else(
        || {
            let status = hyper::StatusCode::from_u16(OVERLOADED).unwrap_or_default();
            let message = "the model's provider asked for patience; try again later";
            Reply::error(status, "overloaded_error", message)
        },
        |last| last.reply,
    );
    Failure::new(kind, reply.retry_after(wait))
}

/// Waits for the first event of a stream: if it is an error, or none comes, nothing of the answer was passed on yet
/// and another may be asked.
async fn first_event(answer: Answer) -> Result<Answer, Failure> {
    let AnswerBody::Events(mut chunks) = answer.body else { return Ok(answer) };
    let mut reader = SseReader::default();
    let mut held = Vec::new();
    let mut first = None;
    while first.is_none() {
        let Some(Ok(chunk)) = chunks.next().await else {
            return Err(Failure::broken("the provider's answer broke off before it began"));
        };
        reader.push(&chunk, |name, data| {
            if first.is_none() {
                first = Some((name == b"error").then(|| data.to_vec()));
            }
        });
        held.push(Ok(chunk));
        // An event that is still not over is large, and no error.
        if held.len() > 64 {
            break;
        }
    }
    match first.flatten() {
        Some(error) => Err(Failure::of_event(&error)),
        None => Ok(Answer {
            headers: answer.headers,
            body: AnswerBody::Events(stream::iter(held).chain(chunks).boxed()),
        }),
    }
}
