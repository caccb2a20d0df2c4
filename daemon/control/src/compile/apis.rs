//! APIs with their endpoints.

use super::changed;
use crate::index::{By, host, owner};
use crate::state::{Fields as _, Row, State};
use crate::subjects::{apis, validations};
use gatehouse_common::ids::RouteId;
use gatehouse_corridor::snapshot::api::{
    AddressRules, Balance, Cors, HealthCheck, Issuer, Retries, Timeouts,
};
use gatehouse_corridor::snapshot::{Api, Endpoint};
use imbl::OrdMap;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

type Apis = OrdMap<String, Arc<Api>>;
/// Texts of JWKS by where they were fetched.
pub(crate) type KeySets = OrdMap<String, Arc<str>>;

pub(super) fn all(state: &State, jwks: &KeySets) -> Apis {
    state.rows("apis").map(|(key, row)| (key.clone(), Arc::new(api(key, row, state, jwks)))).collect()
}

/// Compiles anew each API that changed, or one of whose endpoints or their validations did, or whose issuer's keys are in
/// `fetched`.
pub(super) fn update(
    (old, new): (&State, &State),
    jwks: &KeySets,
    fetched: &BTreeSet<String>,
    apis: &mut Apis,
) {
    let mut touched: BTreeSet<String> = changed(old, new, "apis").map(|row| row.key.to_owned()).collect();
    for row in changed(old, new, "endpoints") {
        touched.extend(row.old.map(owner));
        touched.extend(row.new.map(owner));
    }
    for row in changed(old, new, "validations") {
        let endpoints = new.keys_by(By::EndpointId, row.key);
        touched.extend(endpoints.filter_map(|key| new.get("endpoints", key)).map(|row| owner(row)));
    }
    touched.extend(fetched.iter().flat_map(|url| new.keys_by(By::ApiJwks, url)).map(str::to_owned));
    for key in touched {
        match new.get("apis", &key) {
            Some(row) => drop(apis.insert(key.clone(), Arc::new(api(&key, row, new, jwks)))),
            None => drop(apis.remove(&key)),
        }
    }
}

fn api(key: &str, row: &Row, state: &State, jwks: &KeySets) -> Api {
    let endpoints = state.keys_by(By::EndpointApi, key).filter_map(|key| state.get("endpoints", key));
    let anonymous = row.flag("api_anonymous_allowed");
    Api {
        id: RouteId::from(row.text("api_id")),
        name: row.text("api_name").to_owned(),
        version: row.text("api_version").to_owned(),
        hostname: text(row, "api_hostname").map(|name| host(&name)),
        active: row.flag("active"),
        public: row.flag("api_public"),
        auth_required: row.flag("api_auth_required"),
        anonymous,
        allowed_roles: row.list("api_allowed_roles"),
        allowed_groups: row.list("api_allowed_groups"),
        addresses: addresses(row),
        servers: servers(row, "api_servers"),
        balance: balance(row.text("api_balance")),
        health_check: row.get("api_health_check").and_then(Value::as_object).map(health_check),
        upstream_roots: text(row, "api_upstream_roots"),
        allowed_headers: row
            .list("api_allowed_headers")
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect(),
        authorization_swap: text(row, "api_authorization_field_swap"),
        cors: cors(row),
        retries: Retries {
            count: u32::try_from(row.number("api_allowed_retry_count")).unwrap_or(0),
            non_idempotent: row.flag("api_retry_non_idempotent"),
        },
        timeouts: timeouts(row),
        credit_group: text(row, "api_credit_group").filter(|_| row.flag("api_credits_enabled")),
        anonymous_credit_group: text(row, "api_anonymous_credit_group").filter(|_| anonymous),
        request_transform: transform(row, "api_request_transform", "request"),
        response_transform: transform(row, "api_response_transform", "response"),
        cache: row.flag("api_cache"),
        compress: row.get("api_compress").and_then(Value::as_bool),
        websocket: row.flag("api_websocket"),
        body_bytes: row.get("api_body_bytes").and_then(Value::as_u64),
        in_flight: row.get("api_in_flight").and_then(Value::as_u64),
        priority: row
            .get("api_priority")
            .and_then(Value::as_u64)
            .map_or(5, |of| u8::try_from(of.min(9)).unwrap_or(9)),
        issuer: issuer(row, jwks),
        endpoints: endpoints.map(|endpoint| self::endpoint(endpoint, state)).collect(),
    }
}

fn text(row: &Row, name: &str) -> Option<String> {
    Some(row.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(row: &Row, name: &str) -> Option<Vec<String>> {
    row.get(name).filter(|value| value.is_array()).map(|_| row.list(name))
}

/// Upstreams that the data plane speaks with; those of gRPC are kept for when it does.
fn servers(row: &Row, name: &str) -> Vec<String> {
    let mut servers = row.list(name);
    servers.retain(|server| !server.starts_with("grpc"));
    servers
}

fn addresses(row: &Row) -> AddressRules {
    AddressRules {
        only_allowed: row.text("api_ip_mode") == "whitelist",
        allow: row.list("api_ip_whitelist"),
        deny: row.list("api_ip_blacklist"),
        trust_forwarded: row.get("api_trust_x_forwarded_for").and_then(Value::as_bool),
    }
}

fn balance(text: &str) -> Balance {
    match text.split_once(':') {
        Some(("hash", header)) => Balance::HashHeader(header.to_ascii_lowercase()),
        _ if text == "least_request" => Balance::LeastRequest,
        _ => Balance::RoundRobin,
    }
}

fn millis(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_f64).map(|secs| (secs * 1e3) as u64)
}

fn health_check(object: &Row) -> HealthCheck {
    let count = |name: &str, usual: u32| {
        object.get(name).and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok()).unwrap_or(usual)
    };
    HealthCheck {
        path: object.text("path").to_owned(),
        interval_ms: millis(object.get("interval")).unwrap_or(5_000),
        timeout_ms: millis(object.get("timeout")).unwrap_or(2_000),
        failures: count("failures", 3),
        successes: count("successes", 2),
    }
}

fn cors(row: &Row) -> Cors {
    Cors {
        origins: texts(row, "api_cors_allow_origins"),
        methods: texts(row, "api_cors_allow_methods"),
        headers: texts(row, "api_cors_allow_headers"),
        expose: texts(row, "api_cors_expose_headers"),
        credentials: row.flag("api_cors_allow_credentials"),
    }
}

fn timeouts(row: &Row) -> Timeouts {
    let millis = |name: &str| millis(row.get(name));
    Timeouts {
        connect_ms: millis("api_connect_timeout"),
        read_ms: millis("api_read_timeout"),
        write_ms: millis("api_write_timeout"),
        total_ms: millis("api_total_timeout"),
    }
}

/// The rules themselves, not the name of their direction around them.
fn transform(row: &Row, name: &str, direction: &str) -> Option<Arc<Value>> {
    let value = row.get(name).filter(|value| value.is_object())?;
    let inner = value.get(direction).unwrap_or(value);
    Some(Arc::new(inner.clone()))
}

fn issuer(row: &Row, jwks: &KeySets) -> Option<Issuer> {
    let apis::Issuer { name, jwks_url, audience, user_claim } =
        apis::issuer(row.get("api_issuer")).ok()??;
    let jwks = jwks.get(&jwks_url).cloned();
    Some(Issuer { name, jwks_url, audience, user_claim, jwks })
}

fn endpoint(row: &Row, state: &State) -> Endpoint {
    Endpoint {
        method: row.text("endpoint_method").to_owned(),
        uri: row.text("endpoint_uri").to_owned(),
        servers: servers(row, "endpoint_servers"),
        validation: validations::validation_of(state, row.text("endpoint_id")),
    }
}
