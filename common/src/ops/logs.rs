//! Log lines, filtered in the daemon before any cut.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Severity of a line, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Finest.
    Trace,
    /// For developers.
    Debug,
    /// Normal.
    Info,
    /// Needs a look.
    Warn,
    /// Something failed.
    Error,
}

/// Query of `GET /v1/logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsQuery {
    /// Filter in the grammar of [`crate::logquery`].
    #[serde(default)]
    pub q: Option<String>,
    /// Only lines with a number greater than this.
    #[serde(default)]
    pub from: Option<u64>,
    /// `1`: go on with new lines.
    #[serde(default)]
    pub follow: Option<u8>,
    /// At most this many old lines, newest kept.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Number of the line since start.
    pub number: u64,
    /// Unix milliseconds.
    pub at_unix_ms: i64,
    /// Severity.
    pub level: Level,
    /// The part of the house: `record`, `forward`, `change`.
    pub target: String,
    /// The message, control characters escaped.
    pub message: String,
    /// Fields: `route`, `consumer`, `request`, `status`, ….
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// One item of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum LogItem {
    /// A line.
    Line(LogLine),
    /// Lines were dropped because the reader was slow or the ring went past.
    Gap {
        /// How many.
        dropped: u64,
    },
}
