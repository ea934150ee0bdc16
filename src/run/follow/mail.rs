//! What the agent asks, and what it is told: each request is dealt with until the agent has its reply.

use std::fmt::Display;

use protocol::{Reply, Request};
use tracing::{debug, warn};

use super::{Course, MAX_REQUESTS};
use crate::failpoint::fail_point;
use crate::ipc::{ClaimedFile, Mailbox, RejectReason, Rejected};
use crate::model::RequestId;
use crate::run::{Asker, Live, Running, Runs};

impl Course {
    /// Tells of a file in quarantine, once a run: an agent that leaves such files without end must not fill the log.
    fn tell_quarantine(&mut self, run: &Running<'_>, file: &dyn Display, reason: &RejectReason) {
        if !std::mem::replace(&mut self.rejected, true) {
            warn!(
                sandbox.id = %run.live.id, group.name = %run.live.group.name, %file, %reason,
                "a file of the agent was put into quarantine"
            );
        }
    }
}

impl Runs {
    /// Deals with a request; it stays claimed, and is dealt with again, until the store has taken it and the agent has
    /// its reply.
    pub(super) async fn request(&self, run: &Running<'_>, course: &mut Course, file: ClaimedFile) {
        if course.requests >= MAX_REQUESTS {
            course.too_many_requests = true;
            return;
        }
        let id = file.id.clone();
        let parsed = file.parse::<Request>();
        let reply = match &parsed {
            Ok(request) => self.requests.decide(&asker(run), &id, request.clone()).await,
            Err(reason) => Some(refusal(&id, &format!("the request cannot be read: {reason}"))),
        };
        fail_point!("run.request_decided");
        if !reply.is_some_and(|reply| answer(&run.live, &id, &reply)) {
            course.undecided = true;
            return;
        }
        fail_point!("run.request_answered");
        course.requests += 1;
        course.count(&file);
        match parsed {
            Ok(_) => forget(&run.live, file),
            Err(reason) => quarantine(run, course, file, &reason),
        }
    }

    pub(super) fn reject(&self, run: &Running<'_>, course: &mut Course, rejected: &Rejected) {
        course.tell_quarantine(run, &rejected.shown, &rejected.reason);
        if let Some(id) = &rejected.id {
            let text = format!("the file was refused: {}", rejected.reason);
            answer(&run.live, id, &refusal(id, &text));
        }
    }

    /// Removes what was rejected, where nobody waits for it: it may be large.
    pub(super) fn tidy(&self, run: &Running<'_>) {
        let ipc = run.live.ipc.clone();
        self.opener.tasks.spawn_blocking(move || while ipc.tidy().unwrap_or(false) {});
    }
}

/// Turns away what was left in a warm sandbox since its last run: it belongs to no conversation any more.
pub(in crate::run) fn turn_away(live: &Live) {
    for from in [Mailbox::Messages, Mailbox::Tasks, Mailbox::Progress] {
        let Ok(sweep) = live.ipc.sweep(from) else { continue };
        for file in sweep.files {
            if from != Mailbox::Progress {
                let id = file.id.clone();
                answer(live, &id, &refusal(&id, "it came when no run was under way"));
            }
            forget(live, file);
        }
    }
}

/// Leaves a reply; whether it lies there.
fn answer(live: &Live, id: &RequestId, reply: &Reply) -> bool {
    let left = live.ipc.put_reply(id, reply);
    left.inspect_err(|error| debug!(%error, sandbox.id = %live.id, "a reply could not be left"))
        .is_ok()
}

fn asker(run: &Running<'_>) -> Asker {
    Asker {
        group: run.live.group.name.clone(),
        run: run.claimed.run,
        conversation: run.claimed.conversation.clone(),
        from: run.claimed.from,
    }
}

fn refusal(id: &RequestId, text: &str) -> Reply {
    Reply { id: id.to_string(), ok: false, text: text.to_owned() }
}

pub(super) fn forget(live: &Live, file: ClaimedFile) {
    if let Err(error) = live.ipc.forget(file) {
        debug!(%error, sandbox.id = %live.id, "a claimed file is left behind");
    }
}

pub(super) fn quarantine(
    run: &Running<'_>,
    course: &mut Course,
    file: ClaimedFile,
    reason: &RejectReason,
) {
    course.count(&file);
    course.tell_quarantine(run, &file.id, reason);
    if let Err(error) = run.live.ipc.quarantine(file) {
        debug!(%error, sandbox.id = %run.live.id, "a file could not be put aside");
    }
}
