//! `hermitcrab chat`: a conversation with the assistant, through the gateway that runs here or one of its own.

mod answering;
mod editor;
mod farewell;
mod greeting;
mod history;
mod host;
mod input;
mod input_line;
mod keyboard;
mod line;
mod link;
mod once;
mod progress;
mod sandbox;
mod screen;
mod signals;
mod talk;
mod width;
mod wrap;

use std::io::{self, IsTerminal};

use self::host::Host;
use self::link::Link;
use self::signals::Signals;
use super::args::ChatOptions;
use super::exit::Failure;
use super::place::Place;
use super::setup::Consent;

/// Chats, or asks once.
///
/// # Errors
/// A sentence why there is no gateway, or no answer.
pub(super) async fn run(place: Place, options: ChatOptions) -> Result<(), Failure> {
    let message = match options.message.as_deref() {
        Some("-") => Some(input::read()?),
        Some(text) if text.trim().is_empty() => {
            return Err(Failure::usage("the message is empty"));
        }
        Some(text) => Some(text.to_owned()),
        // What comes through a pipe or from a file is one message.
        None if !io::stdin().is_terminal() => Some(input::read()?),
        None => None,
    };
    let consent = if options.yes { Consent::Given } else { Consent::Ask };
    let mut signals = Signals::listen()?;
    let mut host = tokio::select! {
        host = Host::find(place.clone()) => host?,
        code = signals.next() => return Err(Failure::said(code)),
    };
    let mut link = Link::new(place.socket(), options.group.clone(), options.thread);
    let away = link.away();
    let talks = message.is_none();
    let conversation = async {
        match message {
            Some(text) => once::ask(&mut link, text, consent).await,
            None => talk::talk(&place, &mut link, &options.group, consent).await,
        }
    };
    let done = tokio::select! {
        done = conversation => done,
        failure = host.stand_in(away) => Err(failure),
        code = signals.next() => Err(Failure::said(code)),
    };
    if talks {
        farewell::part(&mut link).await;
    } else {
        // Whoever asked once has been told what became of that.
        link.settle().await;
    }
    host.stop(&mut signals).await;
    done
}
