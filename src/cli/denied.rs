//! What a group asks for and does not get, and what mends that: told when it is asked for, and by `doctor`.

use serde::Serialize;

use crate::broker;
use crate::config::Settings;
use crate::model::Group;
use crate::sandbox::spec;

/// Something that a group does not get, as `--json` shows it. The names are part of the interface.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Denied {
    /// What, of which group, and why.
    pub(super) finding: String,
    /// What mends it.
    pub(super) mend: String,
}

/// Everything that a group does not get by these settings.
pub(super) fn to(settings: &Settings, group: &Group) -> Vec<Denied> {
    let name = &group.name;
    let list = settings.sandbox.mount_allowlist.display();
    let mut denied: Vec<Denied> = spec::refused_mounts(settings, group)
        .into_iter()
        .map(|refusal| Denied {
            finding: format!("group {name}: {refusal}"),
            mend: format!(
                "allow it in {list}, as the README shows, or drop all mounts of the group: hermitcrab group set {name} --mount -"
            ),
        })
        .collect();
    if group.settings.daily_budget_micros.is_some() && !broker::is_priced(&settings.model) {
        let model = &settings.model.model;
        denied.push(Denied {
            finding: format!(
                "group {name}: its model calls are refused, because it has a daily budget and the price of {model} \
                 is not known here"
            ),
            mend: format!(
                "name a model with a known price in ANTHROPIC_MODEL, or lift the budget: \
                 hermitcrab group set {name} --budget -"
            ),
        });
    }
    denied
}
