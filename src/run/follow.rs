//! Following a run: what comes out of its sandbox, until it ends.
//!
//! Everything that is read here was written within reach of an agent that is not trusted. Requests are dealt with
//! before the outcome that was written after them, so that what the agent says arrives in the order in which it was
//! said.

use futures_util::FutureExt;
use protocol::{Done, Input, Progress, Sign};
use tokio::time::Instant;
use tracing::warn;

use super::outcome::{self, End, Excess};
use super::{Running, Runs};
use crate::ipc::{ClaimedFile, IpcError, Mailbox};
use crate::model::{Activity, Seq};
use crate::sandbox::Exit;
use mail::{forget, quarantine};

pub(super) use mail::turn_away;

mod hand_over;
mod mail;

/// What a file counts for at least, in bytes of output: many small ones are much as well.
const FILE_COST: u64 = 1024;
/// The most requests of one run.
const MAX_REQUESTS: usize = 200;

/// What following a run came to.
pub(super) struct Followed {
    /// How it ended.
    pub(super) end: End,
    /// The last message that the run dealt with.
    pub(super) through: Seq,
    /// The claimed outcome: forgotten only once what came of it is committed.
    pub(super) file: Option<ClaimedFile>,
}

/// What is known of a run while it is followed.
struct Course {
    last_sign: Instant,
    output: u64,
    /// The place up to which messages have been left for the agent for sure.
    left: Seq,
    /// The furthest place up to which they may have been: an earlier gateway may have left more.
    latest: Seq,
    cancelled_at: Option<Instant>,
    file: Option<ClaimedFile>,
    /// How many requests were dealt with, and whether there were more than a run may make.
    requests: usize,
    too_many_requests: bool,
    /// A request waits for the store, or its reply for room: the run has not ended before.
    undecided: bool,
    rejected: bool,
}

impl Course {
    /// Counts what the agent wrote towards what a run may produce.
    fn count(&mut self, file: &ClaimedFile) {
        self.output += FILE_COST.max(file.bytes.len() as u64);
    }
}

/// What one look at the ipc directory came to.
#[derive(Default)]
struct Seen {
    more: bool,
    end: Option<End>,
}

impl Seen {
    fn end(end: End) -> Self {
        Self { more: false, end: Some(end) }
    }
}

/// What to do next.
enum Step {
    Changed,
    Exited,
    Cancel,
    Halt,
    Grown(Excess),
    Time,
}

impl Runs {
    /// Follows a run until it has ended.
    pub(super) async fn follow(&self, run: &mut Running<'_>) -> Followed {
        let claimed = run.claimed;
        let mut course = Course {
            last_sign: Instant::now(),
            output: 0,
            left: claimed.begun,
            latest: claimed.through,
            cancelled_at: None,
            file: None,
            requests: 0,
            too_many_requests: false,
            undecided: false,
            rejected: false,
        };
        let end = loop {
            let seen = self.look(run, &mut course).await;
            if let Some(end) = seen.end.or_else(|| self.out_of_time(run, &course)) {
                break end;
            }
            if seen.more {
                // However much an agent leaves, its limits hold and everybody else has a turn.
                if self.halt.is_cancelled() {
                    break End::Halted;
                }
                if let Some(excess) = run.live.growth.exceeded().now_or_never() {
                    break End::Disk(excess);
                }
                if run.cancel.is_cancelled() && course.cancelled_at.is_none() {
                    self.cancel(run, &mut course);
                }
                tokio::task::yield_now().await;
                continue;
            }
            match self.next(run, &course).await {
                Step::Changed => {}
                Step::Exited => {
                    // What it wrote before it ended counts.
                    let seen = self.look(run, &mut course).await;
                    break seen.end.unwrap_or_else(|| {
                        if run.begun { End::Exited(exit(run)) } else { End::NotBegun }
                    });
                }
                Step::Cancel => self.cancel(run, &mut course),
                Step::Halt => break End::Halted,
                Step::Grown(excess) => break End::Disk(excess),
                Step::Time => {
                    if let Some(end) = self.out_of_time(run, &course) {
                        break end;
                    }
                }
            }
        };
        let through = match &end {
            End::Done(done) => outcome::through(claimed.begun, course.latest, done),
            _ => course.latest,
        };
        Followed { end, through, file: course.file }
    }

    /// Waits for the next thing to happen.
    async fn next(&self, run: &mut Running<'_>, course: &Course) -> Step {
        let wake = self.next_limit(run, course);
        let cancelling = course.cancelled_at.is_some();
        tokio::select! {
            () = run.live.watch.changed() => Step::Changed,
            _ = run.live.exit.wait_for(Option::is_some) => Step::Exited,
            () = run.cancel.cancelled(), if !cancelling => Step::Cancel,
            () = self.halt.cancelled() => Step::Halt,
            excess = run.live.growth.exceeded() => Step::Grown(excess),
            () = tokio::time::sleep_until(wake) => Step::Time,
        }
    }

    fn next_limit(&self, run: &Running<'_>, course: &Course) -> Instant {
        let silent = course.last_sign + self.bounds.silence;
        let stopped = course.cancelled_at.map(|at| at + self.bounds.cancel);
        [Some(run.deadline), Some(silent), stopped].into_iter().flatten().min().unwrap_or(silent)
    }

    fn out_of_time(&self, run: &Running<'_>, course: &Course) -> Option<End> {
        let now = Instant::now();
        if course.cancelled_at.is_some_and(|at| now >= at + self.bounds.cancel) {
            return Some(End::Cancelled);
        }
        if now >= run.deadline {
            return Some(End::Deadline(self.limit(run.claimed)));
        }
        let silent = now.duration_since(course.last_sign) >= self.bounds.silence;
        silent.then_some(End::Silent(self.bounds.silence))
    }

    fn cancel(&self, run: &Running<'_>, course: &mut Course) {
        course.cancelled_at = Some(Instant::now());
        if let Err(error) = run.live.ipc.put_input(&Input::Cancel { run: run.claimed.run.0 }) {
            warn!(%error, run.id = %run.claimed.run, "the run could not be asked to end; its sandbox is stopped soon");
        }
    }

    /// Reads what lies in the ipc directory.
    async fn look(&self, run: &mut Running<'_>, course: &mut Course) -> Seen {
        // The outcome is claimed before the sweep: whatever was written before it is then in the sweep.
        let done = match run.live.ipc.take_done() {
            Ok(done) => done,
            Err(error) => return Seen::end(unreadable(&error)),
        };
        let seen = self.sweep(run, course).await;
        if seen.end.is_some() || seen.more || course.undecided {
            // An outcome that was claimed is put back, and found again once everything before it is dealt with.
            return seen;
        }
        match done {
            None => Seen::default(),
            Some(Err(rejected)) => Seen::end(End::Unreadable(rejected.reason.to_string())),
            Some(Ok(file)) => self.done(run, course, file),
        }
    }

    fn done(&self, run: &Running<'_>, course: &mut Course, file: ClaimedFile) -> Seen {
        let seen = match file.parse::<Done>() {
            Ok(done) if done.run == run.claimed.run.0 => Seen::end(End::Done(done)),
            // The outcome of an earlier run of this sandbox: that run was committed without it.
            Ok(_) => {
                forget(&run.live, file);
                return Seen::default();
            }
            Err(error) => Seen::end(End::Unreadable(error.to_string())),
        };
        course.file = Some(file);
        seen
    }

    async fn sweep(&self, run: &mut Running<'_>, course: &mut Course) -> Seen {
        let mut more = false;
        course.undecided = false;
        for from in [Mailbox::Progress, Mailbox::Messages, Mailbox::Tasks] {
            let sweep = match run.live.ipc.sweep(from) {
                Ok(sweep) => sweep,
                Err(error) => return Seen::end(unreadable(&error)),
            };
            more |= sweep.more;
            if !sweep.files.is_empty() {
                course.last_sign = Instant::now();
            }
            for rejected in &sweep.rejected {
                course.output += FILE_COST;
                self.reject(run, course, rejected);
            }
            if !sweep.rejected.is_empty() {
                self.tidy(run);
            }
            for file in sweep.files {
                match from {
                    Mailbox::Progress => self.progress(run, course, file).await,
                    Mailbox::Messages | Mailbox::Tasks => self.request(run, course, file).await,
                }
            }
        }
        let limit = self.settings.runs.max_output_bytes;
        let end = if course.too_many_requests {
            Some(End::Requests(MAX_REQUESTS))
        } else {
            (course.output > limit).then_some(End::Output(limit))
        };
        Seen { more, end }
    }

    async fn progress(&self, run: &mut Running<'_>, course: &mut Course, file: ClaimedFile) {
        let progress = match file.parse::<Progress>() {
            Ok(progress) => progress,
            Err(reason) => return quarantine(run, course, file, &reason),
        };
        course.count(&file);
        forget(&run.live, file);
        if progress.run != run.claimed.run.0 {
            return;
        }
        for sign in progress.signs {
            if let Some(activity) = activity(&sign) {
                self.channels.show(&run.claimed.conversation, &activity).await;
            }
            run.begun |= sign == Sign::Accepted;
            if let Sign::Ready { through } = sign {
                self.hand_over(run, course, Seq(through)).await;
            }
        }
    }
}

fn unreadable(error: &IpcError) -> End {
    End::Unreadable(error.to_string())
}

fn activity(sign: &Sign) -> Option<Activity> {
    match sign {
        Sign::Text { delta } => Some(Activity::Text { delta: delta.clone() }),
        Sign::Tool { name, summary } => {
            Some(Activity::Tool { name: name.clone(), summary: summary.clone() })
        }
        // What it says itself has the provider's codes, and is in the hands of an agent.
        Sign::Waiting { .. } => Some(Activity::Waiting { reason: outcome::MODEL_AWAY.to_owned() }),
        Sign::Accepted => Some(Activity::Working),
        Sign::Started | Sign::Heartbeat | Sign::Ready { .. } | Sign::FreshSession { .. } => None,
    }
}

fn exit(run: &Running<'_>) -> Exit {
    run.live.exit.borrow().unwrap_or(Exit::Gone)
}
