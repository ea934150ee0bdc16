//! `hermitcrab group`: groups, listed and changed.

mod change;

use std::io::{self, BufRead, IsTerminal, Write};

use serde::Serialize;

use self::change::Wanted;
use super::args::{Format, GroupChange, GroupCommand};
use super::exit::Failure;
use super::output;
use super::place::Place;
use super::setup;
use crate::clock;
use crate::model::{Group, GroupName};
use crate::store::{ChatRow, Store};

/// A group as `group list --json` shows it. The names are part of the interface.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    needs_trigger: bool,
    trigger: String,
    chats: Vec<String>,
    web_allow: Vec<String>,
    daily_budget_micros: Option<u64>,
    mounts: Vec<MountEntry>,
    folder: String,
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
        GroupCommand::Add(change) => add(place, change).await,
        GroupCommand::Set(change) => set(place, change).await,
        GroupCommand::Remove { name, yes, format } => remove(place, &name, yes, format).await,
    }
}

async fn list(place: &Place, format: Format) -> Result<(), Failure> {
    let mut entries = Vec::new();
    if let Some(store) = place.open_store()? {
        let chats = store.chats().await?;
        for group in store.groups().await? {
            entries.push(entry(place, &group, &chats));
        }
    }
    if format.json {
        return Ok(output::json(&entries)?);
    }
    if entries.is_empty() {
        return Ok(output::line("No groups yet; `hermitcrab chat` begins with main.")?);
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
            or_none(&entry.chats),
            or_none(&entry.web_allow),
            entry.daily_budget_micros.map_or_else(|| "-".to_owned(), output::dollars),
            or_none(&mounts),
        ]
    };
    let header = ["GROUP", "TRIGGER", "CHATS", "WEB", "BUDGET/DAY", "MOUNTS"];
    Ok(output::table(header, entries.iter().map(columns).collect())?)
}

async fn add(place: &Place, change: GroupChange) -> Result<(), Failure> {
    let wanted = Wanted::read(&change)?;
    let store = match place.open_store()? {
        Some(store) => store,
        // Nothing is here yet: a first group may be added before the gateway has ever run.
        None => Store::open(&place.database(), clock::system())?,
    };
    for name in [GroupName::main(), change.name.clone()] {
        if store.group(&name).await?.is_none() {
            store.add_group(Group::new(name)).await?;
        } else if name == change.name {
            let sentence = format!(
                "there is a group {name} already; `hermitcrab group set {name}` changes it"
            );
            store.close().await;
            return Err(Failure::failed(sentence));
        }
    }
    setup::make_folder(&place.settings.groups_dir().join(change.name.as_str()))?;
    apply(&store, &change.name, &wanted).await?;
    confirm(place, &store, &change.name, "added", change.format).await
}

async fn set(place: &Place, change: GroupChange) -> Result<(), Failure> {
    let wanted = Wanted::read(&change)?;
    let store = place.open_store()?.ok_or_else(|| unknown(&change.name))?;
    apply(&store, &change.name, &wanted).await?;
    confirm(place, &store, &change.name, "changed", change.format).await
}

async fn apply(store: &Store, name: &GroupName, wanted: &Wanted) -> Result<(), Failure> {
    let group = store.group(name).await?.ok_or_else(|| unknown(name))?;
    let changed = wanted.apply_to(group.clone());
    if changed != group {
        store.set_group(changed).await?;
    }
    for chat in wanted.chats() {
        store.register_chat(chat, name).await?;
    }
    Ok(())
}

async fn confirm(
    place: &Place,
    store: &Store,
    name: &GroupName,
    done: &str,
    format: Format,
) -> Result<(), Failure> {
    let group = store.group(name).await?.ok_or_else(|| unknown(name))?;
    let entry = entry(place, &group, &store.chats().await?);
    store.close().await;
    if format.json {
        return Ok(output::json(&entry)?);
    }
    output::line(format_args!(
        "Group {name} {done}; `hermitcrab chat --group {name}` talks to it."
    ))?;
    Ok(())
}

async fn remove(place: &Place, name: &GroupName, yes: bool, format: Format) -> Result<(), Failure> {
    let store = place.open_store()?.ok_or_else(|| unknown(name))?;
    if store.group(name).await?.is_none() {
        return Err(unknown(name));
    }
    if !yes && !name.is_main() && !ask(name)? {
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

fn entry(place: &Place, group: &Group, chats: &[ChatRow]) -> Entry {
    let settings = &group.settings;
    let mounts = settings.additional_mounts.iter().map(|mount| MountEntry {
        host: mount.host_path.display().to_string(),
        name: mount.container_path.display().to_string(),
        readonly: mount.readonly,
    });
    let belongs = |chat: &&ChatRow| chat.group.as_ref() == Some(&group.name);
    let trigger = || format!("@{}", place.settings.assistant_name);
    Entry {
        name: group.name.to_string(),
        needs_trigger: group.needs_trigger(),
        trigger: group.trigger.clone().unwrap_or_else(trigger),
        chats: chats.iter().filter(belongs).map(|chat| chat.id.to_string()).collect(),
        web_allow: settings.web_allow.clone(),
        daily_budget_micros: settings.daily_budget_micros,
        mounts: mounts.collect(),
        folder: place.settings.groups_dir().join(group.name.as_str()).display().to_string(),
    }
}
