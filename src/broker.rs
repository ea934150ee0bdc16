//! The broker: the only way out of a sandbox, for model calls and for web requests.
//!
//! Who asks is known by the door that a request came through, never by what it says. Credentials are added here and
//! are nowhere else; what no rule names is refused; everything is counted for the group behind the door.
//!
//! Two providers may be configured. Amazon Bedrock comes first when it is (it is only used when the owner says
//! `CLAUDE_CODE_USE_BEDROCK`), the Anthropic API steps in for it; with neither, the [`demo`] answers.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use hyper::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::config::ModelSettings;
use crate::model::{GroupName, SandboxId, Usage};
use budget::Reservations;
use call::Source;
use rate::Rates;
use request::{Endpoint, ModelRequest};
use web::Web;

mod anthropic;
mod bedrock;
mod bill;
mod bridge;
mod budget;
mod call;
mod demo;
mod door;
mod members;
mod meter;
mod model_id;
mod policy;
mod price;
mod provider;
mod rate;
mod refusals;
mod reply;
mod request;
mod serve;
mod sse;
mod standing;
mod terms;
mod web;

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub(crate) use door::{Door, Socket};
pub(crate) use standing::Fault;

/// The largest body of a request or of an answer in one piece; the Messages API takes as much.
const MAX_BODY_BYTES: usize = 32 << 20;
/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long the head of a request may take, the wait for it on a connection that is kept alive included.
const HEADER_PATIENCE: Duration = Duration::from_secs(60);
/// How long the body of a request may take.
const BODY_PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection to the outside may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a provider may be silent in an answer, or before it.
const SILENCE: Duration = Duration::from_secs(300);

/// The only way out of a sandbox; clones are the same broker.
#[derive(Debug, Clone)]
pub(crate) struct Broker(Arc<Shared>);

/// Who is behind a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// The group: what it asks for is counted for it.
    pub group: GroupName,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The hosts that it may reach: `example.org`, or `*.example.org` for all below it.
    pub web_allow: Vec<String>,
}

/// Where spending is allowed and recorded.
#[async_trait]
pub(crate) trait Ledger: Send + Sync {
    /// Whether the group may make a model call now, and what limits it; if not, the sentence to show.
    async fn may_spend(&self, group: &GroupName) -> Result<Allowance, String>;

    /// Puts down what a call by this client cost; asked once for every call that was answered, also when the answer
    /// broke off.
    async fn record(&self, client: &Client, usage: Usage);

    /// Tries once more to put down what could not be; for the end of the gateway.
    async fn settle(&self);
}

/// What limits the spending of a group that may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Nothing.
    Unlimited,
    /// A budget in money: only what has a price may be asked for, and only as long as it may fit.
    Budget {
        /// What is left of it by what is put down, in millionths of a dollar; more than nothing.
        left: u64,
    },
}

/// How the broker stands, for `status` and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerState {
    /// The model that is asked when the agent names none.
    pub model: String,
    /// The providers, in the order in which they are asked; never empty.
    pub providers: Vec<ProviderState>,
}

impl BrokerState {
    /// The same as JSON, for `status --json`.
    pub(crate) fn to_json(&self) -> Value {
        let provider = |provider: &ProviderState| {
            json!({
                "name": provider.name,
                "back_off_until": provider.back_off_until.map(|until| until.to_string()),
                "fault": provider.fault.map(|fault| fault.to_string()),
            })
        };
        let providers: Vec<Value> = self.providers.iter().map(provider).collect();
        json!({ "model": self.model, "providers": providers })
    }
}

/// How a provider stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderState {
    /// `anthropic`, `bedrock` or `demo`.
    pub name: &'static str,
    /// Until when it is left alone, if it is.
    pub back_off_until: Option<Timestamp>,
    /// What was wrong with its last call, if anything.
    pub fault: Option<Fault>,
}

/// Something that the broker cannot do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be set up as configured.
    #[error("cannot set up {what}")]
    Setup {
        /// What of it.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A socket cannot be opened.
    #[error("cannot open the broker's socket in {}", dir.display())]
    Socket {
        /// Where.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A provider did not answer a trial call.
    #[error("{provider} does not answer: {reason}")]
    Check {
        /// Which.
        provider: &'static str,
        /// Why, as it says.
        reason: String,
    },
}

/// What all doors share.
struct Shared {
    model: String,
    sources: Vec<Source>,
    ledger: Arc<dyn Ledger>,
    clock: SharedClock,
    /// The model calls of groups, and the requests of sandboxes.
    calls: Rates<GroupName>,
    requests: Rates<SandboxId>,
    reservations: Arc<Reservations>,
    web: Web,
    /// The rooms behind the doors, and the records of abandoned calls that are still being put down.
    records: TaskTracker,
    runtime: Handle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.sources.iter().map(|source| source.provider.name()).collect();
        f.debug_struct("Shared").field("model", &self.model).field("sources", &names).finish()
    }
}

/// Whether calls by these settings have a price in the gateway's books, without which no budget in money can stop
/// them; the demo's has one, which is nothing.
pub(crate) fn is_priced(settings: &ModelSettings) -> bool {
    let is_demo = settings.anthropic.is_none() && settings.bedrock.is_none();
    is_demo || price::is_known(&settings.model)
}

impl Broker {
    /// A broker; connects to nothing yet. Must be called on a runtime.
    ///
    /// # Errors
    /// When a credential or the machine's certificates cannot be used.
    pub(crate) fn new(
        settings: &ModelSettings,
        ledger: Arc<dyn Ledger>,
        clock: SharedClock,
    ) -> Result<Self, BrokerError> {
        Self::with_web(settings, ledger, clock, Web::new())
    }

    fn with_web(
        settings: &ModelSettings,
        ledger: Arc<dyn Ledger>,
        clock: SharedClock,
        web: Web,
    ) -> Result<Self, BrokerError> {
        let mut sources = Vec::new();
        if let Some(settings) = &settings.bedrock {
            sources.push(Source::new(bedrock::Bedrock::new(settings, Arc::clone(&clock))));
        }
        if let Some(settings) = &settings.anthropic {
            sources.push(Source::new(anthropic::Anthropic::new(settings, Arc::clone(&clock))?));
        }
        if sources.is_empty() {
            sources.push(Source::new(demo::Demo));
        }
        Ok(Self(Arc::new(Shared {
            model: settings.model.clone(),
            sources,
            ledger,
            clock,
            calls: Rates::of_calls(),
            requests: Rates::of_requests(),
            reservations: Arc::default(),
            web,
            records: TaskTracker::new(),
            runtime: Handle::current(),
        })))
    }

    /// Makes a Unix socket in `dir` to which the user and group ids `user` may connect. Whoever made `dir` sees to it
    /// that nobody else comes near.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub(crate) fn bind(&self, dir: &Path, user: (u32, u32)) -> Result<Socket, BrokerError> {
        let bound = Socket::bind(&self.0, dir, user);
        bound.map_err(|source| BrokerError::Socket { dir: dir.to_owned(), source })
    }

    /// Opens a door: whoever connects to the socket is this client.
    pub(crate) fn open_socket(&self, socket: Socket, client: Client) -> Door {
        Door::socket(&self.0, socket, client)
    }

    /// Opens a door: one stream with frames, at whose other end is `agent-runner bridge`.
    pub(crate) fn open_stream<S>(&self, stream: S, client: Client) -> Door
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        Door::stream(&self.0, stream, client)
    }

    /// How things stand now.
    pub(crate) fn state(&self) -> BrokerState {
        let now = tokio::time::Instant::now();
        let wall = self.0.clock.now();
        let providers = self.0.sources.iter().map(|source| ProviderState {
            name: source.provider.name(),
            back_off_until: source.standing.hold(now).and_then(|hold| {
                wall.checked_add(SignedDuration::try_from(hold.until - now).ok()?).ok()
            }),
            fault: source.standing.fault(),
        });
        BrokerState { model: self.0.model.clone(), providers: providers.collect() }
    }

    /// Makes one tiny call to every provider, and says in a sentence how it went. It is counted for nobody.
    ///
    /// # Errors
    /// When a provider does not answer.
    pub(crate) async fn check(&self) -> Result<String, BrokerError> {
        let body = r#"{"max_tokens":1,"messages":[{"role":"user","content":"ping"}]}"#;
        let body = Bytes::from_static(body.as_bytes());
        let (endpoint, headers) = (Endpoint::Messages, HeaderMap::new());
        let request =
            ModelRequest::parse(endpoint, &headers, body, &self.0.model).map_err(|source| {
                BrokerError::Setup { what: "the trial call", source: source.into() }
            })?;
        let mut words = Vec::new();
        for Source { provider, .. } in &self.0.sources {
            if provider.name() == demo::NAME {
                let words = "no credentials are configured: the built-in demo answers";
                return Ok(words.to_owned());
            }
            let asked = Instant::now();
            provider.ask(&request).await.map_err(|failure| BrokerError::Check {
                provider: provider.name(),
                reason: failure.sentence(),
            })?;
            let took = asked.elapsed().as_millis();
            words.push(format!("{} answers for {} in {took} ms", provider.name(), self.0.model));
        }
        Ok(words.join("; "))
    }

    /// Waits until nothing is left behind the doors and all that calls have cost is put down; for the end of the
    /// gateway, when all doors are dropped.
    pub(crate) async fn settle(&self) {
        self.0.records.close();
        self.0.records.wait().await;
        self.0.ledger.settle().await;
    }
}
