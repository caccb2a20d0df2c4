//! Configuration as code: what `gatehouse config` sends and is told.

use serde::{Deserialize, Serialize};

/// One file that declares configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Its name; the ending says whether it is TOML (`.toml`) or YAML (`.yaml`, `.yml`).
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Files that are one configuration together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFiles {
    /// The files.
    pub files: Vec<ConfigFile>,
    /// Whether what nobody declared goes too.
    #[serde(default)]
    pub prune: bool,
}

/// What is wrong with a declared configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigFault {
    /// `file:line`, or the file alone.
    pub place: String,
    /// What was found, and what was expected.
    pub detail: String,
}

/// A row that a change makes, changes or takes away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigRow {
    /// Table.
    pub table: String,
    /// Key in it.
    pub key: String,
    /// `create`, `update` or `delete`.
    pub op: String,
    /// Fields before, no secret; of an update those that differ.
    pub before: Option<serde_json::Value>,
    /// Fields after, likewise.
    pub after: Option<serde_json::Value>,
}

/// What applying files would do, or has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigPlan {
    /// Rows that differ.
    pub changes: Vec<ConfigRow>,
    /// APIs (`name/version`) whose routes are touched.
    pub routes: Vec<String>,
    /// What is wrong; then nothing is done.
    pub faults: Vec<ConfigFault>,
    /// The revision that it became; `None` if nothing was done.
    #[serde(default)]
    pub revision: Option<u64>,
}

/// A revision of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRevision {
    /// Its number.
    pub id: u64,
    /// Unix milliseconds.
    pub at_unix_ms: i64,
    /// Who.
    pub actor: String,
    /// From where.
    pub source: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// Rows it changed.
    pub rows: usize,
    /// Revisions that it took back.
    pub undoes: Vec<u64>,
}

/// Query of the history and of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigQuery {
    /// Revisions, the newest first; default 50.
    #[serde(default)]
    pub limit: Option<usize>,
    /// `toml` (default) or `yaml`.
    #[serde(default)]
    pub format: Option<String>,
}

/// A text: an export, a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigText {
    /// The text.
    pub text: String,
}

/// What the watched folder is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFolder {
    /// The folder; `None` if none is watched.
    pub folder: Option<String>,
    /// Files that were read last.
    pub files: usize,
    /// Revision that was made of it last.
    pub revision: Option<u64>,
    /// What is wrong with it; the configuration before stays then.
    pub faults: Vec<ConfigFault>,
}

/// What is to be gone back to, or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigUndo {
    /// The revision.
    pub revision: u64,
    /// Whether that one alone is taken back, instead of all behind it.
    #[serde(default)]
    pub alone: bool,
}
