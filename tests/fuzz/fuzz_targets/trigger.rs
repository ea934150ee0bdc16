//! [`hermitcrab::fuzz::trigger`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermitcrab::fuzz::trigger(data));
