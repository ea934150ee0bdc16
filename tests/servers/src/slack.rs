//! A Slack workspace: the Web API, Socket Mode and files on the wire, a [`World`] of people behind.
//!
//! It refuses what Slack refuses (tokens of the wrong kind, missing scopes, bodies that a method
//! does not read, texts that are too long), so that a client that works against it is right for a
//! reason; it misbehaves on demand; and it keeps what it saw. The unmodified Bolt, Slack's own
//! framework, is held against it in `tests/bolt.rs`. One server is one workspace: a test of
//! several starts several, and has one [take in](Slack::take_in) the calls of the others, because
//! Slack has one address for all. It listens on loopback only.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use test_servers::slack::{ALICE, Fault, GENERAL, Options, Post, Slack};
//!
//! let slack = Slack::start(Options::default()).await?;
//! // … point a client at slack.api_url(), with the tokens of slack.options(), then:
//! slack.wait_for(|world| world.sockets() == 1).await;
//! slack.fault(Fault::rate_limited(1).on("chat.postMessage").first(1));
//! let ts = slack.user_message(Post::new(GENERAL, ALICE, "<@U0BOT0001> hello"));
//! slack.wait_for(|world| world.answers(GENERAL, &ts).len() == 1).await;
//! assert_eq!(slack.look(|world| world.count("chat.postMessage")), 2);
//! slack.stop().await;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod act;
mod api;
mod args;
mod control;
mod delivery;
mod events;
mod fault;
mod files;
mod grant;
mod interact;
mod json;
mod later;
mod limit;
mod log;
mod message;
mod options;
mod people;
mod post;
mod refusal;
mod serve;
mod socket;
mod sockets;
mod stream;
mod world;

pub use delivery::{Delivery, EnvelopeKind};
pub use fault::{DOWNLOAD, Fault, FaultKind, RESPONSE_URL, SOCKET, UPLOAD};
pub use files::File;
pub use log::Log;
pub use message::Message;
pub use options::{HistoryFrom, Limits, Options};
pub use people::{ALICE, BOB, Conversation, DM, ELSEWHERE, GENERAL, GROUP_DM, Kind, PRIVATE, User};
pub use post::Post;
pub use world::{Call, Ephemeral, Status, World};

/// A running workspace; dropping it ends every connection.
#[derive(Debug)]
pub struct Slack {
    shared: Arc<Shared>,
    running: DropGuard,
}

/// What all connections of one server share.
#[derive(Debug)]
struct Shared {
    options: Arc<Options>,
    world: Mutex<World>,
    /// Told of every change of the world.
    changed: watch::Sender<()>,
    /// Told when what hangs may go on.
    released: watch::Sender<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Other workspaces, whose calls come in here.
    others: Mutex<Vec<Arc<Shared>>>,
}

impl Slack {
    /// Starts a workspace on 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let options = Arc::new(options);
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(Arc::clone(&options), base)),
            options,
            changed: watch::Sender::default(),
            released: watch::Sender::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            others: Mutex::default(),
        });
        let running = shared.stop.clone().drop_guard();
        shared.spawn(serve::accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, running })
    }

    /// The base of every Web API method, as `SLACK_API_URL` wants it: no slash at the end.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}/api", self.url())
    }

    /// The address of the server: no slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.look(|world| world.base.clone())
    }

    /// How it was started: ids and tokens are here.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// From now on calls with a token of another workspace may come in here; they are that one's.
    pub fn take_in(&self, other: &Slack) {
        let mut others = self.shared.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.push(Arc::clone(&other.shared));
    }

    /// Looks at the workspace as it is now.
    pub fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.shared.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until this is so; it is asked after every change, and often in a burst.
    ///
    /// # Panics
    /// When it is not so after [`Options::patience`], with what the server saw.
    pub async fn wait_for(&self, mut so: impl FnMut(&World) -> bool) {
        self.wait_some(|world| so(world).then_some(())).await;
    }

    /// Waits until there is something to find.
    ///
    /// # Panics
    /// When there is nothing after [`Options::patience`], with what the server saw.
    #[expect(clippy::panic, reason = "a test that waits in vain ends here and says what was seen")]
    pub async fn wait_some<T>(&self, mut find: impl FnMut(&World) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        let patience = self.shared.options.patience;
        let found = tokio::time::timeout(patience, async {
            loop {
                if let Some(found) = self.look(&mut find) {
                    return found;
                }
                changed.changed().await.expect("the server owns the sender");
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_elapsed) => {
                panic!("waited in vain for {patience:?}; {}", self.look(World::summary))
            }
        }
    }

    /// Ends every connection, also one that hangs, and waits until all are gone.
    pub async fn stop(self) {
        drop(self.running);
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    /// Changes the world, starts what it leaves for later, and tells those who wait.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut World) -> T) -> T {
        let (result, later) = {
            let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
            (change(&mut world), std::mem::take(&mut world.later))
        };
        for later in later {
            self.spawn(later.run(Arc::clone(self)));
        }
        self.changed.send_replace(());
        result
    }

    /// The workspace that a call with this token is for.
    fn of_token(self: &Arc<Self>, token: &str) -> Arc<Self> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = |other: &&Arc<Self>| {
            [&other.options.bot_token, &other.options.app_token].iter().any(|it| *it == token)
        };
        Arc::clone(others.iter().find(mine).unwrap_or(self))
    }

    /// Runs something until it ends or the server does.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Waits for the next release.
    async fn released(&self) {
        let mut released = self.released.subscribe();
        released.changed().await.expect("the server owns the sender");
    }
}
