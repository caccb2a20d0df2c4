//! See `daemon/data/src/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gatehouse_data::fuzz::proxy_head(bytes));
