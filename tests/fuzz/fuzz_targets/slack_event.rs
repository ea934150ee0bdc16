//! [`hermitcrab::fuzz::slack_event`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermitcrab::fuzz::slack_event(data));
