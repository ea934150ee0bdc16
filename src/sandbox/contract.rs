//! What every kind of sandbox must do from start to end, written once and run on the stand-in and on the real ones.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use protocol::layout;

use super::{Exit, Sandbox, SandboxError, SandboxSpec};
use crate::model::SandboxId;

/// The file in the ipc directory by which an agent of the contract says that it is at work.
pub const AT_WORK: &str = "at-work";

/// How long anything may take that should take a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// A grace that is never used up by an agent that ends when it is asked to.
const LONG: Duration = Duration::from_secs(30);

/// What an agent of the contract does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Ends at once with this code.
    End(u8),
    /// Says that it is at work, and ends with 0 when it is asked to.
    Work,
    /// Says that it is at work, and does not end when it is asked to.
    Deaf,
}

/// Where the contract is played.
#[async_trait]
pub trait Stage: Send + Sync {
    /// The kind, as a gateway has it after its start: a new object each time.
    async fn open(&self) -> Result<Arc<dyn Sandbox>, SandboxError>;

    /// A fresh sandbox whose agent does this; its folders are made.
    fn spec(&self, act: Act) -> SandboxSpec;
}

/// Why the contract is broken.
type Broken = Box<dyn Error + Send + Sync>;

/// Plays the whole contract.
///
/// # Errors
/// When a call fails that must not.
///
/// # Panics
/// When a rule does not hold.
pub async fn holds(stage: &dyn Stage) -> Result<(), Broken> {
    an_exit_is_told_and_told_again(stage).await?;
    what_was_prepared_starts_or_leaves_nothing(stage).await?;
    what_works_is_listed_and_ends_politely(stage).await?;
    what_is_deaf_is_killed(stage).await?;
    what_lives_outlives_the_gateway(stage).await?;
    what_is_not_there_is_gone(stage).await?;
    an_id_is_used_once(stage).await
}

async fn an_exit_is_told_and_told_again(stage: &dyn Stage) -> Result<(), Broken> {
    let sandbox = stage.open().await?;
    for code in [0, 3, 71] {
        let spec = stage.spec(Act::End(code));
        sandbox.start(&spec).await?;
        for _ in 0..2 {
            assert_eq!(sandbox.wait(&spec.id).await?, Exit::Code(code.into()));
        }
        assert_eq!(
            listed(&*sandbox, &spec.id).await?,
            Some(false),
            "what ended is there, and does not run"
        );
        sandbox.stop(&spec.id, Duration::ZERO).await?;
        assert_eq!(listed(&*sandbox, &spec.id).await?, None, "nothing is left of it");
    }
    Ok(())
}

async fn what_was_prepared_starts_or_leaves_nothing(stage: &dyn Stage) -> Result<(), Broken> {
    let sandbox = stage.open().await?;
    let (wanted, unwanted) = (stage.spec(Act::End(3)), stage.spec(Act::End(0)));
    sandbox.prepare(&wanted.id, &wanted.group).await?;
    sandbox.prepare(&unwanted.id, &unwanted.group).await?;
    sandbox.start(&wanted).await?;
    assert_eq!(sandbox.wait(&wanted.id).await?, Exit::Code(3));
    sandbox.stop(&wanted.id, Duration::ZERO).await?;
    let begun = Instant::now();
    sandbox.stop(&unwanted.id, LONG).await?;
    assert!(begun.elapsed() < LONG / 10, "there is nobody to wait for");
    assert_eq!(listed(&*sandbox, &unwanted.id).await?, None, "nothing is left of it");
    Ok(())
}

async fn what_works_is_listed_and_ends_politely(stage: &dyn Stage) -> Result<(), Broken> {
    let sandbox = stage.open().await?;
    let specs = [stage.spec(Act::Work), stage.spec(Act::Work)];
    for spec in &specs {
        sandbox.start(spec).await?;
        at_work(spec).await;
        assert_eq!(listed(&*sandbox, &spec.id).await?, Some(true));
    }
    let [first, second] = specs;
    let (exit, stopped) = tokio::join!(sandbox.wait(&first.id), sandbox.stop(&first.id, LONG));
    stopped?;
    let exit = exit?;
    assert!(
        matches!(exit, Exit::Code(0) | Exit::Gone),
        "it ended as it wanted, not by force: {exit:?}"
    );
    assert_eq!(listed(&*sandbox, &first.id).await?, None);
    assert_eq!(
        listed(&*sandbox, &second.id).await?,
        Some(true),
        "another one is none of its business"
    );
    sandbox.stop(&second.id, LONG).await?;
    Ok(())
}

async fn what_is_deaf_is_killed(stage: &dyn Stage) -> Result<(), Broken> {
    let sandbox = stage.open().await?;
    for grace in [Duration::from_millis(200), Duration::ZERO] {
        let spec = stage.spec(Act::Deaf);
        sandbox.start(&spec).await?;
        at_work(&spec).await;
        let begun = Instant::now();
        sandbox.stop(&spec.id, grace).await?;
        assert!(begun.elapsed() >= grace && begun.elapsed() < LONG, "{:?}", begun.elapsed());
        assert_eq!(listed(&*sandbox, &spec.id).await?, None);
    }
    Ok(())
}

async fn what_lives_outlives_the_gateway(stage: &dyn Stage) -> Result<(), Broken> {
    let (ends, works) = (stage.spec(Act::End(9)), stage.spec(Act::Work));
    {
        let before = stage.open().await?;
        before.start(&ends).await?;
        before.start(&works).await?;
        at_work(&works).await;
    }
    let after = stage.open().await?;
    assert_eq!(
        after.wait(&ends.id).await?,
        Exit::Code(9),
        "how it ended is known to the next gateway"
    );
    let live = after.list().await?.into_iter().find(|live| live.id == works.id);
    let live = live.ok_or("what works is listed")?;
    assert!(live.running);
    assert_eq!(live.group, works.group);
    let pending = tokio::time::timeout(Duration::from_millis(50), after.wait(&works.id)).await;
    assert!(pending.is_err(), "what works has not ended: {pending:?}");
    for spec in [&ends, &works] {
        after.stop(&spec.id, LONG).await?;
        assert_eq!(listed(&*after, &spec.id).await?, None);
    }
    Ok(())
}

async fn what_is_not_there_is_gone(stage: &dyn Stage) -> Result<(), Broken> {
    let sandbox = stage.open().await?;
    let id = stage.spec(Act::End(0)).id;
    assert_eq!(sandbox.wait(&id).await?, Exit::Gone);
    sandbox.stop(&id, Duration::ZERO).await?;
    assert!(sandbox.bridge(&id).await.is_err());
    Ok(())
}

async fn an_id_is_used_once(stage: &dyn Stage) -> Result<(), Broken> {
    let sandbox = stage.open().await?;
    let spec = stage.spec(Act::Work);
    sandbox.start(&spec).await?;
    at_work(&spec).await;
    assert!(sandbox.start(&spec).await.is_err(), "a second one of the same id");
    assert_eq!(listed(&*sandbox, &spec.id).await?, Some(true), "the first one lives on");
    sandbox.stop(&spec.id, LONG).await?;
    Ok(())
}

/// Whether a sandbox is listed, and whether it runs.
async fn listed(sandbox: &dyn Sandbox, id: &SandboxId) -> Result<Option<bool>, SandboxError> {
    let all = sandbox.list().await?;
    Ok(all.into_iter().find(|live| live.id == *id).map(|live| live.running))
}

/// Waits until the agent of a sandbox has said that it is at work.
///
/// # Panics
/// When it does not.
pub async fn at_work(spec: &SandboxSpec) {
    let sign = host(spec, layout::IPC).join(AT_WORK);
    let begun = Instant::now();
    while !sign.exists() {
        assert!(
            begun.elapsed() < PATIENCE,
            "the agent of {} does not say that it is at work",
            spec.id
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// The path on the host of what is mounted at `inside`.
///
/// # Panics
/// When nothing is mounted there.
#[must_use]
pub fn host(spec: &SandboxSpec, inside: &str) -> PathBuf {
    let mount = spec.mounts.iter().find(|mount| mount.inside == Path::new(inside));
    mount.expect("what a test asks for is mounted").host.clone()
}
