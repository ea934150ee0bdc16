//! What lies around the home: the clock, the gateway that may run, a sandbox, and somebody who thinks.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::civil::date;
use serde_json::Value;

use crate::broker::{Allowance, Broker, Client, Ledger};
use crate::cli::finding::Finding;
use crate::cli::output;
use crate::cli::place::Place;
use crate::clock;
use crate::config::{self, Settings};
use crate::model::{GroupName, Usage};
use crate::sandbox::{Sandbox, SandboxError, select};
use crate::text;

const SANDBOX: &str = "sandbox";
/// The most sandboxes that are named.
const MOST_NAMED: usize = 5;

/// The clock and the time zone.
pub(super) fn clock(place: &Place) -> Finding {
    const CHECK: &str = "clock";
    let now = clock::system().now().to_zoned(place.zone.clone());
    let shown = format!("{} in {}", now.strftime("%Y-%m-%d %H:%M"), place.settings.time_zone);
    // This program is younger than that.
    if now.date() < date(2026, 1, 1) {
        let mend = "set the clock: timedatectl set-ntp true";
        return Finding::fault(CHECK, format!("it says {shown}, which cannot be"), mend);
    }
    Finding::good(CHECK, shown)
}

/// The gateway that runs here, if one does, and the sandbox: its own, or what one would get.
pub(super) async fn gateway(place: &Place) -> Vec<Finding> {
    const CHECK: &str = "gateway";
    if place.not_the_store().is_some() {
        // The store's own check has said what is to be said: no gateway runs here, and none can.
        return probed_sandbox(place).await;
    }
    match place.ask_gateway().await {
        Ok(Some(live)) => {
            let mut findings = vec![Finding::good(CHECK, "one runs here")];
            findings.push(live_sandbox(&live));
            findings.extend(live_weaknesses(&live));
            findings.extend(live_faults(&live));
            findings
        }
        Ok(None) => {
            let mut findings =
                vec![Finding::good(CHECK, "none runs here; `hermitcrab run` starts one")];
            findings.extend(probed_sandbox(place).await);
            // One that runs says itself how its channels are.
            #[cfg(feature = "slack")]
            findings.extend(crate::cli::slack::findings(place).await);
            findings
        }
        Err(failure) => {
            let pid = place.settings.store_dir().join("gateway.lock");
            let mend = format!("kill \"$(cat {})\", then start it again", pid.display());
            vec![Finding::fault(CHECK, failure.sentence(), mend)]
        }
    }
}

/// The sandbox that the running gateway uses.
fn live_sandbox(live: &Value) -> Finding {
    let of = |name: &str| live.get("sandbox").and_then(|sandbox| sandbox.get(name));
    let line = of("line").and_then(Value::as_str).unwrap_or("unknown");
    match of("problem").and_then(Value::as_str) {
        Some(problem) => Finding::fault(SANDBOX, "there is none", problem),
        None => Finding::good(SANDBOX, line),
    }
}

/// What the sandbox that the running gateway uses cannot enforce.
fn live_weaknesses(live: &Value) -> Vec<Finding> {
    let weaknesses = live.get("sandbox").and_then(|sandbox| sandbox.get("weaknesses"));
    let weaknesses = weaknesses.and_then(Value::as_array).into_iter().flatten();
    weaknesses.filter_map(Value::as_str).map(weakness).collect()
}

fn weakness(weakness: &str) -> Finding {
    Finding::warning(SANDBOX, weakness, "use SANDBOX=docker, where that matters")
}

/// What the gateway says of the providers and of its disk.
fn live_faults(live: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let providers = live.get("broker").and_then(|broker| broker.get("providers"));
    for provider in providers.and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| provider.get(name).and_then(Value::as_str);
        if let (Some(name), Some(fault)) = (part("name"), part("fault")) {
            let finding = format!("the last call to {name} failed: {fault}");
            findings.push(Finding::warning(
                "model",
                finding,
                "look at the key in .env, and restart the gateway",
            ));
        }
    }
    findings.extend(live_channels(live));
    if live.get("disk_full").and_then(Value::as_bool).unwrap_or(false) {
        let mend = "make room; the gateway goes on by itself";
        findings.push(Finding::fault(
            "disk",
            "the gateway met a full disk and keeps nothing",
            mend,
        ));
    }
    findings
}

/// The channels that are not connected.
fn live_channels(live: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for channel in live.get("channels").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| channel.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, state) = (part("name"), part("state"));
        let finding = format!("{name} {state}");
        findings.push(if state.contains("refused: ") {
            let mend = format!("`hermitcrab {name} check` says more; set the tokens right in .env, and restart the gateway");
            Finding::fault("channel", finding, mend)
        } else if state.starts_with("up") {
            Finding::good("channel", finding)
        } else {
            Finding::warning("channel", finding, "the gateway goes on trying; its log says more")
        });
    }
    findings
}

/// The sandbox that a gateway would get here now: found, made ready and tried.
async fn probed_sandbox(place: &Place) -> Vec<Finding> {
    let trial = match TrialHome::unless_there_is_one(place) {
        Ok(trial) => trial,
        Err(error) => {
            let finding = format!("it cannot be tried: {error}");
            return vec![Finding::fault(
                SANDBOX,
                finding,
                "make room in the folder for temporary files",
            )];
        }
    };
    let settings = trial.as_ref().map_or(&place.settings, |trial| &trial.0);
    match select::choose(settings).await {
        Ok((sandbox, strength)) => {
            let mut findings = vec![Finding::good(SANDBOX, strength.description)];
            findings.extend(strength.weaknesses.iter().map(|said| weakness(said)));
            findings.extend(left_alive(&*sandbox).await);
            findings
        }
        Err(error) => vec![no_sandbox(&error)],
    }
}

/// The sandboxes that outlive a gateway which was killed.
async fn left_alive(sandbox: &dyn Sandbox) -> Option<Finding> {
    let listed = match sandbox.list().await {
        Ok(listed) => listed,
        Err(error) => {
            let finding = format!("it cannot be told whether sandboxes were left: {error}");
            return Some(Finding::note(SANDBOX, finding));
        }
    };
    let left: Vec<String> = listed
        .iter()
        .filter(|left| left.running)
        .map(|left| format!("{} (group {})", left.id, left.group))
        .collect();
    let named = left.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let many = text::count(u64::try_from(left.len()).unwrap_or(u64::MAX), "sandbox", "sandboxes");
    let live = if left.len() == 1 { "lives" } else { "live" };
    let finding = format!("{many} of a gateway that is gone still {live}: {named}");
    let mend = "`hermitcrab run` or `hermitcrab chat` goes on with them, or ends them";
    (!left.is_empty()).then(|| Finding::warning(SANDBOX, finding, mend))
}

fn no_sandbox(error: &SandboxError) -> Finding {
    if let Some((reason, mend)) = error.remedy() {
        return Finding::fault(SANDBOX, format!("there is none: {reason}"), mend);
    }
    let mend = "LOG_LEVEL=debug hermitcrab run shows more";
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    Finding::fault(SANDBOX, format!("{error}{}", cause.unwrap_or_default()), mend)
}

/// Settings with a home that lasts as long as a trial: a sandbox needs a store, and looking makes none.
struct TrialHome(Settings);

impl TrialHome {
    fn unless_there_is_one(place: &Place) -> io::Result<Option<Self>> {
        if place.settings.store_dir().is_dir() {
            return Ok(None);
        }
        let home =
            config::temporary_folder().join(format!("hermitcrab-{:016x}", fastrand::u64(..)));
        std::fs::DirBuilder::new().mode(0o700).create(&home)?;
        Ok(Some(Self(Settings { home, ..place.settings.clone() })))
    }
}

impl Drop for TrialHome {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0.home) {
            let home = self.0.home.display();
            output::aside(format_args!("{home} is left behind: {error}"));
        }
    }
}

/// Who thinks: every provider is asked for one word.
pub(super) async fn credentials(place: &Place) -> Vec<Finding> {
    const CHECK: &str = "model";
    let model = &place.settings.model;
    if model.anthropic.is_none() && model.bedrock.is_none() {
        return vec![Finding::warning(
            CHECK,
            "no credentials: the built-in demo answers",
            "put ANTHROPIC_API_KEY=… into .env; .env.example shows the other ways",
        )];
    }
    let broker = match Broker::new(model, Arc::new(NoLedger), clock::system()) {
        Ok(broker) => broker,
        Err(error) => return vec![Finding::fault(CHECK, error.to_string(), "mend it in .env")],
    };
    match broker.check().await {
        Ok(answer) => vec![Finding::good(CHECK, answer)],
        Err(error) => {
            let mend =
                "look at the key, the model's name and the network; .env.example has the names";
            vec![Finding::fault(CHECK, error.to_string(), mend)]
        }
    }
}

/// A trial call is counted for nobody.
struct NoLedger;

#[async_trait]
impl Ledger for NoLedger {
    async fn may_spend(&self, _group: &GroupName) -> Result<Allowance, String> {
        Ok(Allowance::Unlimited)
    }

    async fn record(&self, _client: &Client, _usage: Usage) {}

    async fn settle(&self) {}
}
