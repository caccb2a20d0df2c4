//! THE LIST of health checks: each looks at one thing, and says so also when it is well.

use crate::audit::AuditTrail;
use crate::windows::Windows;
use crate::world::World;
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_corridor::telemetry::Telemetry;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

mod audit;
mod backups;
mod config;
mod disk;
mod engine;
mod records;
mod restart;
mod store;
mod upstreams;

/// What a check may look at.
pub(crate) struct Sight<'a> {
    pub(crate) world: &'a World,
    pub(crate) audit: &'a AuditTrail,
    pub(crate) windows: &'a Windows,
    pub(crate) telemetry: &'a Telemetry,
    /// Age of the newest backup, if there is one.
    pub(crate) backup_age: Option<Duration>,
}

type Looking<'a> = Pin<Box<dyn Future<Output = Vec<HealthItem>> + Send + 'a>>;

/// One check.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) look: for<'a> fn(&'a Sight<'a>) -> Looking<'a>,
}

/// THE LIST, in the order of the screen when all is well.
pub(crate) const LIST: &[Check] = &[
    Check { name: "store", look: |sight| Box::pin(store::look(sight)) },
    Check { name: "disk", look: |sight| Box::pin(disk::look(sight)) },
    Check { name: "audit", look: |sight| Box::pin(audit::look(sight)) },
    Check { name: "backups", look: |sight| Box::pin(backups::look(sight)) },
    Check { name: "config", look: |sight| Box::pin(config::look(sight)) },
    Check { name: "upstreams", look: |sight| Box::pin(upstreams::look(sight)) },
    Check { name: "engine", look: |sight| Box::pin(engine::look(sight)) },
    Check { name: "records", look: |sight| Box::pin(records::look(sight)) },
    Check { name: "restart", look: |sight| Box::pin(restart::look(sight)) },
];

pub(crate) use backups::age as backup_age;

/// An item; the monitor adds the check's name and since when.
pub(crate) fn item(code: &str, severity: Severity, summary: String) -> HealthItem {
    HealthItem {
        code: code.to_owned(),
        check: String::new(),
        severity,
        summary,
        since_unix_ms: 0,
        depends_on: Vec::new(),
        remedy: None,
        runbook: None,
    }
}

/// An item with its remedy.
pub(crate) fn ill(code: &str, severity: Severity, summary: String, remedy: &str) -> HealthItem {
    HealthItem { remedy: Some(remedy.to_owned()), ..item(code, severity, summary) }
}
