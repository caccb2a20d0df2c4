//! Who is there: the first call of a console.

use crate::ids::{BootId, Revision};
use crate::runbook::RunbookSpec;
use serde::{Deserialize, Serialize};

/// What the door lets a peer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// `operate.sock`
    Operate,
    /// `view.sock`: reads only.
    View,
}

/// Reply of `GET /v1/hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the daemon.
    pub build: String,
    /// Oldest and newest protocol spoken.
    pub protocol: (u32, u32),
    /// This start of the daemon.
    pub boot: BootId,
    /// Name of the box.
    pub host: String,
    /// Unix milliseconds of the start.
    pub started_unix_ms: i64,
    /// Revision served.
    pub revision: Revision,
    /// The actor as the daemon sees it.
    pub actor: String,
    /// Which socket this is.
    pub door: Door,
    /// Addresses the gateway listens on.
    pub listen: Vec<String>,
    /// All runbooks.
    pub runbooks: Vec<RunbookSpec>,
}

/// One attached client, for `GET /v1/attached`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The actor.
    pub actor: String,
    /// Which socket.
    pub door: Door,
    /// Unix milliseconds since it is connected.
    pub since_unix_ms: i64,
}
