//! [`agent_runner::fuzz::sse`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agent_runner::fuzz::sse(data));
