//! The error a user sees (RFC 9457 problem details), with a stable code.

pub mod codes;

pub use codes::Code;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An error for a person or a script: what is wrong, where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable code, from [`codes`] or from an older surface's table (spec/doorman.md 1.6).
    pub code: String,
    /// One sentence about this very case; names the field and what was expected.
    pub detail: String,
    /// The field, file or parameter it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    /// A problem with a code of ours; status and remedy come from the table.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let entry = code.entry();
        Self {
            status: entry.status,
            code: entry.code.to_owned(),
            detail: detail.into(),
            field: None,
            remedy: (!entry.remedy.is_empty()).then(|| entry.remedy.to_owned()),
        }
    }

    /// A problem with an older surface's literal status and code.
    #[must_use]
    pub fn compat(status: u16, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), field: None, remedy: None }
    }

    /// Names the field it is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

/// Several problems at once, for a check that does not stop at the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}
