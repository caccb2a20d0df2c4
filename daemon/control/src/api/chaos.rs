//! What is left of the older gateway's tools (spec/doorman.md 4.22) where there is neither Redis nor MongoDB nor a
//! generator of gRPC types: each says how it is.

use super::{Outcome, json};
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::caller;
use crate::state::Fields as _;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Longest outage, milliseconds.
const OUTAGE_MS: i64 = 3_600_000;
const NOTE: &str = "This appliance has neither Redis nor MongoDB: an outage of one changes nothing.";

/// Outages that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Chaos {
    /// Unix milliseconds of their ends; 0: there is none.
    redis: AtomicI64,
    mongo: AtomicI64,
    /// Errors answered before the outage that is on.
    before: AtomicU64,
    /// Errors answered during outages that are over.
    burnt: AtomicU64,
}

impl Chaos {
    fn of(&self, backend: &str) -> Option<&AtomicI64> {
        match backend {
            "redis" => Some(&self.redis),
            "mongo" => Some(&self.mongo),
            _ => None,
        }
    }

    fn on(&self, now_ms: i64) -> (bool, bool) {
        (self.redis.load(Ordering::Relaxed) > now_ms, self.mongo.load(Ordering::Relaxed) > now_ms)
    }

    /// Settles what outages that have ended have burnt; what an open one has burnt so far comes on top.
    fn burn(&self, errors: u64, now_ms: i64) -> u64 {
        let open = self.on(now_ms) != (false, false);
        let ends = [&self.redis, &self.mongo].map(|end| end.load(Ordering::Relaxed));
        let since = errors.saturating_sub(self.before.load(Ordering::Relaxed));
        if open {
            return self.burnt.load(Ordering::Relaxed) + since;
        }
        if ends.iter().any(|end| *end != 0) {
            self.redis.store(0, Ordering::Relaxed);
            self.mongo.store(0, Ordering::Relaxed);
            self.burnt.fetch_add(since, Ordering::Relaxed);
        }
        self.burnt.load(Ordering::Relaxed)
    }

    /// Switches an outage; `false` for a backend that nobody knows.
    fn switch(&self, backend: &str, until_ms: Option<i64>, errors: u64, now_ms: i64) -> bool {
        let Some(end) = self.of(backend) else { return false };
        self.burn(errors, now_ms);
        if until_ms.is_some() && self.on(now_ms) == (false, false) {
            self.before.store(errors, Ordering::Relaxed);
        }
        // An end in the past, not none: what it burnt is settled by the next look.
        let over = if end.load(Ordering::Relaxed) == 0 { 0 } else { now_ms };
        end.store(until_ms.unwrap_or(over), Ordering::Relaxed);
        self.burn(errors, now_ms);
        true
    }
}

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/tools/chaos/toggle", post => toggle);
    resource!(config, "/tools/chaos/stats", get => stats);
    resource!(config, "/tools/grpc/check", get => grpc);
}

pub(crate) const FIELDS: &[Field] = &[
    ("backend", Kind::Text(0, 20), Absent::Text("")),
    ("enabled", Kind::Flag, Absent::Is(false)),
    ("duration_ms", Kind::Int(0), Absent::Null),
];

fn errors(control: &Inner) -> u64 {
    control.config().telemetry.total.errors.load(Ordering::Relaxed)
}

async fn toggle(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(FIELDS, &json(body)?)?;
    caller(control, request)?.needs("manage_gateway", "TLS001")?;
    super::real(request)?;
    let (backend, now_ms) = (asked.text("backend"), control.clock.unix_ms());
    let lasts = Some(asked.number("duration_ms")).filter(|lasts| *lasts > 0).unwrap_or(OUTAGE_MS);
    let until_ms = asked.flag("enabled").then(|| now_ms + lasts.min(OUTAGE_MS));
    if !control.chaos.switch(backend, until_ms, errors(control), now_ms) {
        return Err(Problem::compat(400, "TLS002", "backend: expected redis or mongo").at("backend"));
    }
    Ok(Reply::Data(200, json!({"backend": backend, "enabled": asked.flag("enabled"), "note": NOTE})))
}

async fn stats(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    caller(control, request)?.needs("manage_gateway", "TLS001")?;
    let now_ms = control.clock.unix_ms();
    let burn = control.chaos.burn(errors(control), now_ms);
    let (redis, mongo) = control.chaos.on(now_ms);
    let body = json!({"redis_outage": redis, "mongo_outage": mongo, "error_budget_burn": burn, "note": NOTE});
    Ok(Reply::Data(200, body))
}

async fn grpc(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    caller(control, request)?.needs("manage_security", "TLS001")?;
    let body = json!({
        "available": {"grpc": false, "grpc_tools_protoc": false}, "reflection_enabled": false,
        "notes": ["The data plane of this version carries no gRPC."], "details": {},
    });
    Ok(Reply::Data(200, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_an_outage_are_counted_and_it_ends_by_itself() {
        let chaos = Chaos::default();
        assert_eq!(chaos.burn(7, 0), 0, "before any outage");
        assert!(chaos.switch("redis", Some(1_000), 7, 0));
        assert_eq!((chaos.burn(9, 500), chaos.on(500)), (2, (true, false)));
        assert_eq!((chaos.burn(10, 1_000), chaos.on(1_000)), (3, (false, false)));
        assert_eq!(chaos.burn(50, 2_000), 3);
        assert!(chaos.switch("mongo", Some(9_000), 50, 3_000) && chaos.switch("mongo", None, 54, 4_000));
        assert_eq!((chaos.burn(90, 5_000), chaos.on(5_000)), (7, (false, false)));
        assert!(!chaos.switch("oracle", Some(1), 0, 0));
    }
}
