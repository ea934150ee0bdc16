//! `hermitcrab chat`: a conversation with the assistant, through the gateway that runs here or one of its own.

mod editor;
mod embedded;
mod input;
mod keyboard;
mod link;
mod once;
mod screen;
mod talk;

use std::io::{self, IsTerminal};

use self::embedded::Embedded;
use self::link::Link;
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
        Some("") => return Err(Failure::usage("the message is empty")),
        Some(text) => Some(text.to_owned()),
        // What comes through a pipe or from a file is one message.
        None if !io::stdin().is_terminal() => Some(input::read()?),
        None => None,
    };
    let consent = if options.yes { Consent::Given } else { Consent::Ask };
    let embedded = Embedded::unless_one_runs(&place).await?;
    let mut link = Link::new(place.socket(), options.group.clone(), options.thread);
    let done = match message {
        Some(text) => once::ask(&mut link, text, consent).await,
        None => talk::talk(&place, &mut link, &options.group, consent).await,
    };
    link.settle().await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    done
}
