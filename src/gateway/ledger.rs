//! The broker's ledger in the store: what each group has spent today, and whether it may spend more.

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tracing::warn;

use crate::broker::{Allowance, Client, Ledger};
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::model::{GroupName, Usage};
use crate::store::Store;
use crate::text::dollars;

/// The ledger in the store.
pub(super) struct StoreLedger {
    store: Store,
    clock: SharedClock,
    zone: TimeZone,
}

impl StoreLedger {
    /// A ledger whose days are those of the settings' time zone.
    pub(super) fn new(store: Store, clock: SharedClock, settings: &Settings) -> Self {
        // The settings were checked when they were read.
        let zone = TimeZone::get(&settings.time_zone).unwrap_or(TimeZone::UTC);
        Self { store, clock, zone }
    }

    fn today(&self) -> jiff::civil::Date {
        self.clock.now().to_zoned(self.zone.clone()).date()
    }
}

#[async_trait]
impl Ledger for StoreLedger {
    async fn may_spend(&self, group: &GroupName) -> Result<Allowance, String> {
        let unknown = "the gateway cannot tell what was spent today".to_owned();
        let Ok(Some(found)) = self.store.group(group).await else { return Err(unknown) };
        let Some(budget) = found.settings.daily_budget_micros else {
            return Ok(Allowance::Unlimited);
        };
        let Ok(spent) = self.store.usage_on(self.today()).await else { return Err(unknown) };
        let spent =
            spent.iter().find(|(name, _)| name == group).map_or(0, |(_, usage)| usage.cost_micros);
        if spent < budget {
            return Ok(Allowance::Budget);
        }
        Err(format!("the group's budget of {} for today is used up", dollars(budget)))
    }

    async fn record(&self, client: &Client, usage: Usage) {
        let Client { group, sandbox, .. } = client;
        if let Err(error) = self.store.add_usage(group, sandbox, self.today(), usage).await {
            warn!(%error, group.name = %group, "what a model call cost was not written down");
        }
    }
}
