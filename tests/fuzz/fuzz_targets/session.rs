//! [`agent_runner::fuzz::session`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agent_runner::fuzz::session(data));
