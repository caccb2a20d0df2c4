//! A health item: what is not well, since when, and what cures it.

use serde::{Deserialize, Serialize};

/// How bad it is. `Ok` items are listed too: a check that ran says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Checked and well.
    Ok,
    /// Not known: the check could not run.
    Unknown,
    /// Needs attention.
    Warning,
    /// Traffic or data are at risk.
    Critical,
}

/// One item of the health screen and of `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthItem {
    /// Stable code, upper case with dashes: `DISK-LOW`.
    pub code: String,
    /// Which check found it.
    pub check: String,
    /// How bad.
    pub severity: Severity,
    /// One line with the numbers.
    pub summary: String,
    /// Unix milliseconds since it holds.
    pub since_unix_ms: i64,
    /// Codes of items it follows from.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// What to do.
    #[serde(default)]
    pub remedy: Option<String>,
    /// The runbook that cures it.
    #[serde(default)]
    pub runbook: Option<String>,
}
