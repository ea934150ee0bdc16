//! [`hermitcrab::fuzz::broker_sse`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermitcrab::fuzz::broker_sse(data));
