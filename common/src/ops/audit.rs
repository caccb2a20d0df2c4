//! The audit trail: who did what, from where, with what outcome; chained by hash.

use crate::ids::Revision;
use serde::{Deserialize, Serialize};

/// What is known when something is done; the chain fields are added when it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Unix milliseconds.
    pub at_unix_ms: i64,
    /// Who: `admin`, or `uid 0 (operate socket)`.
    pub actor: String,
    /// From where: an address, `operate.sock`, `startup`.
    pub source: String,
    /// What: `user.update`, `run.revoke_tokens`.
    pub action: String,
    /// To what: `user/ana`.
    pub object: String,
    /// `ok`, `refused`, `failed`.
    pub outcome: String,
    /// Before, after, reason, plan digest, …; secrets masked.
    #[serde(default)]
    pub detail: serde_json::Value,
    /// Revision after the change.
    pub revision: Revision,
}

/// A record as it stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Position in the chain, from 1, without gaps.
    pub seq: u64,
    /// The entry.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// Hex SHA-256 of the previous record; 64 zeros for the first.
    pub previous: String,
    /// Hex SHA-256 over `previous` and this entry's canonical JSON.
    pub hash: String,
}

/// Query of `GET /v1/audit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// Words that must occur in actor, action, object or outcome.
    #[serde(default)]
    pub q: Option<String>,
    /// At most this many, newest first; default 200.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// Reply of `GET /v1/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Records, newest first.
    pub records: Vec<AuditRecord>,
    /// Whether the whole chain was verified.
    pub chain_ok: bool,
    /// Length of the chain.
    pub total: u64,
    /// Where it breaks, in words.
    #[serde(default)]
    pub broken: Option<String>,
}
