//! The client and the binary against a small daemon of the tests' own.

mod client;
#[path = "../../src/samples.rs"]
mod samples;
mod stub;
mod verbs;
