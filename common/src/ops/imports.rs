//! Importing what another manager kept: the rows as the console read them, and what became of them. Also the question
//! what a token stands for.

use crate::ids::Revision;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// A row as it stood: columns that the file lacks are absent.
pub type ImportRow = Map<String, Value>;

/// Request of `POST /v1/import/octoprox`: tables of its `manager.db` (spec/octoprox.md 10).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// Says what would become of the rows, and changes nothing.
    pub dry_run: bool,
    /// Table `users`.
    pub users: Vec<ImportRow>,
    /// Table `api_keys`.
    pub api_keys: Vec<ImportRow>,
    /// Table `workspaces`.
    pub workspaces: Vec<ImportRow>,
}

impl fmt::Debug for ImportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rows have hashes in them.
        f.debug_struct("ImportRequest").field("dry_run", &self.dry_run).finish_non_exhaustive()
    }
}

/// What became of one table's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportCount {
    /// Rows taken.
    pub taken: usize,
    /// Rows that an earlier import took.
    pub unchanged: usize,
    /// Rows not taken; a note says why.
    pub refused: usize,
}

/// Reply of `POST /v1/import/octoprox`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Users.
    pub users: ImportCount,
    /// API keys.
    pub api_keys: ImportCount,
    /// Workspaces.
    pub workspaces: ImportCount,
    /// What was not taken, and what was taken otherwise than it stood; a line each, the first thousand.
    pub notes: Vec<String>,
    /// The revision with these rows; the present one if nothing was changed.
    pub revision: Revision,
}

/// Request of `POST /v1/introspect`. The reply is that of `POST /api/v1/auth/introspect`.
#[derive(Debug, Deserialize)]
pub struct IntrospectRequest {
    /// An API key or a token.
    pub token: Secret<String>,
}
