//! Takes prompts from the ipc directory, lets an engine work on them, and says how each run ended.
//!
//! One run at a time. However an engine's work ends, the run gets its `done.json` and the loop goes on; only a
//! directory that cannot be used, or the gateway's wish, ends it.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Done, Failure, FailureKind, Input, Outcome, Prompt, Sign};
use thiserror::Error;
use tokio::task::JoinSet;

use crate::engine::{self, Ended, Engine, Link};
use crate::settings::{Broker, Settings};
use crate::{EXIT_IO, note};
use inbox::{Inbox, InboxError};

mod done;
mod forward;
mod inbox;
mod reporter;

pub(crate) use reporter::Reporter;

/// How long an engine may take to end a run that was cancelled, before it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(3);
/// How long an engine may take to close.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// Why the agent-runner cannot go on.
#[derive(Debug, Error)]
enum ServeError {
    #[error("cannot use the ipc directory")]
    Progress(#[source] io::Error),
    #[error("cannot offer the broker on loopback")]
    Listen(#[source] io::Error),
    #[error("cannot take input")]
    Inbox(#[from] InboxError),
    #[error("cannot write the outcome of run {run}")]
    Done {
        run: u64,
        #[source]
        source: io::Error,
    },
}

/// Serves until the gateway closes the inbox.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(format_args!("cannot start: {error}"));
            return ExitCode::from(EXIT_IO);
        }
    };
    let served = runtime.block_on(Server::serve(settings.settle()));
    // A search that still runs on another thread need not be waited for.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = std::error::Error::source(&error);
            match source {
                Some(source) => note(format_args!("{error}: {source}")),
                None => note(format_args!("{error}")),
            }
            ExitCode::from(EXIT_IO)
        }
    }
}

/// One agent-runner at work.
struct Server {
    settings: Arc<Settings>,
    reporter: Arc<Reporter>,
    inbox: Inbox,
    /// The engines that have been used, warm.
    engines: BTreeMap<String, Box<dyn Engine>>,
    /// The run whose outcome was written last.
    done: Option<u64>,
}

impl Server {
    async fn serve(mut settings: Settings) -> Result<(), ServeError> {
        let reporter = Reporter::open(&settings.ipc).map_err(ServeError::Progress)?;
        let mut background = JoinSet::new();
        background.spawn(Arc::clone(&reporter).run(reporter::HEARTBEAT));
        if let Broker::Socket(socket) = &settings.broker {
            let listener = forward::listen(settings.port).await.map_err(ServeError::Listen)?;
            // Port 0 takes a free one, for tests.
            settings.port = listener.local_addr().map_err(ServeError::Listen)?.port();
            background.spawn(forward::run(listener, socket.clone()));
        }
        let inbox = Inbox::open(&settings.ipc);
        reporter.say_now(Sign::Started);
        let settings = Arc::new(settings);
        let engines = BTreeMap::new();
        Self { settings, reporter, inbox, engines, done: None }.take_prompts().await
    }

    async fn take_prompts(&mut self) -> Result<(), ServeError> {
        loop {
            match self.inbox.next().await? {
                // A gateway that was restarted does not know whether the one before left the prompt, and leaves it again:
                // what is done is not begun anew.
                Input::Prompt(prompt) if self.done == Some(prompt.run) => {}
                Input::Prompt(prompt) => self.work(&prompt).await?,
                Input::Close => break,
                // They belong to a run that is over.
                Input::FollowUp(_) | Input::Cancel { .. } => {}
            }
        }
        for engine in self.engines.values_mut() {
            if tokio::time::timeout(CLOSE_GRACE, engine.close()).await.is_err() {
                note(format_args!("an engine did not close in time"));
            }
        }
        Ok(())
    }

    /// Carries one run from its prompt to its `done.json`.
    async fn work(&mut self, prompt: &Prompt) -> Result<(), ServeError> {
        let run = prompt.run;
        self.reporter.begin(run);
        self.reporter.say_now(Sign::Accepted);
        let link = Link::new(Arc::clone(&self.reporter), prompt);
        let ended = if prompt.version == protocol::VERSION {
            self.think(prompt, &link).await?
        } else {
            let (theirs, ours) = (prompt.version, protocol::VERSION);
            let message = format!("the prompt speaks protocol {theirs}, this agent-runner {ours}");
            Ended::failed(prompt, message)
        };
        self.reporter.end();
        let done = Done {
            run,
            outcome: ended.outcome,
            session: ended.session,
            through: ended.through.max(link.through()),
        };
        done::write(&self.settings.ipc, done)
            .await
            .map_err(|source| ServeError::Done { run, source })?;
        self.done = Some(run);
        Ok(())
    }

    /// Lets the engine work, and meanwhile hands it what the gateway says.
    async fn think(&mut self, prompt: &Prompt, link: &Link) -> Result<Ended, InboxError> {
        let Self { settings, inbox, engines, .. } = self;
        if !engines.contains_key(&prompt.engine)
            && let Some(engine) = engine::open(&prompt.engine, settings)
        {
            engines.insert(prompt.engine.clone(), engine);
        }
        let Some(engine) = engines.get_mut(&prompt.engine) else {
            // Asking again does not help: the owner has to choose another.
            let message = format!("there is no engine {}", prompt.engine);
            let outcome = Outcome::Failed(Failure { kind: FailureKind::Refused, message });
            return Ok(Ended { outcome, ..Ended::failed(prompt, String::new()) });
        };
        let mut thinking = engine.prompt(prompt, link);
        let grace_over = async {
            link.cancelled().await;
            tokio::time::sleep(CANCEL_GRACE).await;
        };
        tokio::pin!(grace_over);
        loop {
            tokio::select! {
                ended = &mut thinking => return Ok(ended),
                () = &mut grace_over => {
                    return Ok(Ended { outcome: Outcome::Cancelled, ..Ended::failed(prompt, String::new()) });
                }
                input = inbox.next_new() => match input? {
                    Input::FollowUp(follow_up) if follow_up.run == prompt.run => link.follow_up(follow_up),
                    Input::Cancel { run } if run == prompt.run => link.cancel(),
                    Input::FollowUp(_) | Input::Cancel { .. } => {}
                    later @ (Input::Prompt(_) | Input::Close) => inbox.defer(later),
                },
            }
        }
    }
}
