//! [`hermitcrab::fuzz::ipc`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermitcrab::fuzz::ipc(data));
