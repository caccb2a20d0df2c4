//! Health (spec/doorman.md 4.20, spec/octoprox.md 13.1): alive, ready, and what an administrator may see.

use super::Outcome;
use crate::envelope::{Reply, detail};
use crate::session::caller;
use crate::state::Fields as _;
use crate::subjects::{engine, times};
use crate::{Inner, resource, versioned};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::units;
use gatehouse_corridor::command::EngineState;
use gatehouse_store::tables::REVISION_KEY;
use serde::Serialize;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/health", get => online);
    resource!(config, "/api/status", get => status);
    resource!(config, "/api/caches", delete => clear);
}

/// Below `/api/v1`.
pub(crate) fn versioned(config: &mut ServiceConfig) {
    versioned!(config, "/health", get => health);
}

/// Below `/health`.
pub(crate) fn plain(config: &mut ServiceConfig) {
    versioned!(config, "", get => healthy);
}

/// Whether it serves, for who asks often and wants no more.
async fn healthy(control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    if control.draining() {
        return Err(detail(503, "Shutting down"));
    }
    Ok(Reply::Bare(200, json!({ "status": "healthy" }).to_string()))
}

/// Below `/platform`.
pub(crate) fn platform(config: &mut ServiceConfig) {
    resource!(config, "/monitor/liveness", get => alive);
    resource!(config, "/monitor/readiness", get => ready);
}

async fn online(_control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    Ok(Reply::Bare(200, json!({ "status": "online" }).to_string()))
}

async fn alive(_control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    Ok(Reply::Bare(200, json!({ "status": "alive" }).to_string()))
}

/// Ready while it takes calls; a draining daemon says so, so that a balancer sends no more.
async fn ready(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let known = caller(control, request).is_ok_and(|caller| caller.may("manage_gateway"));
    let shown = |value: serde_json::Value| if known { value } else { serde_json::Value::Null };
    let (status, code) = if control.draining() { ("degraded", 503) } else { ("ready", 200) };
    let body = json!({
        "status": status, "mongodb": shown(json!(false)), "redis": shown(json!(false)),
        "mode": shown(json!("memory")), "cache_backend": shown(json!("memory")),
    });
    Ok(Reply::Bare(code, body.to_string()))
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
    super::real(request)?;
    control.usages.clear_limits();
    control.changes.clear_caches(caller.actor()).await?;
    Ok(Reply::message(200, "All caches cleared"))
}

/// One component; `status` comes first, since scripts look for it there (spec/octoprox.md 13.1).
#[derive(Serialize, Clone)]
struct Component {
    status: &'static str,
    healthy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_time_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

#[derive(Serialize, Clone)]
struct Components {
    database: Component,
    docker: Component,
}

#[derive(Serialize, Clone)]
struct Workspaces {
    total: u64,
    active: u64,
}

#[derive(Serialize)]
struct Part {
    status: &'static str,
    timestamp: String,
    components: Components,
    workspaces: Workspaces,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    checks: Components,
    components: Components,
    workspaces: Workspaces,
    timestamp: String,
    data: Part,
}

/// The container engine as one component: healthy where one answers, unavailable where none does.
fn docker(state: &EngineState) -> Component {
    let healthy = matches!(state, EngineState::Reachable { .. });
    let (response_time_ms, version) = match state {
        EngineState::Reachable { name, latency_us, .. } => {
            (Some(*latency_us as f64 / 1e3), name.rsplit(' ').next().map(str::to_owned))
        }
        _ => (None, None),
    };
    let status = if healthy { "healthy" } else { "unavailable" };
    Component { status, healthy, response_time_ms, version }
}

/// All that are known, deleted ones too, and those that are meant to run.
fn workspaces(control: &Inner) -> Workspaces {
    let state = control.changes.state();
    let active = state.rows("workspaces").filter(|(_, row)| row.text("status") == "active").count();
    Workspaces { total: state.table("workspaces").len() as u64, active: active as u64 }
}

/// The union of the shapes that older clients and scripts read.
async fn health(control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    let begun = std::time::Instant::now();
    let read = control.store.get("meta", REVISION_KEY).is_ok();
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let database = Component {
        status: if read { "healthy" } else { "unhealthy" },
        healthy: read,
        response_time_ms: Some((took * 1e3).round() / 1e3),
        version: None,
    };
    let docker = docker(&engine::state(&control.config()).await);
    let (status, code) = match (read, docker.healthy) {
        (true, true) => ("healthy", 200),
        (true, false) => ("degraded", 200),
        (false, _) => ("unhealthy", 503),
    };
    let components = Components { database, docker };
    let (timestamp, workspaces) = (times::text(control.clock.unix_ms()), workspaces(control));
    let data = Part {
        status,
        timestamp: timestamp.clone(),
        components: components.clone(),
        workspaces: workspaces.clone(),
    };
    let health = Health { status, checks: components.clone(), components, workspaces, timestamp, data };
    let text =
        serde_json::to_string(&health).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    Ok(Reply::Bare(code, text))
}
