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
    /// A filter, see [`crate::auditquery`].
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

/// Reply of `GET /v1/audit/verify`: the whole chain, read from the disk for this answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// Records that hold, from the first on.
    pub records: u64,
    /// Segment files; 0 if the chain breaks.
    pub files: usize,
    /// Hash of the last record; empty if the chain breaks.
    pub hash: String,
    /// Where it breaks first.
    #[serde(default)]
    pub broken: Option<AuditBreak>,
}

/// Where a chain breaks first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditBreak {
    /// Segment file.
    pub file: String,
    /// Line in it, from 1; 0 if it is the whole file.
    pub line: usize,
    /// What is wrong, naming the record.
    pub why: String,
}

/// A line of `GET /v1/audit/export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Exported {
    /// A record.
    Record(AuditRecord),
    /// The last line, where the trail cannot be read any further.
    Broken {
        /// Where.
        broken: AuditBreak,
    },
}
