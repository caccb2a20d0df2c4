//! One test binary for all that is tested from outside, and for the conventions.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; helpers of tests too"
)]

mod advisories;
mod audit;
mod caching;
mod cli;
mod console;
mod contract;
mod disk;
mod engine;
mod faults;
mod gateway;
mod identity;
mod layering;
mod manager;
mod manager_config;
mod manager_limits;
mod market;
mod ops;
mod phases;
mod policies;
mod policies_credits;
mod policies_shape;
mod policies_who;
mod raw;
mod records;
mod registry;
mod restart;
mod runbooks;
mod settings;
mod shop;
mod smuggling;
mod streaming;
mod tidy;
mod upstreams;
mod websocket;
mod wire;
mod workspace;
