//! The harness: the real daemon with a state of its own, a real upstream, waits that say what they wait for.

pub mod backend;
pub mod bench;
pub mod daemon;
pub mod dns;
pub mod exposition;
pub mod manager;
pub mod mischief;
pub mod ops;
pub mod recorder;
pub mod scripted;
pub mod tmux;
pub mod upstream;
pub mod wait;

use std::path::PathBuf;

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
