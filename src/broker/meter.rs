//! Reads from an answer what it cost, without holding it up.

use serde::Deserialize;

use super::sse::SseReader;
use super::{demo, price};
use crate::model::Usage;

/// Bytes of a `content_block_delta` event around its text.
const DELTA_ENVELOPE_BYTES: usize = 80;
/// Bytes of text that are taken for one token when an answer breaks off before its own count.
const BYTES_PER_TOKEN: u64 = 4;

/// Counts one answer.
#[derive(Debug)]
pub(super) struct Meter {
    /// The model that was asked for.
    model: String,
    reader: SseReader,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    /// The model that the answer names.
    model: Option<String>,
    counts: Counts,
    /// Whether the count of output is final.
    complete: bool,
    /// Whether the answer said that it is over.
    ended: bool,
    /// Bytes of output seen.
    output_bytes: u64,
}

/// `usage`, as the Messages API reports it; what an event leaves out stays as it was.
#[derive(Debug, Default, Deserialize)]
struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
struct CacheCreation {
    #[serde(default)]
    ephemeral_1h_input_tokens: u64,
}

#[derive(Deserialize)]
struct MessageStart {
    message: WithUsage,
}

#[derive(Deserialize)]
struct WithUsage {
    model: Option<String>,
    usage: Option<Counts>,
}

impl Meter {
    /// A meter of an answer of this model.
    pub(super) fn new(model: &str) -> Self {
        Self { model: model.to_owned(), reader: SseReader::default(), tally: Tally::default() }
    }

    /// Looks at the next bytes of a stream.
    pub(super) fn watch(&mut self, bytes: &[u8]) {
        let Self { reader, tally, .. } = self;
        reader.push(bytes, |name, data| tally.event(name, data));
    }

    /// Looks at an answer that is not streamed.
    pub(super) fn watch_whole(&mut self, json: &[u8]) {
        self.tally.complete = true;
        if let Ok(message) = serde_json::from_slice(json) {
            self.tally.begin(message);
        }
    }

    /// Whether a stream has said that nothing more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.tally.ended
    }

    /// What the call cost, as far as it is known by now.
    ///
    /// An answer that was broken off has not reported its output; it is estimated from what was seen of it, so that
    /// hanging up early is no way to think for free.
    pub(super) fn usage(&self) -> Usage {
        let Tally { model, counts, complete, output_bytes, .. } = &self.tally;
        let reported = counts.output_tokens.unwrap_or(0);
        let seen = if *complete { 0 } else { output_bytes / BYTES_PER_TOKEN };
        let mut usage = Usage {
            requests: 1,
            input_tokens: counts.input_tokens.unwrap_or(0),
            output_tokens: reported.max(seen),
            cache_read_tokens: counts.cache_read_input_tokens.unwrap_or(0),
            cache_write_tokens: counts.cache_creation_input_tokens.unwrap_or(0),
            cost_micros: 0,
        };
        let hour_writes = counts.cache_creation.unwrap_or_default().ephemeral_1h_input_tokens;
        // The answer knows best who gave it: an id of Bedrock's may not tell, and the demo costs nothing. A name that
        // tells no price takes nothing from that of the model that was asked.
        let telling = |model: &&str| *model == demo::MODEL || price::is_known(model);
        let model = model.as_deref().filter(telling).unwrap_or(&self.model);
        usage.cost_micros = price::cost_micros(model, &usage, hour_writes);
        usage
    }
}

impl Tally {
    fn event(&mut self, name: &[u8], data: &[u8]) {
        match name {
            b"message_start" => {
                if let Ok(MessageStart { message }) = serde_json::from_slice(data) {
                    self.begin(message);
                }
            }
            b"message_delta" => {
                if let Ok(WithUsage { usage: Some(counts), .. }) = serde_json::from_slice(data) {
                    self.complete |= counts.output_tokens.is_some();
                    self.merge(counts);
                }
            }
            b"message_stop" => self.ended = true,
            b"content_block_delta" => {
                let text = data.len().saturating_sub(DELTA_ENVELOPE_BYTES);
                self.output_bytes += u64::try_from(text).unwrap_or(u64::MAX);
            }
            _ => {}
        }
    }

    fn begin(&mut self, message: WithUsage) {
        self.model = message.model;
        self.merge(message.usage.unwrap_or_default());
    }

    fn merge(&mut self, new: Counts) {
        let old = std::mem::take(&mut self.counts);
        self.counts = Counts {
            input_tokens: new.input_tokens.or(old.input_tokens),
            output_tokens: new.output_tokens.or(old.output_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(old.cache_read_input_tokens),
            cache_creation_input_tokens: new
                .cache_creation_input_tokens
                .or(old.cache_creation_input_tokens),
            cache_creation: new.cache_creation.or(old.cache_creation),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::sse;
    use super::*;

    const START: &str = r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":10,
        "cache_read_input_tokens":200,"cache_creation_input_tokens":30,
        "cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":10},"output_tokens":1}}}"#;

    fn stream(events: &[(&str, &str)]) -> Usage {
        let mut meter = Meter::new("claude-sonnet-4-5");
        for (name, data) in events {
            meter.watch(&sse::event(name, data.replace('\n', "").as_bytes()));
        }
        meter.usage()
    }

    #[test]
    fn a_whole_stream_is_counted_as_it_says() {
        let end = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":50}}"#;
        let usage = stream(&[("message_start", START), ("message_delta", end)]);
        let expected = Usage {
            requests: 1,
            input_tokens: 10,
            output_tokens: 50,
            cache_read_tokens: 200,
            cache_write_tokens: 30,
            // 30 + 750 + 60 + 75 + 60
            cost_micros: 975,
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn a_stream_that_breaks_off_is_estimated() {
        let text = "x".repeat(400 + DELTA_ENVELOPE_BYTES);
        let usage = stream(&[("message_start", START), ("content_block_delta", &text)]);
        assert_eq!((usage.input_tokens, usage.output_tokens), (10, 100));
    }

    #[test]
    fn an_answer_in_one_piece_is_counted() {
        let mut meter = Meter::new("unknown");
        meter.watch_whole(br#"{"content":[],"usage":{"input_tokens":3,"output_tokens":4}}"#);
        let usage = meter.usage();
        assert_eq!((usage.requests, usage.input_tokens, usage.output_tokens), (1, 3, 4));
        assert_eq!(usage.cost_micros, 0);
    }

    #[test]
    fn the_model_that_answers_tells_the_price() {
        let arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x";
        for (asked, answered, expected) in [
            (arn, "claude-haiku-4-5-20251001", 1_000),
            ("claude-haiku-4-5", "hermitcrab-demo", 0),
            ("claude-haiku-4-5", "stranger", 1_000),
            (arn, "stranger", 0),
        ] {
            let mut meter = Meter::new(asked);
            let answer = serde_json::json!({"model": answered, "usage": {"input_tokens": 1_000}});
            meter.watch_whole(answer.to_string().as_bytes());
            assert_eq!(meter.usage().cost_micros, expected, "{answered}");
        }
    }

    #[test]
    fn nonsense_counts_as_one_request() {
        let usage = stream(&[
            ("message_start", "{"),
            ("message_delta", r#"{"usage":{"output_tokens":-1}}"#),
        ]);
        assert_eq!(usage, Usage { requests: 1, ..Usage::default() });
    }
}
