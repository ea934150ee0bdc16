//! The composition root: builds the gateway from its settings, starts it, and drains it.
//!
//! Everything that runs is spawned into a tracker, so that stopping waits for it, and every loop is watched: one that
//! ends before its time is the end of the gateway.

mod arrivals;
mod channels;
mod desk;
mod ledger;
mod report;
mod stop;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::broker::{self, Broker, BrokerError};
use crate::channel::terminal::Terminal;
use crate::channel::{Channel, Channels};
use crate::clock::{self, SharedClock};
use crate::config::{EnvFile, Settings, Unknown};
use crate::control::Control;
use crate::ipc::{Arrival, Outgoing};
use crate::model::{Group, GroupName};
use crate::outbox::{self, Outbox};
use crate::pool::{Left, Pool};
use crate::queue::Queue;
use crate::router::Router;
pub use crate::run::Bounds;
use crate::run::{Active, Finder, Found, Opener, Reaper, Reserve, Runs, Shelf, Supply};
use crate::sandbox::{Sandbox, SandboxError, SandboxKind, runner, select};
use crate::store::{Store, StoreError};

use desk::Desk;
use ledger::StoreLedger;
pub use stop::Patience;
use watch::Watch;

/// How long after the start old records are first forgotten, and how often after that.
const FORGET_FIRST: Duration = Duration::from_secs(600);
const FORGET_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How old requests, sent messages and ended runs get: 400 days, a year and a month.
const FORGET_AFTER: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// A gateway that runs.
pub struct Gateway {
    intake: CancellationToken,
    work: CancellationToken,
    outbox: CancellationToken,
    halt: CancellationToken,
    /// Ends the grace period of a stop.
    haste: CancellationToken,
    runs: TaskTracker,
    tasks: TaskTracker,
    outboxes: TaskTracker,
    shelf: Arc<Shelf>,
    desk: Arc<Desk>,
    broker: Broker,
    store: Store,
    watch: Watch,
    patience: Patience,
}

/// A gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Another gateway works on this store.
    #[error("another gateway works on this store: {holder}")]
    Held {
        /// Which one.
        holder: String,
    },
    /// A folder or file could not be prepared.
    #[error("cannot prepare {path}")]
    Folder {
        /// The path.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Store(StoreError),
    /// The broker could not be built.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The terminal's socket could not be opened.
    #[error("cannot open the terminal's socket")]
    Terminal(#[source] std::io::Error),
    /// A part of a running gateway ended before its time.
    #[error("a part of the gateway, the {part}, has ended; the log says more")]
    Fallen {
        /// Which one.
        part: String,
    },
}

/// What a test or a bench puts in the place of the real thing.
#[derive(Default)]
pub struct Options {
    /// Shorter waits.
    pub bounds: Bounds,
    /// A kind of sandbox that is used without looking for one.
    pub sandbox: Option<Arc<dyn Sandbox>>,
    /// Another kind, which is not used but can be asked about what it made.
    pub elsewhere: Option<Arc<dyn Sandbox>>,
    /// Channels beside those of the settings.
    pub channels: Vec<Arc<dyn Channel>>,
    /// Shorter waits for Slack.
    #[cfg(feature = "slack")]
    pub slack: crate::channel::slack::Pace,
    /// A shorter stop.
    pub patience: Patience,
}

/// The wake-up calls between the parts.
#[derive(Clone, Default)]
struct Wakes {
    router: Arc<Notify>,
    outbox: Arc<Notify>,
}

impl Gateway {
    /// Starts a gateway; when this returns, it takes messages.
    ///
    /// # Errors
    /// [`GatewayError`]; nothing runs then.
    pub async fn start(settings: Settings) -> Result<Self, GatewayError> {
        Self::start_with(settings, Options::default()).await
    }

    /// Starts a gateway with parts of a test in the place of the real ones.
    ///
    /// # Errors
    /// [`GatewayError`]; nothing runs then.
    pub async fn start_with(settings: Settings, options: Options) -> Result<Self, GatewayError> {
        let settings = Arc::new(settings);
        prepare(&settings)?;
        warn_of_slips(&settings);
        let clock = clock::system();
        let store = Store::open(&settings.store_dir().join("messages.db"), clock.clone())?;
        Arrival::clear_away(&settings.groups_dir())
            .map_err(|source| GatewayError::Folder { path: settings.groups_dir(), source })?;
        ensure_main(&store).await?;
        warn_of_idle_budgets(&settings, &store).await?;
        let left = store.unfinished_runs().await?;
        let wakes = Wakes::default();
        let ledger = Arc::new(StoreLedger::new(store.clone(), clock.clone(), &settings));
        let broker = Broker::new(&settings.model, ledger, clock.clone())?;
        let waiting = store.outbox_files().await?.into_iter().map(|(_, file)| file.copy).collect();
        let files = Outgoing::open(&settings.home, &waiting)
            .map_err(|source| GatewayError::Folder { path: settings.store_dir(), source })?;
        let runner = runner::install(&settings.store_dir())
            .map_err(|source| GatewayError::Folder { path: settings.store_dir(), source })?;

        let desk = Desk::new(settings.clone(), store.clone(), broker.clone(), wakes.router.clone());
        let terminal = Terminal::bind(&settings.store_dir(), desk.clone(), clock.clone())
            .map_err(GatewayError::Terminal)?;
        let terminal = Arc::new(terminal);
        let mut all: Vec<Arc<dyn Channel>> = vec![terminal.clone()];
        all.extend(channels::slack(&settings, &clock, &options));
        all.extend(options.channels);
        let channels = Channels::new(all);

        let tasks = TaskTracker::new();
        let halt = CancellationToken::new();
        let shelf = Arc::new(Shelf::new(settings.runs.slots, settings.runs.idle_timeout));
        let finder = finder(options.sandbox, options.elsewhere, settings.clone());
        let reaper = Reaper::new(tasks.clone(), halt.clone(), finder.clone(), options.bounds.stop);
        let supply = Arc::new(Supply::new(finder));
        let runs = Arc::new(Runs {
            settings: settings.clone(),
            store: store.clone(),
            clock: clock.clone(),
            channels: channels.clone(),
            supply: supply.clone(),
            opener: Opener {
                settings: settings.clone(),
                broker: broker.clone(),
                tasks: tasks.clone(),
                reaper,
                runner,
                bounds: options.bounds,
                given: desk.given(),
                reserve: Reserve::new(settings.store_dir(), broker.clone()),
            },
            shelf: shelf.clone(),
            requests: Arc::new(Control::new(store.clone(), files.clone(), wakes.outbox.clone())),
            outbox: wakes.outbox.clone(),
            bounds: options.bounds,
            halt: halt.clone(),
            active: Active::default(),
        });
        let gateway = Self {
            intake: CancellationToken::new(),
            work: CancellationToken::new(),
            outbox: CancellationToken::new(),
            halt,
            haste: CancellationToken::new(),
            runs: TaskTracker::new(),
            tasks,
            outboxes: TaskTracker::new(),
            shelf,
            desk: desk.clone(),
            broker,
            store,
            watch: Watch::default(),
            patience: options.patience,
        };
        let parts = Parts { settings, clock, files, channels, desk, terminal, supply, runs, wakes };
        gateway.spawn(parts, left);
        info!("the gateway is ready");
        Ok(gateway)
    }

    /// Waits until the gateway can do its work no longer, because a part of it has ended or panicked. It is then to be
    /// stopped, and started anew in another process.
    pub async fn fallen(&self) -> GatewayError {
        GatewayError::Fallen { part: self.watch.fallen().await }
    }

    /// Starts the loops.
    fn spawn(&self, parts: Parts, left: Vec<crate::store::RunRow>) {
        let Parts { settings, clock, files, channels, desk, terminal, supply, runs, wakes } = parts;
        let store = &self.store;
        let queue = Arc::new(Queue::default());
        let pool = Arc::new(Pool::new(
            settings.runs.slots,
            queue.clone(),
            runs.clone(),
            self.runs.clone(),
            wakes.router.clone(),
        ));
        let router = Arc::new(Router {
            settings,
            store: store.clone(),
            clock: clock.clone(),
            queue: queue.clone(),
            pool: pool.clone(),
            wake: wakes.router.clone(),
        });
        // Before anything that could put them on the queue, or wish to stop them.
        let left = left.into_iter();
        let left: Vec<Left> =
            left.map(|row| Left { hold: queue.begin(&row.conversation), row }).collect();
        desk.employ(queue, router.clone(), runs);

        let (watch, tasks) = (&self.watch, &self.tasks);
        for channel in channels.iter() {
            let name = channel.name();
            let (stop, part) = (self.outbox.clone(), format!("outbox of {name}"));
            let (mine, wake) = (store.clone(), wakes.outbox.clone());
            let outbox = Outbox::new(channel.clone(), mine, files.clone(), clock.clone(), wake);
            watch.spawn(&self.outboxes, part, &self.outbox, outbox.run(stop));
            let (stop, part) = (self.intake.clone(), format!("channel {name}"));
            let (channel, desk) = (channel.clone(), desk.clone());
            watch.spawn(tasks, part, &self.intake, async move { channel.run(&*desk, stop).await });
        }
        let stop = self.work.clone();
        watch.spawn(tasks, "housekeeping", &self.work, forget(store.clone(), clock, stop));
        let stop = self.outbox.clone();
        let welcome = welcome(terminal, store.clone(), wakes, stop);
        watch.spawn(tasks, "welcome of terminals", &self.outbox, welcome);

        let stop = self.work.clone();
        watch.spawn(tasks, "router", &self.work, async move { router.run(stop).await });
        let (looking, stop) = (supply, self.work.clone());
        watch.spawn(tasks, "supply", &self.work, async move { looking.run(stop).await });
        let (shelf, stop) = (self.shelf.clone(), self.halt.clone());
        watch.spawn(tasks, "shelf", &self.halt, async move { shelf.run(stop).await });
        let (teller, stop) = (pool.clone(), self.work.clone());
        let teller = async move { teller.tell(&channels, stop).await };
        watch.spawn(tasks, "teller of the queue", &self.work, teller);
        let (store, stop) = (store.clone(), self.work.clone());
        watch.spawn(tasks, "store", &self.work, async move {
            tokio::select! {
                () = store.ended() => {}
                () = stop.cancelled() => {}
            }
        });
        let stop = self.work.clone();
        watch.spawn(tasks, "pool", &self.work, async move {
            pool.take_up(left, &stop).await;
            pool.run(stop).await;
        });
    }
}

/// The parts that the loops are made of.
struct Parts {
    settings: Arc<Settings>,
    clock: SharedClock,
    files: Outgoing,
    channels: Channels,
    desk: Arc<Desk>,
    terminal: Arc<Terminal>,
    supply: Arc<Supply>,
    runs: Arc<Runs>,
    wakes: Wakes,
}

/// Makes the folders, closed to others.
fn prepare(settings: &Settings) -> Result<(), GatewayError> {
    let groups = settings.groups_dir();
    for path in
        [settings.store_dir(), groups.clone(), groups.join("global"), groups.join(GroupName::MAIN)]
    {
        private_dir(&path).map_err(|source| GatewayError::Folder { path, source })?;
    }
    Ok(())
}

impl From<StoreError> for GatewayError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { holder } => Self::Held { holder },
            error => Self::Store(error),
        }
    }
}

fn private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // A folder that a checkout brought along is as open as the owner's umask: it is closed here.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

async fn ensure_main(store: &Store) -> Result<(), StoreError> {
    if store.group(&GroupName::main()).await?.is_none() {
        store.add_group(Group::new(GroupName::main()), Vec::new()).await?;
    }
    Ok(())
}

/// Says which names in `.env` mean nothing and look like one that does; what is wrong with the file itself, reading
/// the settings has said.
fn warn_of_slips(settings: &Settings) {
    let Ok(Some(file)) = EnvFile::inspect(&settings.home) else { return };
    for Unknown { name, line, meant } in file.unknown {
        if let Some(meant) = meant {
            warn!("{name} (.env, line {line}) means nothing; was {meant} meant?");
        }
    }
}

/// Says which groups will have no model, because their budget could not stop the one there is.
async fn warn_of_idle_budgets(settings: &Settings, store: &Store) -> Result<(), StoreError> {
    if broker::is_priced(&settings.model) {
        return Ok(());
    }
    for group in store.groups().await? {
        if group.settings.daily_budget_micros.is_some() {
            let (group, model) = (&group.name, &settings.model.model);
            warn!(
                group.name = %group,
                "the price of {model} is not known here, so the group {group}, which has a daily budget, may not ask \
                 it; name another in ANTHROPIC_MODEL, or lift the budget: hermitcrab group set {group} --budget -"
            );
        }
    }
    Ok(())
}

/// Hurries what waits for a conversation whenever somebody comes to the terminal.
async fn welcome(terminal: Arc<Terminal>, store: Store, wakes: Wakes, stop: CancellationToken) {
    let mut arrivals = terminal.arrivals();
    loop {
        tokio::select! {
            arrived = arrivals.changed() => if arrived.is_err() { return },
            () = stop.cancelled() => return,
        }
        outbox::arrived(&store, terminal.present(), &wakes.outbox).await;
    }
}

/// Forgets records of work that was done long ago, once a day.
async fn forget(store: Store, clock: SharedClock, stop: CancellationToken) {
    let mut wait = FORGET_FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        wait = FORGET_EVERY;
        let Ok(before) = clock.now().checked_sub(FORGET_AFTER) else { continue };
        loop {
            match store.prune(before).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    warn!(%error, "old records could not be forgotten; it is tried again tomorrow");
                    break;
                }
            }
        }
    }
}

/// Looks for a sandbox as the settings say.
struct SelectFinder(Arc<Settings>);

#[async_trait]
impl Finder for SelectFinder {
    async fn find(&self) -> Result<Found, SandboxError> {
        let (sandbox, strength) = select::choose(&self.0).await?;
        Ok(Found { sandbox, strength })
    }

    async fn reach(&self, kind: SandboxKind) -> Result<Arc<dyn Sandbox>, SandboxError> {
        select::reach(&self.0, kind).await
    }
}

/// The sandboxes that a test has given.
struct GivenFinder {
    sandbox: Arc<dyn Sandbox>,
    elsewhere: Option<Arc<dyn Sandbox>>,
}

#[async_trait]
impl Finder for GivenFinder {
    async fn find(&self) -> Result<Found, SandboxError> {
        let strength = self.sandbox.probe().await?;
        Ok(Found { sandbox: self.sandbox.clone(), strength })
    }

    async fn reach(&self, kind: SandboxKind) -> Result<Arc<dyn Sandbox>, SandboxError> {
        let mut given = std::iter::once(&self.sandbox).chain(&self.elsewhere);
        let reached = given.find(|sandbox| sandbox.kind() == kind);
        reached.cloned().ok_or(SandboxError::Unsupported("be had in this test"))
    }
}

fn finder(
    given: Option<Arc<dyn Sandbox>>,
    elsewhere: Option<Arc<dyn Sandbox>>,
    settings: Arc<Settings>,
) -> Arc<dyn Finder> {
    match given {
        Some(sandbox) => Arc::new(GivenFinder { sandbox, elsewhere }),
        None => Arc::new(SelectFinder(settings)),
    }
}
