//! [`hermitcrab::fuzz::model_request`], fuzzed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermitcrab::fuzz::model_request(data));
