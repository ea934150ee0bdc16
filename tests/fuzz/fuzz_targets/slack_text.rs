//! [`hermitcrab::fuzz::slack_text`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermitcrab::fuzz::slack_text(data));
