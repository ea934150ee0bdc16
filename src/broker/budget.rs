//! Keeps calls that are under way at the same time from spending the same rest of a budget.
//!
//! Each call of a group with a budget reserves beforehand what it may cost at most; what it did cost is put down
//! before that is given back. A call that does not fit into the rest beside those before it waits for them. One that
//! does not even fit alone is let through alone, or the rest of a budget could never be used: so a budget is exceeded
//! by a part of one call at most, never by as many as can be made at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::reply::Reply;
use super::request::ModelRequest;
use super::{Allowance, Shared, price};
use crate::model::{GroupName, Usage};

/// How long a call waits for those before it.
const PATIENCE: Duration = Duration::from_secs(120);
/// After how long a call may try again that has waited in vain.
const RETRY: Duration = Duration::from_secs(10);
/// Bytes of a request that are taken for one token beforehand; in most prompts it is rather four.
const BYTES_PER_TOKEN: usize = 3;

/// What calls that are under way may yet cost.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// In the order in which they were made; there are no more than connections.
    open: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    group: GroupName,
    micros: u64,
}

/// What one call may yet cost; given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    of: Arc<Reservations>,
    ticket: u64,
    group: GroupName,
}

/// Reserves what a call of a group with a budget may cost, as soon as that fits; nothing for a group without.
pub(super) async fn reserve(
    shared: &Shared,
    group: &GroupName,
    call: &ModelRequest,
) -> Result<Option<Reservation>, Reply> {
    let most = most_micros(call)?;
    let reservation = Reservations::reserve(&shared.reservations, group, most);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let released = shared.reservations.released.notified();
        // In this order: a call that ends in between is then counted twice, and never not at all.
        let ahead = reservation.ahead();
        let allowance = shared.ledger.may_spend(group).await;
        let Allowance::Budget { left } = allowance.map_err(|no| Reply::refused(&no))? else {
            return Ok(None);
        };
        if ahead == 0 || ahead.saturating_add(most) <= left {
            return Ok(Some(reservation));
        }
        if tokio::time::timeout_at(deadline, released).await.is_err() {
            let (status, kind) = (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error");
            let message = "other calls of this group may use up what is left of its budget; it may try again when \
                           they have ended";
            return Err(Reply::error(status, kind, message).retry_after(RETRY));
        }
    }
}

/// What a call may cost at most, in millionths of a dollar, by an estimate of its input that is rather too high.
fn most_micros(call: &ModelRequest) -> Result<u64, Reply> {
    let Some(Ok(output_tokens)) = call.member::<u64>("max_tokens") else {
        let message =
            "the body's \"max_tokens\" is missing, and without it a budget cannot be kept";
        return Err(Reply::error(StatusCode::BAD_REQUEST, "invalid_request_error", message));
    };
    let input = call.size().div_ceil(BYTES_PER_TOKEN);
    let usage = Usage {
        output_tokens,
        // All of it new to the cache is the dearest way to be read.
        cache_write_tokens: u64::try_from(input).unwrap_or(u64::MAX),
        ..Usage::default()
    };
    Ok(price::cost_micros(&call.model, &usage, 0))
}

impl Reservations {
    fn reserve(this: &Arc<Self>, group: &GroupName, micros: u64) -> Reservation {
        let mut state = this.lock();
        state.last += 1;
        let ticket = state.last;
        state.open.push(Entry { ticket, group: group.clone(), micros });
        Reservation { of: Arc::clone(this), ticket, group: group.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one push or one removal: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// What the group's calls before this one may yet cost.
    fn ahead(&self) -> u64 {
        let state = self.of.lock();
        let ahead = state.open.iter().filter(|entry| entry.ticket < self.ticket);
        ahead
            .filter(|entry| entry.group == self.group)
            .fold(0, |sum, entry| sum.saturating_add(entry.micros))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.of.lock().open.retain(|entry| entry.ticket != self.ticket);
        self.of.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::super::request::Endpoint;
    use super::*;

    #[test]
    fn only_calls_of_the_same_group_from_before_are_ahead() {
        let all = Arc::new(Reservations::default());
        let (main, other) = (GroupName::main(), "other".parse().unwrap());
        let first = Reservations::reserve(&all, &main, 5);
        let _other = Reservations::reserve(&all, &other, 100);
        let second = Reservations::reserve(&all, &main, 7);
        let third = Reservations::reserve(&all, &main, u64::MAX);
        assert_eq!((first.ahead(), second.ahead(), third.ahead()), (0, 5, 12));
        drop(first);
        assert_eq!((second.ahead(), third.ahead()), (0, 7));
    }

    #[test]
    fn a_call_may_cost_its_input_and_all_the_output_it_asks_for() {
        let most = |body: String| {
            let body = Bytes::from(body);
            most_micros(
                &ModelRequest::parse(
                    Endpoint::Messages,
                    &HeaderMap::new(),
                    body,
                    "claude-sonnet-4-5",
                )
                .unwrap(),
            )
        };
        let text = "x".repeat(3_000_000 - 34);
        let body = format!(r#"{{"max_tokens":1000000,"system":"{text}"}}"#);
        assert_eq!(body.len(), 3_000_000);
        assert_eq!(most(body).unwrap(), 15_000_000 + 3_750_000);
        for body in ["{}", r#"{"max_tokens":"9"}"#, r#"{"max_tokens":-1}"#] {
            assert_eq!(
                most(body.to_owned()).unwrap_err().status,
                StatusCode::BAD_REQUEST,
                "{body}"
            );
        }
    }
}
