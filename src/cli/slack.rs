//! `hermitcrab slack`: what it takes to bring the assistant into a Slack workspace.

use super::args::{Format, SlackCommand};
use super::exit::{CONFIGURATION, FAILED, Failure};
use super::finding::{self, Finding};
use super::output;
use super::place::Place;
use crate::channel::slack::check::{self, Tried, Trouble};
use crate::channel::slack::manifest::{self, APPS};
use crate::channel::slack::scopes::APP_SCOPE;
use crate::config::SlackTokens;
use crate::model::ChatId;

const CHECK: &str = "slack";

/// Carries out one of its commands; `faults` are those of the settings, with which no gateway would start.
///
/// # Errors
/// When the output cannot be written, or `check` finds something at fault.
pub(super) async fn run(
    place: &Place,
    faults: Vec<Finding>,
    command: SlackCommand,
) -> Result<(), Failure> {
    match command {
        SlackCommand::Manifest { name, link } => {
            let name = name.unwrap_or_else(|| place.settings.assistant_name.clone());
            let manifest = manifest::manifest(&name);
            if link {
                output::line(manifest::link(&manifest))?;
            } else {
                output::json(&manifest)?;
            }
            let how =
                if link { "open this" } else { "paste this at Create New App, From a manifest" };
            output::aside(format_args!(
                "{how} ({APPS}) and install the app; then make an app-level token with the scope {APP_SCOPE}"
            ));
            Ok(())
        }
        SlackCommand::Check(format) => check(place, faults, format).await,
    }
}

async fn check(place: &Place, mut faults: Vec<Finding>, format: Format) -> Result<(), Failure> {
    if place.settings.slack.workspaces.is_empty() && faults.is_empty() {
        let mend = "put SLACK_BOT_TOKEN and SLACK_APP_TOKEN into .env; `hermitcrab slack manifest` is where that begins";
        let none = [Finding::fault(CHECK, "there are no tokens of Slack", mend)];
        return finding::tell(&none, format, CONFIGURATION);
    }
    let code = if faults.is_empty() { FAILED } else { CONFIGURATION };
    faults.extend(findings(place).await);
    finding::tell(&faults, format, code)
}

/// What Slack says of every pair of tokens; nothing where there is none.
pub(super) async fn findings(place: &Place) -> Vec<Finding> {
    let settings = &place.settings.slack;
    let (chats, mut findings) = match registered(place).await {
        Ok(chats) => (chats, Vec::new()),
        Err(failure) => {
            let finding =
                format!("which chats are registered is not known: {}", failure.sentence());
            (Vec::new(), vec![Finding::warning(CHECK, finding, "`hermitcrab doctor` says more")])
        }
    };
    let mut teams: Vec<(String, String)> = Vec::new();
    let tried = check::check(settings, &chats).await;
    for (tokens, tried) in settings.workspaces.iter().zip(tried) {
        findings.extend(in_words(tokens, &tried));
        let Ok(bot) = tried.bot else { continue };
        let (variable, _) = tokens.variables();
        if let Some((_, other)) = teams.iter().find(|(team, _)| *team == bot.team_id) {
            let finding = format!("{variable} is for {}, as {other} is", bot.team);
            findings.push(Finding::fault(CHECK, finding, "take one of the two pairs out of .env"));
        }
        teams.push((bot.team_id, variable));
    }
    findings
}

/// What became of trying a pair of tokens.
fn in_words(tokens: &SlackTokens, tried: &Tried) -> Vec<Finding> {
    let (bot_variable, app_variable) = tokens.variables();
    let mut findings = Vec::new();
    match &tried.bot {
        Ok(bot) => {
            let finding = format!("{} ({}): the bot is @{}", bot.team, bot.team_id, bot.name);
            findings.push(Finding::good(CHECK, finding));
            findings.extend(bot.lacks.iter().map(|(scope, why)| {
                let finding = format!("the app in {} lacks {scope}, {why}", bot.team);
                let mend = format!(
                    "add what it lacks at {APPS} (OAuth & Permissions, Bot Token Scopes), and install the app again"
                );
                Finding::fault(CHECK, finding, mend)
            }));
        }
        Err(trouble) => {
            let mend = format!("copy the token xoxb-… from {APPS} (Install App) into .env");
            findings.push(fault(&bot_variable, trouble, mend));
        }
    }
    findings.push(match &tried.connects {
        Ok(()) => Finding::good(CHECK, format!("{app_variable} opens connections")),
        Err(trouble) => {
            let mend = format!(
                "make a token xapp-… with the scope {APP_SCOPE} at {APPS} (Basic Information, App-Level Tokens)"
            );
            fault(&app_variable, trouble, mend)
        }
    });
    findings.extend(tried.absent_from.iter().map(|(chat, why)| {
        Finding::warning(CHECK, format!("{chat}: {why}"), "write /invite and the bot's name there")
    }));
    findings
}

/// What is wrong with the token in a variable; where Slack itself does not say so, another token would not help.
fn fault(variable: &str, trouble: &Trouble, another: String) -> Finding {
    let network = "look at the network, and at SLACK_API_URL if it is set; the token may be good";
    let mend = if trouble.is_refusal { another } else { network.to_owned() };
    Finding::fault(CHECK, format!("{variable}: {}", trouble.why), mend)
}

/// The chats that belong to groups.
async fn registered(place: &Place) -> Result<Vec<ChatId>, Failure> {
    /// The most chats of a group that are looked at.
    const MOST: usize = 50;
    let mut chats = Vec::new();
    if let Some(store) = place.open_store()? {
        for group in store.groups().await? {
            let of_group = store.chats_of(&group.name, MOST).await?;
            chats.extend(of_group.into_iter().map(|chat| chat.id));
        }
    }
    Ok(chats)
}
