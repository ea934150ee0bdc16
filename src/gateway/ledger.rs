//! The broker's ledger in the store: what each group has spent today, and whether it may spend more.
//!
//! What cannot be written down, because the disk is full, is owed: kept in memory, tried again with every call, and as
//! long as it is owed no group with a budget may spend, since nobody could tell how much is left.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::broker::{Allowance, Client, Ledger};
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::model::{GroupName, SandboxId, Usage};
use crate::store::Store;
use crate::text::dollars;

/// Of how many sandboxes at most costs are owed; beyond, nobody may spend.
const MOST_OWED: usize = 1_000;

/// The ledger in the store.
pub(super) struct StoreLedger {
    store: Store,
    clock: SharedClock,
    zone: TimeZone,
    owed: Mutex<HashMap<(GroupName, SandboxId, Date), Usage>>,
}

impl StoreLedger {
    /// A ledger whose days are those of the settings' time zone.
    pub(super) fn new(store: Store, clock: SharedClock, settings: &Settings) -> Self {
        // The settings were checked when they were read.
        let zone = TimeZone::get(&settings.time_zone).unwrap_or(TimeZone::UTC);
        Self { store, clock, zone, owed: Mutex::default() }
    }

    fn today(&self) -> Date {
        self.clock.now().to_zoned(self.zone.clone()).date()
    }

    /// Puts down what is owed, as far as that goes now; returns of how many sandboxes something still is.
    async fn pay(&self) -> usize {
        let mut owed = self.owed.lock().await;
        let all: Vec<_> = owed.iter().map(|(key, usage)| (key.clone(), *usage)).collect();
        for (key, usage) in all {
            let (group, sandbox, day) = &key;
            // What the disk does not take now it does not take a moment later, either.
            if self.store.add_usage(group, sandbox, *day, usage).await.is_err() {
                break;
            }
            owed.remove(&key);
            info!(group.name = %group, "what model calls cost could be written down after all");
        }
        owed.len()
    }
}

#[async_trait]
impl Ledger for StoreLedger {
    async fn may_spend(&self, group: &GroupName) -> Result<Allowance, String> {
        let unknown = || "the gateway cannot tell what was spent today".to_owned();
        let Ok(Some(found)) = self.store.group(group).await else { return Err(unknown()) };
        let owed = self.pay().await;
        let Some(budget) = found.settings.daily_budget_micros else {
            return if owed < MOST_OWED { Ok(Allowance::Unlimited) } else { Err(unwritten()) };
        };
        if owed > 0 {
            return Err(unwritten());
        }
        let Ok(spent) = self.store.usage_on(self.today()).await else { return Err(unknown()) };
        let spent =
            spent.iter().find(|(name, _)| name == group).map_or(0, |(_, usage)| usage.cost_micros);
        match budget.saturating_sub(spent) {
            0 => Err(format!("the group's budget of {} for today is used up", dollars(budget))),
            left => Ok(Allowance::Budget { left }),
        }
    }

    async fn record(&self, client: &Client, usage: Usage) {
        let (Client { group, sandbox, .. }, day) = (client, self.today());
        let Err(error) = self.store.add_usage(group, sandbox, day, usage).await else { return };
        let mut owed = self.owed.lock().await;
        if owed.is_empty() {
            warn!(%error, group.name = %group, "what a model call cost could not be written down; groups with a budget wait until it is");
        }
        *owed.entry((group.clone(), sandbox.clone(), day)).or_default() += usage;
    }

    async fn settle(&self) {
        if self.pay().await == 0 {
            return;
        }
        for ((group, _, day), usage) in &*self.owed.lock().await {
            let (cost_micros, requests) = (usage.cost_micros, usage.requests);
            error!(group.name = %group, %day, cost_micros, requests, "what model calls cost was not written down");
        }
    }
}

fn unwritten() -> String {
    "the gateway cannot write down what was spent (is the disk full?), so it cannot keep the budget"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::model::Group;

    fn client(group: &str) -> Client {
        let (group, sandbox) = (group.parse().unwrap(), "s1".parse().unwrap());
        Client { group, sandbox, web_allow: Vec::new() }
    }

    fn cost(cost_micros: u64) -> Usage {
        Usage { requests: 1, cost_micros, ..Usage::default() }
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_owed_and_no_budget_goes_on_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("store/messages.db"), clock::system()).unwrap();
        let (thrifty, free) = (client("thrifty"), client("free"));
        for (client, budget) in [(&thrifty, Some(100)), (&free, None)] {
            let mut group = Group::new(client.group.clone());
            group.settings.daily_budget_micros = budget;
            store.add_group(group, Vec::new()).await.unwrap();
        }
        let zone = TimeZone::UTC;
        let ledger = StoreLedger {
            store: store.clone(),
            clock: clock::system(),
            zone,
            owed: Mutex::default(),
        };
        assert_eq!(ledger.may_spend(&thrifty.group).await, Ok(Allowance::Budget { left: 100 }));
        store.refuse("usage", true).await;
        ledger.record(&thrifty, cost(30)).await;
        ledger.record(&thrifty, cost(30)).await;
        ledger.record(&free, cost(5)).await;
        assert_eq!(ledger.may_spend(&thrifty.group).await, Err(unwritten()));
        assert_eq!(ledger.may_spend(&free.group).await, Ok(Allowance::Unlimited));
        ledger.settle().await;
        assert_eq!(ledger.owed.lock().await.len(), 2);

        store.refuse("usage", false).await;
        assert_eq!(ledger.may_spend(&thrifty.group).await, Ok(Allowance::Budget { left: 40 }));
        let spent = store.usage_on(ledger.today()).await.unwrap();
        let spent: Vec<_> = spent
            .iter()
            .map(|(name, usage)| (name.as_str(), usage.requests, usage.cost_micros))
            .collect();
        assert_eq!(spent, [("free", 1, 5), ("thrifty", 2, 60)]);
        ledger.record(&thrifty, cost(40)).await;
        assert!(ledger.may_spend(&thrifty.group).await.unwrap_err().contains("is used up"));
    }
}
