//! Health (spec/doorman.md 4.20, spec/octoprox.md 13.1): alive, ready, and what an administrator may see.

use super::Outcome;
use crate::envelope::Reply;
use crate::session::caller;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_common::units;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/health", get => online);
    resource!(config, "/api/status", get => status);
    resource!(config, "/api/caches", delete => clear);
    resource!(config, "/api/v1/health", get => health);
}

/// Below `/platform`.
pub(crate) fn platform(config: &mut ServiceConfig) {
    resource!(config, "/monitor/liveness", get => alive);
    resource!(config, "/monitor/readiness", get => ready);
}

async fn online(_control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    Ok(Reply::Data(200, json!({ "status": "online" })))
}

async fn alive(_control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    Ok(Reply::Data(200, json!({ "status": "alive" })))
}

/// The store answered at the start and every change since; its own storage is the only dependency.
async fn ready(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let known = caller(control, request).is_ok_and(|caller| caller.may("manage_gateway"));
    let shown = |value: serde_json::Value| if known { value } else { serde_json::Value::Null };
    Ok(Reply::Data(
        200,
        json!({
            "status": "ready", "mongodb": shown(json!(false)), "redis": shown(json!(false)),
            "mode": shown(json!("memory")), "cache_backend": shown(json!("memory")),
        }),
    ))
}

/// The union of what older clients look for (spec/doorman.md 4.20 and 7).
async fn status(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller =
        caller(control, request).map_err(|problem| Problem::compat(401, "GTW401", problem.detail))?;
    caller.needs("manage_gateway", "GTW013")?;
    let config = control.config();
    let now_ms = control.clock.unix_ms();
    let up = Duration::from_millis(u64::try_from(now_ms - control.started_unix_ms).unwrap_or(0));
    let (resident, whole) = memory();
    Ok(Reply::Data(
        200,
        json!({
            "status": "online", "mongodb": false, "redis": false, "mode": "memory",
            "revision": caller.state.revision, "uptime": units::span(up), "uptime_seconds": up.as_secs(),
            "memory_usage": format!("{:.1}%", resident as f64 * 100.0 / whole.max(1) as f64),
            "memory_usage_mb": resident / (1024 * 1024),
            "active_connections": config.telemetry.connections.load(Ordering::Relaxed),
        }),
    ))
}

/// Resident memory of this process and memory of the machine, bytes (proc(5)); 0 where the kernel does not say.
fn memory() -> (u64, u64) {
    let kib = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap_or(0) * 1024
    };
    (kib("/proc/self/status", "VmRSS:"), kib("/proc/meminfo", "MemTotal:"))
}

async fn clear(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_gateway", "GTW008")?;
    control.changes.clear_caches(caller.actor()).await?;
    Ok(Reply::message(200, "All caches cleared"))
}

async fn health(control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    let revision = control.changes.state().revision;
    // No engine is spoken to by this version, and that is what it says.
    let components = json!({"store": "healthy", "docker": "unavailable"});
    Ok(Reply::Data(200, json!({"status": "healthy", "revision": revision, "components": components})))
}
