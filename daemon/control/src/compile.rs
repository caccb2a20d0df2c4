//! State to snapshot; pure.

use crate::config::ControlConfig;
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::is_admin;
use gatehouse_common::ids::{ConsumerId, RouteId, TokenId};
use gatehouse_corridor::snapshot::api::Timeouts;
use gatehouse_corridor::snapshot::{
    Api, ApiKey, Consumer, Endpoint, GatewayLimits, Rate, Snapshot, TokenKey,
};
use std::sync::Arc;

/// What settings add to the rows.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    token_keys: Vec<TokenKey>,
    limits: Arc<GatewayLimits>,
    /// How often counters were set back since the start.
    pub(crate) counters: u64,
    enforce_admin_subscription: bool,
}

impl Compiler {
    pub(crate) fn new(config: &ControlConfig) -> Self {
        Self {
            token_keys: config.signing_keys.clone(),
            limits: Arc::new(config.limits.clone()),
            counters: 0,
            enforce_admin_subscription: config.enforce_admin_subscription,
        }
    }
}

/// Compiles all rows.
pub(crate) fn compile(compiler: &Compiler, state: &State) -> Snapshot {
    let keyed = |table: &str| state.rows(table).map(|(key, _)| key.clone()).collect();
    Snapshot {
        revision: state.revision,
        apis: state.rows("apis").map(|(key, row)| (key.clone(), Arc::new(api(key, row, state)))).collect(),
        consumers: state
            .rows("users")
            .map(|(name, row)| (name.clone(), Arc::new(consumer(row, compiler, state))))
            .collect(),
        api_keys: state
            .rows("keys")
            .filter_map(|(id, row)| key(id, row))
            .map(|key| (key.hash, Arc::new(key)))
            .collect(),
        token_keys: compiler.token_keys.clone(),
        revoked_tokens: keyed("revoked"),
        limits: Arc::clone(&compiler.limits),
        counters: compiler.counters,
        ..Snapshot::default()
    }
}

fn api(key: &str, row: &Row, state: &State) -> Api {
    let endpoints = state.rows("endpoints").filter(|(_, endpoint)| owner(endpoint) == key);
    let swap = row.text("api_authorization_field_swap");
    let millis =
        |name: &str| row.get(name).and_then(serde_json::Value::as_f64).map(|secs| (secs * 1e3) as u64);
    Api {
        id: RouteId::from(row.text("api_id")),
        name: row.text("api_name").to_owned(),
        version: row.text("api_version").to_owned(),
        active: row.flag("active"),
        public: row.flag("api_public"),
        auth_required: row.flag("api_auth_required"),
        allowed_roles: row.list("api_allowed_roles"),
        allowed_groups: row.list("api_allowed_groups"),
        servers: row.list("api_servers"),
        allowed_headers: row.list("api_allowed_headers"),
        authorization_swap: (!swap.is_empty()).then(|| swap.to_owned()),
        timeouts: Timeouts {
            connect_ms: millis("api_connect_timeout"),
            read_ms: millis("api_read_timeout"),
            ..Timeouts::default()
        },
        endpoints: endpoints.map(|(_, endpoint)| self::endpoint(endpoint)).collect(),
        ..Api::default()
    }
}

/// `name/version` of the API an endpoint belongs to.
fn owner(endpoint: &Row) -> String {
    format!("{}/{}", endpoint.text("api_name"), endpoint.text("api_version"))
}

fn endpoint(row: &Row) -> Endpoint {
    Endpoint {
        method: row.text("endpoint_method").to_owned(),
        uri: row.text("endpoint_uri").to_owned(),
        servers: row.list("endpoint_servers"),
        validation: None,
    }
}

fn consumer(row: &Row, compiler: &Compiler, state: &State) -> Consumer {
    let name = row.text("username");
    let subscriptions = state.get("subscriptions", name).map(|row| row.list("apis")).unwrap_or_default();
    Consumer {
        id: ConsumerId::from(name),
        role: row.text("role").to_owned(),
        subscription_exempt: !compiler.enforce_admin_subscription && is_admin(state, row.text("role")),
        groups: row.list("groups"),
        subscriptions,
        active: row.flag("active"),
        revoked: row.flag("tokens_revoked"),
        token_epoch: u64::try_from(row.number("token_epoch")).unwrap_or(0),
        rate: rate(row),
        ..Consumer::default()
    }
}

/// spec/doorman.md 5.3: active if switched on or given; 0 means 60, no unit means minute.
fn rate(row: &Row) -> Option<Rate> {
    let given = u64::try_from(row.number("rate_limit_duration")).unwrap_or(0);
    if !row.flag("rate_limit_enabled") && given == 0 {
        return None;
    }
    let window_ms = match row.text("rate_limit_duration_type").trim_end_matches('s') {
        "second" => 1_000,
        "hour" => 3_600_000,
        "day" => 86_400_000,
        "week" => 604_800_000,
        "month" => 2_592_000_000,
        "year" => 31_536_000_000,
        _ => 60_000,
    };
    Some(Rate { limit: if given == 0 { 60 } else { given }, window_ms })
}

fn key(id: &str, row: &Row) -> Option<ApiKey> {
    if row.get("revoked_unix_ms").is_some_and(|at| !at.is_null()) {
        return None;
    }
    let hash = hex::decode(row.text("hash")).ok()?.try_into().ok()?;
    let expires_unix_ms = row.get("expires_unix_ms").and_then(serde_json::Value::as_i64);
    Some(ApiKey {
        hash,
        id: TokenId::from(id),
        consumer: ConsumerId::from(row.text("username")),
        expires_unix_ms,
    })
}
