//! How a conversation begins: who listens, and whether there is a sandbox for the agent.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::link::Event;
use super::sandbox::SandboxState;
use super::talk::Talk;
use crate::channel::terminal::wire::WelcomeInfo;
use crate::cli::exit::{Failure, UNAVAILABLE};
use crate::cli::setup::{self, Consent};

/// How often the gateway is asked how it is.
const LOOK: Duration = Duration::from_millis(120);
/// How long the greeting waits for the gateway to have looked for a sandbox.
const LOOKING: Duration = Duration::from_secs(5);
/// How long the gateway may take to find a sandbox that was just installed.
const MENDING: Duration = Duration::from_secs(20);

/// Waits for the gateway's welcome and for what it finds out about sandboxes, and says where one is.
///
/// # Errors
/// When the gateway does not want this chat, or the terminal is gone.
pub(super) async fn greet(talk: &mut Talk<'_>, consent: Consent) -> Result<(), Failure> {
    let mut give_up_at = Instant::now() + LOOKING;
    let mut offered = false;
    let mut welcome = None;
    let mut sandbox = SandboxState::default();
    while Instant::now() < give_up_at {
        match timeout(LOOKING, talk.link.next()).await {
            Ok(Event::Welcome(info)) => welcome = Some(info),
            Ok(Event::Refused(reason)) => return Err(Failure::failed(reason)),
            Ok(Event::Answer(answer)) => talk.early.push(answer),
            Ok(Event::State(state)) => {
                sandbox = SandboxState::read(&state);
                if sandbox.ready {
                    break;
                }
                if let Some(problem) = &sandbox.problem
                    && !std::mem::replace(&mut offered, true)
                {
                    if !mend(talk, problem, consent).await? {
                        break;
                    }
                    give_up_at = Instant::now() + MENDING;
                }
                sleep(LOOK).await;
            }
            Ok(_) => continue,
            Err(_elapsed) => {}
        }
        talk.link.ask_state().await;
    }
    match welcome {
        Some(info) => introduce(talk, &info, &sandbox),
        None => Err(Failure::new(UNAVAILABLE, "the gateway does not answer")),
    }
}

/// Offers to install what a sandbox needs; whether it was.
async fn mend(talk: &mut Talk<'_>, problem: &str, consent: Consent) -> Result<bool, Failure> {
    let Some(command) = setup::remedy(problem) else { return Ok(false) };
    talk.screen
        .note("The agent works in a sandbox, and this machine has none that can be used.")?;
    talk.keyboard.lend();
    let installed = async {
        if consent == Consent::Ask && !setup::ask(&command)? {
            return Ok(false);
        }
        setup::install(&command).await.map(|()| true)
    };
    let installed = installed.await;
    talk.keyboard.hold();
    match installed {
        Ok(installed) => Ok(installed),
        Err(failure) => {
            talk.screen.note(failure.sentence())?;
            Ok(false)
        }
    }
}

fn introduce(
    talk: &mut Talk<'_>,
    info: &WelcomeInfo,
    sandbox: &SandboxState,
) -> Result<(), Failure> {
    talk.needs = info.needs_trigger.then(|| info.trigger.clone());
    talk.lacks_sandbox = !sandbox.ready;
    let (assistant, group) = (&info.assistant, talk.group);
    let mut greeting =
        format!("{assistant} listens in the group {group}. /help shows what else there is.");
    if let Some(trigger) = &talk.needs {
        greeting.push_str(&format!("\nHere only messages with {trigger} in them are answered."));
    }
    greeting.push('\n');
    greeting.push_str(&match &sandbox.problem {
        Some(problem) => lacking(problem),
        None if sandbox.ready => format!("Sandbox: {}", sandbox.line),
        None => "The sandbox is still being prepared.".to_owned(),
    });
    Ok(talk.screen.note(&greeting)?)
}

/// That there is no sandbox, and what that means.
fn lacking(problem: &str) -> String {
    format!(
        "No sandbox for the agent yet: {problem}.\nWhat you say is kept, and answered once there is one."
    )
}
