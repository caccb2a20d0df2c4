//! Plans and runs.

use crate::ids::RunId;
use crate::runbook::{Risk, RunState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of `POST /v1/plans`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// Runbook id.
    pub runbook: String,
    /// Parameters by name.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
}

/// Body of `POST /v1/runs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// Digest of the plan as shown.
    pub plan: String,
    /// The word typed. The CLI sends the plan's own word: naming the digest is its confirmation.
    #[serde(default)]
    pub confirm: Option<String>,
    /// Why; needed by the highest tier.
    #[serde(default)]
    pub reason: Option<String>,
    /// Risks accepted by name.
    #[serde(default)]
    pub accept_risks: Vec<Risk>,
    /// `SSH_CONNECTION` as the client reports it; kept as claimed.
    #[serde(default)]
    pub ssh_connection: Option<String>,
}

/// Query of `GET /v1/runs/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunQuery {
    /// `1`: go on with new events until the verdict.
    #[serde(default)]
    pub follow: Option<u8>,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Id.
    pub id: RunId,
    /// Runbook.
    pub runbook: String,
    /// Title of its plan.
    pub title: String,
    /// Where it stands.
    pub state: RunState,
    /// Who asked.
    pub actor: String,
    /// Unix milliseconds.
    pub started_unix_ms: i64,
    /// Unix milliseconds.
    pub finished_unix_ms: Option<i64>,
    /// Last words.
    pub summary: String,
    /// Whether every finished step can be undone.
    pub can_undo: bool,
}
