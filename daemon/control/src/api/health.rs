//! Health (spec/doorman.md 4.20, spec/octoprox.md 13.1): alive, ready, and what an administrator may see.

use super::Outcome;
use crate::envelope::Reply;
use crate::session::caller;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use serde_json::json;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/health", get => online);
    resource!(config, "/api/status", get => status);
}

/// Below `/api/v1`.
pub(crate) fn versioned(config: &mut ServiceConfig) {
    resource!(config, "/health", get => health);
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

async fn status(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)
        .map_err(|problem| gatehouse_common::problem::Problem::compat(401, "GTW401", problem.detail))?;
    caller.needs("manage_gateway", "GTW013")?;
    let revision = caller.state.revision;
    Ok(Reply::Data(200, json!({"status": "online", "mongodb": false, "redis": false, "revision": revision})))
}

async fn health(control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    let revision = control.changes.state().revision;
    // No engine is spoken to by this version, and that is what it says.
    let components = json!({"store": "healthy", "docker": "unavailable"});
    Ok(Reply::Data(200, json!({"status": "healthy", "revision": revision, "components": components})))
}
