//! Tables: routes, consumers, tokens, sessions, backups.

use crate::ids::{ConsumerId, Revision, RouteId, TokenId};
use serde::{Deserialize, Serialize};

/// Query of every table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// Only rows whose name contains this.
    #[serde(default)]
    pub q: Option<String>,
    /// Page, from 1.
    #[serde(default)]
    pub page: Option<usize>,
    /// Rows a page, at most [`crate::limits::PAGE_SIZE_MAX`]; default 100.
    #[serde(default)]
    pub page_size: Option<usize>,
}

/// One page of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// Rows.
    pub items: Vec<T>,
    /// Rows in all.
    pub total: usize,
    /// This page, from 1.
    pub page: usize,
    /// Whether there is another.
    pub has_next: bool,
}

impl<T> Page<T> {
    /// Cuts one page out of all rows.
    #[must_use]
    pub fn cut(rows: Vec<T>, query: &ListQuery) -> Self {
        let total = rows.len();
        let size = query.page_size.unwrap_or(100).clamp(1, crate::limits::PAGE_SIZE_MAX);
        let page = query.page.unwrap_or(1).max(1);
        let skip = size.saturating_mul(page - 1);
        let items: Vec<T> = rows.into_iter().skip(skip).take(size).collect();
        let has_next = skip.saturating_add(items.len()) < total;
        Self { items, total, page, has_next }
    }
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Id.
    pub id: RouteId,
    /// `name/version`.
    pub name: String,
    /// `rest`, `soap`, ….
    pub kind: String,
    /// Whether it takes traffic.
    pub active: bool,
    /// Whether it needs a credential.
    pub protected: bool,
    /// Endpoints as `METHOD /uri`.
    pub endpoints: Vec<String>,
    /// Upstream base addresses.
    pub upstreams: Vec<String>,
    /// Policies in the order they run.
    pub policies: Vec<String>,
}

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Name.
    pub id: ConsumerId,
    /// E-mail address.
    pub email: String,
    /// Role.
    pub role: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Subscribed `name/version`.
    pub subscriptions: Vec<String>,
    /// Whether it may log in.
    pub active: bool,
    /// Live sessions.
    pub sessions: usize,
    /// Live API keys.
    pub keys: usize,
}

/// An API key; never its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Id.
    pub id: TokenId,
    /// Whose.
    pub consumer: ConsumerId,
    /// Label given at creation.
    pub name: String,
    /// The part that is shown: `mcp_<prefix>`.
    pub prefix: String,
    /// Unix milliseconds.
    pub created_unix_ms: i64,
    /// Unix milliseconds; `None` is never.
    pub expires_unix_ms: Option<i64>,
    /// Unix milliseconds since it is revoked.
    pub revoked_unix_ms: Option<i64>,
}

/// A login session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Id.
    pub id: String,
    /// Whose.
    pub consumer: ConsumerId,
    /// Unix milliseconds.
    pub created_unix_ms: i64,
    /// Unix milliseconds of the last token's expiry.
    pub expires_unix_ms: i64,
    /// Address it was made from.
    pub source: String,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// File name, as `restore_backup` takes it.
    pub name: String,
    /// Rows in it.
    pub rows: usize,
    /// Size in bytes.
    pub bytes: u64,
    /// Revision it holds.
    pub revision: Revision,
    /// Unix milliseconds when it was made.
    pub made_unix_ms: i64,
}
