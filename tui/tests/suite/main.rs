//! The client and the binary against a small daemon of the tests' own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; helpers of tests too"
)]

mod client;
#[path = "../../src/samples.rs"]
mod samples;
mod stub;
mod terminal;
mod verbs;
