//! One test binary for all that is tested from outside, and for the conventions.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; helpers of tests too"
)]

mod advisories;
mod audit;
mod cli;
mod console;
mod disk;
mod engine;
mod faults;
mod gateway;
mod identity;
mod layering;
mod ops;
mod registry;
mod runbooks;
mod settings;
mod shop;
mod tidy;
mod workspace;
