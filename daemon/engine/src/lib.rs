//! The container engine as a port: what we need of Docker, nothing more. It grows with what uses it; so far health asks
//! whether an engine answers, and which. It knows no setting and no other room.

mod docker;
mod fake;
mod probe;

pub use docker::Docker;
pub use fake::{Fake, Move};
pub use probe::{BOUND, FRESH, Probe, Reading};

use std::future::Future;
use std::pin::Pin;

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The engine's name, such as `Docker` or `Podman Engine`.
    pub name: String,
    /// Its release, such as `20.10.24`.
    pub release: String,
    /// The newest API version it speaks, such as `1.41`.
    pub api: String,
}

/// Why an engine did not answer; the texts are for operators and name no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no socket at this path.
    #[error("{0}: no such socket")]
    Absent(String),
    /// The socket is there, and not for us.
    #[error("{0}: permission denied")]
    Denied(String),
    /// The usual socket is there, and not for us; nobody said that it should be.
    #[error("{0}: not for the daemon's user")]
    NotOurs(String),
    /// The socket or port is there, and nobody listens.
    #[error("{0}: connection refused")]
    Refused(String),
    /// It took the call and said nothing for this many milliseconds.
    #[error("no answer within {0} ms")]
    Silent(u64),
    /// It answered what no engine answers, or the connection broke.
    #[error("{0}")]
    Failed(String),
}

/// An answer that is waited for.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// A container engine. Calls are not bounded in time: [`Probe`] does that.
pub trait Engine: std::fmt::Debug + Send + Sync {
    /// Asks the engine who it is.
    fn version(&self) -> Waiting<'_, Version>;
}
