//! The treaty between daemon and console: the types both speak, and nothing else.
//!
//! This crate parses and prints; it does no input or output, knows no clock, and compiles without tokio.
//! A field may be added at any time (readers ignore what they do not know); a field is renamed or
//! retyped only together with [`ops::PROTOCOL`].

pub mod auditquery;
pub mod health;
pub mod ids;
pub mod limits;
pub mod logquery;
pub mod opaque;
pub mod ops;
pub mod problem;
pub mod redact;
pub mod runbook;
pub mod secret;
pub mod units;
