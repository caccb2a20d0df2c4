//! Links for users, made by whoever sits at the box.

use crate::secret::Secret;
use serde::{Deserialize, Serialize};

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A new password; 24 hours.
    Reset,
    /// The first password; 7 days.
    Invite,
    /// Logs in; one hour.
    Link,
}

/// Body of `POST /v1/users/{name}/link`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRequest {
    /// What for.
    pub purpose: Purpose,
}

/// A link; shown to this asker and kept nowhere.
#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    /// An address, or its path where the daemon was not told how browsers reach it.
    pub link: Secret<String>,
    /// Unix milliseconds after which it does not count.
    pub expires_unix_ms: i64,
}
