//! Every fuzz target: the name of the binary says which, and what it checks stands in the gateway (`src/fuzzing.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomcast::fuzzing::run(env!("CARGO_BIN_NAME"), data));
