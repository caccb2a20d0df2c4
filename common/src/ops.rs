//! The ops API on one page: every path, its permission, request, reply and stream item.
//!
//! HTTP/1.1 on a Unix socket (`operate.sock`, `view.sock`), Host `gatehouse`, JSON. Errors are
//! [`crate::problem::Problem`]. Streams answer one JSON object a line, each in an [`Item`] envelope.
//!
//! | Path | Permission | Request | Reply |
//! |---|---|---|---|
//! | `GET /v1/hello` | read | | [`hello::Hello`] |
//! | `GET /v1/metrics?every=1s` | read | [`metrics::MetricsQuery`] | stream of [`metrics::Window`] |
//! | `GET /v1/logs?q=&from=&follow=1` | read | [`logs::LogsQuery`] | stream of [`logs::LogItem`] |
//! | `GET /v1/routes` | read | [`entities::ListQuery`] | [`entities::Page`] of [`entities::Route`] |
//! | `GET /v1/consumers` | read | likewise | page of [`entities::Consumer`] |
//! | `GET /v1/tokens` | read | likewise | page of [`entities::Token`] |
//! | `GET /v1/sessions` | read | likewise | page of [`entities::Session`] |
//! | `GET /v1/backups` | read | likewise | page of [`entities::Backup`] |
//! | `GET /v1/health` | read | | list of [`crate::health::HealthItem`] |
//! | `POST /v1/plans` | read | [`runs::PlanRequest`] | [`crate::runbook::Plan`] |
//! | `POST /v1/runs` | by tier | [`runs::StartRequest`] | [`runs::RunSummary`] (202) |
//! | `GET /v1/runs` | read | | list of [`runs::RunSummary`] |
//! | `GET /v1/runs/{id}?follow=1` | read | [`runs::RunQuery`] | stream of [`crate::runbook::RunEvent`], not in an envelope |
//! | `POST /v1/runs/{id}/stop` | write | | [`runs::RunSummary`] |
//! | `POST /v1/runs/{id}/undo` | write | | [`crate::runbook::Plan`] |
//! | `GET /v1/audit?q=&limit=` | read | [`audit::AuditQuery`] | [`audit::AuditPage`] |
//! | `GET /v1/audit/verify` | read | | [`audit::AuditVerdict`] |
//! | `GET /v1/audit/export?q=` | read | [`audit::AuditQuery`] | stream of [`audit::Exported`], oldest first, not in an envelope |
//! | `GET /v1/config/export?format=` | read | [`config::ConfigQuery`] | [`config::ConfigText`] |
//! | `GET /v1/config/schema` | read | | [`config::ConfigText`] |
//! | `GET /v1/config/revisions?limit=` | read | [`config::ConfigQuery`] | list of [`config::ConfigRevision`] |
//! | `GET /v1/config/folder` | read | | [`config::ConfigFolder`] |
//! | `POST /v1/config/plan` | write | [`config::ConfigFiles`] | [`config::ConfigPlan`] |
//! | `POST /v1/config/apply` | write | likewise | likewise |
//! | `POST /v1/config/rollback` | write | [`config::ConfigUndo`] | [`config::ConfigPlan`] |
//! | `POST /v1/import/octoprox` | write | [`imports::ImportRequest`] | [`imports::ImportReport`] |
//! | `POST /v1/introspect` | write | [`imports::IntrospectRequest`] | as `POST /api/v1/auth/introspect` |
//! | `GET /v1/attached` | read | | list of [`hello::Attached`] |

pub mod audit;
pub mod config;
pub mod entities;
pub mod hello;
pub mod imports;
pub mod logs;
pub mod metrics;
pub mod runs;

use serde::{Deserialize, Serialize};

/// Version of this page. The console and the daemon agree when their ranges overlap.
pub const PROTOCOL: u32 = 1;

/// One line of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item<T> {
    /// Counts from 0 in each stream; a gap means that items were dropped.
    pub seq: u64,
    /// The item.
    #[serde(flatten)]
    pub body: T,
}
