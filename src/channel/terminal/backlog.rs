//! What waits to be written to one terminal, bounded: a terminal that does not read loses the show first, and
//! then its connection.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::wire::GatewayFrame;

/// Beyond this many bytes, what only shows progress is dropped.
const SHOW_BYTES: usize = 64 * 1024;
/// Beyond this many bytes the terminal is given up; two of the longest answers fit.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// What a frame weighs besides its text.
const FRAME_BYTES: usize = 64;

/// Frames that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<GatewayFrame>,
    bytes: usize,
    end: End,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    AfterThese,
    Now,
}

impl Backlog {
    /// Adds what the terminal must hear; one that has fallen too far behind is given up instead.
    pub(super) fn must(&self, frame: GatewayFrame) {
        let mut waiting = self.lock();
        if waiting.bytes > 0 && waiting.bytes + weight(&frame) > MAX_BYTES {
            *waiting = Waiting { end: End::Now, ..Waiting::default() };
        } else if waiting.end == End::Open {
            waiting.push(frame);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Adds what is only shown: joined with what already waits, or dropped when the terminal is behind.
    pub(super) fn may(&self, frame: GatewayFrame) {
        let mut waiting = self.lock();
        if waiting.end != End::Open || waiting.bytes + weight(&frame) > SHOW_BYTES {
            return;
        }
        match (waiting.frames.back_mut(), frame) {
            (Some(GatewayFrame::Text { delta }), GatewayFrame::Text { delta: more }) => {
                delta.push_str(&more);
                waiting.bytes += more.len();
            }
            (Some(last), frame) if discriminant(last) == discriminant(&frame) => {
                let before = weight(last);
                let after = weight(&frame);
                *last = frame;
                waiting.bytes = waiting.bytes + after - before;
            }
            (_, frame) => waiting.push(frame),
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Takes no more frames; the connection ends when those that wait are written.
    pub(super) fn finish(&self) {
        let mut waiting = self.lock();
        if waiting.end == End::Open {
            waiting.end = End::AfterThese;
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// The next frame; `None` when the connection is to end. For one writer only.
    pub(super) async fn next(&self) -> Option<GatewayFrame> {
        loop {
            let changed = self.changed.notified();
            {
                let mut waiting = self.lock();
                if let Some(frame) = waiting.frames.pop_front() {
                    waiting.bytes -= weight(&frame);
                    return Some(frame);
                }
                if waiting.end != End::Open {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Whether the terminal was given up.
    pub(super) fn is_given_up(&self) -> bool {
        self.lock().end == End::Now
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way, so what a poisoned lock guards is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, frame: GatewayFrame) {
        self.bytes += weight(&frame);
        self.frames.push_back(frame);
    }
}

/// Roughly the bytes that a frame holds in memory.
fn weight(frame: &GatewayFrame) -> usize {
    let text = match frame {
        GatewayFrame::Text { delta } => delta.len(),
        GatewayFrame::Answer { text, .. } | GatewayFrame::Said { text } => text.len(),
        GatewayFrame::Tool { name, summary } => name.len() + summary.len(),
        GatewayFrame::Waiting { reason } | GatewayFrame::Refused { reason } => reason.len(),
        GatewayFrame::NotKept { id, reason } => id.len() + reason.len(),
        GatewayFrame::Kept { id, .. } => id.len(),
        GatewayFrame::Welcome(_)
        | GatewayFrame::Queued { .. }
        | GatewayFrame::Working
        | GatewayFrame::Idle
        | GatewayFrame::Taken { .. }
        | GatewayFrame::Status { .. } => 1024,
    };
    FRAME_BYTES + text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(delta: &str) -> GatewayFrame {
        GatewayFrame::Text { delta: delta.into() }
    }

    fn answer(outbox: u64, length: usize) -> GatewayFrame {
        GatewayFrame::Answer { outbox, text: "x".repeat(length), through: None, ends: None }
    }

    async fn drain(backlog: &Backlog) -> Vec<GatewayFrame> {
        backlog.finish();
        let mut frames = Vec::new();
        while let Some(frame) = backlog.next().await {
            frames.push(frame);
        }
        frames
    }

    #[tokio::test]
    async fn pieces_of_text_are_joined_and_signs_replaced() {
        let backlog = Backlog::default();
        backlog.may(GatewayFrame::Queued { ahead: 2 });
        backlog.may(GatewayFrame::Queued { ahead: 1 });
        backlog.may(text("Hel"));
        backlog.may(text("lo"));
        backlog.may(GatewayFrame::Working);
        backlog.may(text("!"));
        let expected =
            [GatewayFrame::Queued { ahead: 1 }, text("Hello"), GatewayFrame::Working, text("!")];
        assert_eq!(drain(&backlog).await, expected);
        assert_eq!(backlog.lock().bytes, 0);
    }

    #[tokio::test]
    async fn a_terminal_that_is_behind_loses_the_show_but_no_answer() {
        let backlog = Backlog::default();
        for _ in 0..1_000 {
            backlog.may(text(&"x".repeat(1_000)));
        }
        backlog.must(answer(1, 100_000));
        backlog.may(GatewayFrame::Working);
        let frames = drain(&backlog).await;
        assert_eq!(frames.len(), 2);
        assert!(weight(&frames[0]) <= SHOW_BYTES);
        assert_eq!(frames[1], answer(1, 100_000));
    }

    #[tokio::test]
    async fn a_terminal_that_never_reads_is_given_up_within_bounds() {
        let backlog = Backlog::default();
        for id in 0..100 {
            backlog.must(answer(id, 1024 * 1024));
            assert!(backlog.lock().bytes <= MAX_BYTES);
        }
        assert!(backlog.is_given_up());
        assert_eq!(backlog.next().await, None);
    }

    #[tokio::test]
    async fn one_frame_of_any_size_passes_alone() {
        let backlog = Backlog::default();
        backlog.must(answer(1, MAX_BYTES * 2));
        assert!(!backlog.is_given_up());
        assert_eq!(drain(&backlog).await.len(), 1);
    }
}
