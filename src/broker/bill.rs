//! What a model call costs: measured while the answer passes, and put down once.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::budget::Reservation;
use super::door::Room;
use super::meter::Meter;
use super::reply::{Body, BodyError};
use super::{Client, Shared};
use crate::model::Usage;

/// What a call cost, put down in the ledger once: before the end of the answer is passed on, so that whoever acts on
/// it is not ahead of the books; or when it is abandoned.
pub(super) struct Bill {
    shared: Arc<Shared>,
    client: Client,
    meter: Meter,
    /// Given back when all is put down.
    reservation: Option<Reservation>,
    bytes: usize,
    since: Instant,
    open: bool,
}

impl Bill {
    /// The bill of a call that was answered; `open` unless it costs nothing.
    pub(super) fn new(
        room: &Room,
        model: &str,
        reservation: Option<Reservation>,
        open: bool,
    ) -> Self {
        let (shared, client) = (Arc::clone(&room.shared), room.client.clone());
        let (meter, since) = (Meter::new(model), Instant::now());
        Self { shared, client, meter, reservation, bytes: 0, since, open }
    }

    /// Looks at an answer in one piece, and puts it down.
    pub(super) async fn settle_whole(&mut self, json: &[u8]) {
        self.bytes = json.len();
        self.meter.watch_whole(json);
        self.settle().await;
    }

    fn watch(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.meter.watch(bytes);
    }

    async fn settle(&mut self) {
        if let Some(usage) = self.close() {
            self.shared.ledger.record(&self.client, usage).await;
        }
        self.reservation = None;
    }

    /// What is to be put down; nothing the second time.
    fn close(&mut self) -> Option<Usage> {
        std::mem::take(&mut self.open).then(|| {
            let usage = self.meter.usage();
            tracing::info!(
                group.name = %self.client.group,
                size_bytes = self.bytes,
                duration_ms = self.since.elapsed().as_millis(),
                input_tokens = usage.input_tokens,
                output_tokens = usage.output_tokens,
                "a model call ended"
            );
            usage
        })
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some(usage) = self.close() {
            let (shared, client) = (Arc::clone(&self.shared), self.client.clone());
            let reservation = self.reservation.take();
            let record = async move {
                shared.ledger.record(&client, usage).await;
                drop(reservation);
            };
            self.shared.records.spawn_on(record, &self.shared.runtime);
        }
    }
}

/// Passes an answer on as it comes, and puts down what it cost before the answer ends.
pub(super) fn metered(chunks: BoxStream<'static, Result<Bytes, BodyError>>, bill: Bill) -> Body {
    let frames = stream::unfold((chunks, bill), async |(mut chunks, mut bill)| {
        let chunk = chunks.next().await;
        match &chunk {
            Some(Ok(bytes)) => {
                bill.watch(bytes);
                if bill.meter.has_ended() {
                    bill.settle().await;
                }
            }
            Some(Err(BodyError)) | None => bill.settle().await,
        }
        Some((chunk?.map(Frame::data), (chunks, bill)))
    });
    StreamBody::new(frames).boxed_unsync()
}
