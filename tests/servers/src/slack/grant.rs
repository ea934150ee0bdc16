//! What is lent for a time: tickets for sockets, triggers for views, response URLs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::world::World;

/// How long a trigger may open a view, as Slack documents it.
const TRIGGER_TTL: Duration = Duration::from_secs(3);
/// How long and how often a response URL may be used, as Slack documents it.
const RESPONSE_TTL: Duration = Duration::from_secs(30 * 60);
const RESPONSE_USES: u32 = 5;

/// What is lent; whatever is over is forgotten with the next loan.
#[derive(Debug, Default)]
pub(super) struct Grants {
    tickets: HashMap<String, Instant>,
    triggers: HashMap<String, Instant>,
    responses: HashMap<String, Response>,
}

/// Where a response URL leads.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) channel: String,
    pub(super) user: String,
    /// The message with the button, which a response may replace.
    pub(super) message_ts: Option<String>,
    uses: u32,
    since: Instant,
}

impl World {
    /// The address of a socket, good for one connection within the ticket's time.
    pub(super) fn lend_ticket(&mut self) -> String {
        let (ttl, ticket) = (self.options.ticket_ttl, format!("ticket-{}", self.next_id()));
        self.grants.tickets.retain(|_, since| since.elapsed() < ttl);
        self.grants.tickets.insert(ticket.clone(), Instant::now());
        let authority = self.base.trim_start_matches("http://");
        format!("ws://{authority}/link/?ticket={ticket}&app_id={}", self.options.app_id)
    }

    /// Takes a ticket; false when it is unknown, used or too old.
    pub(super) fn take_ticket(&mut self, ticket: &str) -> bool {
        let since = self.grants.tickets.remove(ticket);
        since.is_some_and(|since| since.elapsed() < self.options.ticket_ttl)
    }

    /// A trigger, good for one view within three seconds.
    pub(super) fn lend_trigger(&mut self) -> String {
        let trigger = format!("{}.trigger", self.next_id());
        // An old one is kept a while, because the answer to it is another than to an unknown one.
        self.grants.triggers.retain(|_, since| since.elapsed() < RESPONSE_TTL);
        self.grants.triggers.insert(trigger.clone(), Instant::now());
        trigger
    }

    /// Takes a trigger.
    ///
    /// # Errors
    /// The code with which Slack refuses it.
    pub(super) fn take_trigger(&mut self, trigger: &str) -> Result<(), &'static str> {
        match self.grants.triggers.remove(trigger) {
            None => Err("invalid_trigger_id"),
            Some(since) if since.elapsed() >= TRIGGER_TTL => Err("expired_trigger_id"),
            Some(_) => Ok(()),
        }
    }

    /// A response URL.
    pub(super) fn lend_response(&mut self, channel: &str, user: &str, ts: Option<&str>) -> String {
        let id = format!("r{}", self.next_id());
        self.grants.responses.retain(|_, response| response.since.elapsed() < RESPONSE_TTL);
        let response = Response {
            channel: channel.to_owned(),
            user: user.to_owned(),
            message_ts: ts.map(str::to_owned),
            uses: 0,
            since: Instant::now(),
        };
        self.grants.responses.insert(id.clone(), response);
        format!("{}/hook/{id}", self.base)
    }

    /// Uses a response URL once.
    ///
    /// # Errors
    /// The words with which Slack refuses it.
    pub(super) fn use_response(&mut self, id: &str) -> Result<Response, &'static str> {
        let response = self.grants.responses.get_mut(id).ok_or("expired_url")?;
        if response.since.elapsed() >= RESPONSE_TTL {
            return Err("expired_url");
        }
        if response.uses == RESPONSE_USES {
            return Err("used_url");
        }
        response.uses += 1;
        Ok(response.clone())
    }
}
