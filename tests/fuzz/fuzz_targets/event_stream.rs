//! [`hermitcrab::fuzz::event_stream`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermitcrab::fuzz::event_stream(data));
