//! `hermitcrab group`: groups, listed and changed.

mod change;
mod chats;

use std::io::{self, BufRead, IsTerminal, Write};

use serde::Serialize;

use self::change::Wanted;
use super::args::{Format, GroupChange, GroupCommand, GroupSet};
use super::denied::{self, Denied};
use super::exit::Failure;
use super::output;
use super::place::Place;
use super::setup;
use crate::clock;
use crate::model::{Group, GroupName};
use crate::store::{Store, StoreError};
use crate::text;

/// The most chats of a group that are listed.
const MOST_CHATS: usize = 1000;

/// A group as `group list --json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    needs_trigger: bool,
    trigger: String,
    engage: &'static str,
    allowed_senders: Vec<String>,
    chats: Vec<String>,
    web_allow: Vec<String>,
    daily_budget_micros: Option<u64>,
    mounts: Vec<MountEntry>,
    folder: String,
    denied: Vec<Denied>,
}

#[derive(Debug, Serialize)]
struct MountEntry {
    host: String,
    name: String,
    readonly: bool,
}

/// Lists or changes groups.
///
/// # Errors
/// When the store refuses, or the output cannot be written.
pub(super) async fn run(place: &Place, command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::List(format) => list(place, format).await,
        GroupCommand::Chats(format) => chats::list(place, format).await,
        GroupCommand::Add(change) => add(place, change).await,
        GroupCommand::Set(change) => set(place, change).await,
        GroupCommand::Remove { name, yes, format } => {
            let consent = if yes { Consent::Given } else { Consent::ToBeAskedFor };
            remove(place, &name, consent, format).await
        }
    }
}

async fn list(place: &Place, format: Format) -> Result<(), Failure> {
    let mut entries = Vec::new();
    let store = place.open_store()?;
    if let Some(store) = &store {
        for group in store.groups().await? {
            entries.push(entry(place, store, &group).await?);
        }
    }
    if format.json {
        return Ok(output::json(&entries)?);
    }
    if store.is_none() {
        return Ok(output::line(place.nothing_here())?);
    }
    let or_none =
        |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(" ") };
    let columns = |entry: &Entry| {
        let mounts: Vec<String> = entry
            .mounts
            .iter()
            .map(|mount| {
                let access = if mount.readonly { "" } else { ":rw" };
                format!("{}:{}{access}", mount.host, mount.name)
            })
            .collect();
        [
            entry.name.clone(),
            if entry.needs_trigger { entry.trigger.clone() } else { "-".to_owned() },
            entry.engage.to_owned(),
            or_none(&entry.allowed_senders),
            or_none(&entry.chats),
            or_none(&entry.web_allow),
            entry.daily_budget_micros.map_or_else(|| "-".to_owned(), text::dollars),
            or_none(&mounts),
        ]
    };
    let header = ["GROUP", "TRIGGER", "ENGAGE", "SENDERS", "CHATS", "WEB", "BUDGET/DAY", "MOUNTS"];
    Ok(output::table(header, entries.iter().map(columns).collect())?)
}

async fn add(place: &Place, change: GroupChange) -> Result<(), Failure> {
    let wanted = Wanted::of_new(&change)?;
    let store = match place.open_store()? {
        Some(store) => store,
        // Nothing is here yet: a first group may be added before the gateway has ever run.
        None => Store::open(&place.database(), clock::system())?,
    };
    let name = &change.name;
    let added = async {
        setup::make_home(place)?;
        if !name.is_main() && store.group(&GroupName::main()).await?.is_none() {
            match store.add_group(Group::new(GroupName::main()), Vec::new()).await {
                // A gateway that starts just now may have been first.
                Ok(()) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let group = wanted.apply_to(Group::new(name.clone())).map_err(Failure::failed)?;
        store.add_group(group, wanted.chats.added).await.map_err(|error| match error {
            StoreError::Conflict(reason) => {
                Failure::failed(format!("{reason}; `hermitcrab group set {name}` changes it"))
            }
            error => refused(error),
        })?;
        setup::make_group(place, name)?;
        confirm(place, &store, name, "added", change.format).await
    };
    let added = added.await;
    store.close().await;
    added
}

async fn set(place: &Place, options: GroupSet) -> Result<(), Failure> {
    let wanted = Wanted::of_existing(&options)?;
    let change = options.change;
    let name = &change.name;
    if wanted.is_empty() {
        return Err(Failure::usage(format!(
            "say what to change in the group {name}: --chat, --remove-chat, --trigger, --no-trigger, --engage, \
             --allow-sender, --forbid-sender, --allow-web, --budget or --mount; `hermitcrab group set --help` has examples"
        )));
    }
    let store = place.open_store()?.ok_or_else(|| unknown(name))?;
    let changed = async {
        store.group(name).await?.ok_or_else(|| unknown(name))?;
        let chats = wanted.chats.clone();
        let as_wanted = move |group| wanted.apply_to(group);
        store.change_group(name, chats, as_wanted).await.map_err(refused)?;
        confirm(place, &store, name, "changed", change.format).await
    };
    let changed = changed.await;
    store.close().await;
    changed
}

/// What the store refuses, for a person: a chat of another group above all, for whoever speaks there is answered out of
/// that group's memory.
fn refused(error: StoreError) -> Failure {
    match error {
        StoreError::Taken { chat, owner } => Failure::failed(format!(
            "{chat} belongs to the group {owner}; take it from there first: \
             hermitcrab group set {owner} --remove-chat {chat}"
        )),
        StoreError::Conflict(reason) => Failure::failed(reason),
        error => error.into(),
    }
}

async fn confirm(
    place: &Place,
    store: &Store,
    name: &GroupName,
    done: &str,
    format: Format,
) -> Result<(), Failure> {
    let group = store.group(name).await?.ok_or_else(|| unknown(name))?;
    let entry = entry(place, store, &group).await?;
    if format.json {
        return Ok(output::json(&entry)?);
    }
    output::line(format_args!(
        "Group {name} {done}; `hermitcrab chat --group {name}` talks to it."
    ))?;
    if !entry.allowed_senders.is_empty() {
        output::line(format_args!(
            "Only {} may wake the assistant in its chats, and you in the terminal; what others say is read as context.",
            entry.allowed_senders.join(", ")
        ))?;
    }
    if name.is_main() && entry.chats.iter().any(|chat| !chat.starts_with("terminal:")) {
        output::aside(format_args!(
            "main may do what no other group may; whoever writes in its chats has that in hand, unless --allow-sender names who may"
        ));
    }
    for denied in &entry.denied {
        output::aside(format_args!("{}; {}", denied.finding, denied.mend));
    }
    Ok(())
}

/// Whether the owner has agreed to what cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consent {
    Given,
    ToBeAskedFor,
}

async fn remove(
    place: &Place,
    name: &GroupName,
    consent: Consent,
    format: Format,
) -> Result<(), Failure> {
    let store = place.open_store()?.ok_or_else(|| unknown(name))?;
    if store.group(name).await?.is_none() {
        return Err(unknown(name));
    }
    if consent == Consent::ToBeAskedFor && !name.is_main() && !ask(name)? {
        return Err(Failure::failed("nothing was removed"));
    }
    store.remove_group(name).await?;
    store.close().await;
    if format.json {
        return Ok(output::json(&serde_json::json!({ "removed": name.as_str() }))?);
    }
    let folder = place.settings.groups_dir().join(name.as_str());
    output::line(format_args!("Group {name} removed; its folder {} stays.", folder.display()))?;
    Ok(())
}

/// Asks whether to remove the group; only a person can be asked.
fn ask(name: &GroupName) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "say --yes to remove the group {name} without being asked"
        )));
    }
    let mut out = io::stdout().lock();
    write!(out, "Remove the group {name}? Its chats will no longer be answered. [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn unknown(name: &GroupName) -> Failure {
    Failure::failed(format!(
        "there is no group {name}; `hermitcrab group list` shows those there are, `hermitcrab group add {name}` makes it"
    ))
}

async fn entry(place: &Place, store: &Store, group: &Group) -> Result<Entry, Failure> {
    let settings = &group.settings;
    let mounts = settings.additional_mounts.iter().map(|mount| MountEntry {
        host: mount.host_path.display().to_string(),
        name: mount.container_path.display().to_string(),
        readonly: mount.readonly,
    });
    let chats = store.chats_of(&group.name, MOST_CHATS).await?;
    let mut chats: Vec<String> = chats.iter().map(|chat| chat.id.to_string()).collect();
    chats.sort_unstable();
    let trigger = || format!("@{}", place.settings.assistant_name);
    Ok(Entry {
        name: group.name.to_string(),
        needs_trigger: group.needs_trigger(),
        trigger: group.trigger.clone().unwrap_or_else(trigger),
        engage: settings.engage.as_str(),
        allowed_senders: settings.allowed_senders.clone(),
        chats,
        web_allow: settings.web_allow.clone(),
        daily_budget_micros: settings.daily_budget_micros,
        mounts: mounts.collect(),
        folder: place.settings.groups_dir().join(group.name.as_str()).display().to_string(),
        denied: denied::to(&place.settings, group),
    })
}
