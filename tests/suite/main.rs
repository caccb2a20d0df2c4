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
mod code;
mod code_files;
mod console;
mod contract;
mod credentials;
mod discovery;
mod disk;
mod edges;
mod ending;
mod engine;
mod faults;
mod gateway;
mod identity;
mod layering;
mod logging_in;
mod manager;
mod manager_config;
mod manager_limits;
mod market;
mod octoprox;
mod octoprox_access;
mod octoprox_import;
mod oidc;
mod ops;
mod phases;
mod policies;
mod policies_credits;
mod policies_shape;
mod policies_who;
mod protos;
mod raw;
mod records;
mod registry;
mod restart;
mod revoked;
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
