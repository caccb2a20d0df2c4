//! Rows as the console's tables show them.

use crate::index::By;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::ids::{ConsumerId, RouteId, TokenId};
use gatehouse_common::ops::entities::{Consumer, Route, Session, Token};
use serde_json::Value;
use std::collections::HashMap;

fn millis(row: &Row, name: &str) -> Option<i64> {
    row.get(name).and_then(Value::as_i64)
}

/// The APIs with their endpoints.
pub(crate) fn routes(state: &State) -> Vec<Route> {
    let mut endpoints: HashMap<String, Vec<String>> = HashMap::new();
    for (_, row) in state.rows("endpoints") {
        let owner = format!("{}/{}", row.text("api_name"), row.text("api_version"));
        let line = format!("{} {}", row.text("endpoint_method"), row.text("endpoint_uri"));
        endpoints.entry(owner).or_default().push(line);
    }
    state
        .rows("apis")
        .map(|(name, row)| route(name, row, endpoints.remove(name).unwrap_or_default()))
        .collect()
}

fn route(name: &str, row: &Row, endpoints: Vec<String>) -> Route {
    let kind = row.text("api_type").to_lowercase();
    let protected = row.flag("api_auth_required") && !row.flag("api_public");
    let mut policies = vec!["body size".to_owned()];
    if protected {
        policies.extend(["credential".to_owned(), "subscription".to_owned()]);
        let lists = [("roles", row.list("api_allowed_roles")), ("groups", row.list("api_allowed_groups"))];
        let named = lists.iter().filter(|(_, names)| !names.is_empty());
        policies.extend(named.map(|(kind, names)| format!("{kind}: {}", names.join(", "))));
        policies.push("rate limit of the consumer".to_owned());
    }
    let list = |name: &str| !row.list(name).is_empty();
    for (applies, policy) in [
        (row.text("api_ip_mode") == "whitelist" || list("api_ip_blacklist"), "addresses"),
        (list("api_cors_allow_origins"), "cross-origin"),
        (row.flag("api_credits_enabled"), "credits"),
        (row.number("api_allowed_retry_count") > 0, "retries"),
        (row.get("api_health_check").is_some_and(Value::is_object), "health check"),
        (row.get("api_request_transform").is_some_and(Value::is_object), "request transform"),
        (row.get("api_response_transform").is_some_and(Value::is_object), "response transform"),
        (row.flag("api_cache"), "cache"),
        (row.get("api_issuer").is_some_and(Value::is_object), "external issuer"),
    ] {
        policies.extend(applies.then(|| policy.to_owned()));
    }
    Route {
        id: RouteId::from(row.text("api_id")),
        name: name.to_owned(),
        kind: if kind.is_empty() { "rest".to_owned() } else { kind },
        active: row.flag("active"),
        protected,
        endpoints,
        upstreams: row.list("api_servers"),
        policies,
    }
}

/// The users with what of theirs is alive.
pub(crate) fn consumers(state: &State, now_ms: i64) -> Vec<Consumer> {
    let mut live: HashMap<String, (usize, usize)> = HashMap::new();
    for session in sessions(state, now_ms) {
        live.entry(session.consumer.0).or_default().0 += 1;
    }
    let alive = |row: &Row| {
        millis(row, "revoked_unix_ms").is_none()
            && millis(row, "expires_unix_ms").is_none_or(|at| at > now_ms)
    };
    for (_, row) in state.rows("keys").filter(|(_, row)| alive(row)) {
        live.entry(row.text("username").to_owned()).or_default().1 += 1;
    }
    state
        .rows("users")
        .map(|(name, row)| {
            let (sessions, keys) = live.get(name).copied().unwrap_or_default();
            Consumer {
                id: ConsumerId::from(name.as_str()),
                email: row.text("email").to_owned(),
                role: row.text("role").to_owned(),
                groups: row.list("groups"),
                subscriptions: state
                    .get("subscriptions", name)
                    .map(|row| row.list("apis"))
                    .unwrap_or_default(),
                active: row.flag("active") && !row.flag("tokens_revoked"),
                sessions,
                keys,
            }
        })
        .collect()
}

/// The API keys, revoked ones too.
pub(crate) fn tokens(state: &State) -> Vec<Token> {
    let token = |(id, row): (&String, &std::sync::Arc<Row>)| Token {
        id: TokenId::from(id.as_str()),
        consumer: ConsumerId::from(row.text("username")),
        name: row.text("name").to_owned(),
        prefix: format!("mcp_{}", row.text("prefix")),
        created_unix_ms: row.number("created_unix_ms"),
        expires_unix_ms: millis(row, "expires_unix_ms"),
        revoked_unix_ms: millis(row, "revoked_unix_ms"),
    };
    state.rows("keys").map(token).collect()
}

/// How many sessions of a user are alive.
pub(crate) fn sessions_of(state: &State, name: &str, now_ms: i64) -> usize {
    alive_of(state, name, now_ms).count()
}

/// The sessions of a user that are alive, by id.
pub(crate) fn alive_of<'s>(
    state: &'s State,
    name: &'s str,
    now_ms: i64,
) -> impl Iterator<Item = (&'s str, &'s Row)> {
    let rows = state.keys_by(By::SessionUser, name);
    let rows = rows.filter_map(|id| Some((id, &**state.get("sessions", id)?)));
    rows.filter(move |(id, row)| alive(state, id, row, now_ms))
}

pub(crate) fn alive(state: &State, id: &str, row: &Row, now_ms: i64) -> bool {
    let user = state.get("users", row.text("username"));
    row.number("expires_unix_secs") > now_ms / 1_000
        && state.get("revoked", id).is_none()
        && user.is_some_and(|user| {
            user.flag("active")
                && !user.flag("tokens_revoked")
                && user.number("token_epoch") == row.number("epoch")
        })
}

/// The sessions whose tokens would still be accepted.
pub(crate) fn sessions(state: &State, now_ms: i64) -> Vec<Session> {
    state
        .rows("sessions")
        .filter(|(id, row)| alive(state, id, row, now_ms))
        .map(|(id, row)| Session {
            id: id.clone(),
            consumer: ConsumerId::from(row.text("username")),
            created_unix_ms: row.number("created_unix_ms"),
            expires_unix_ms: row.number("expires_unix_secs") * 1_000,
            source: row.text("source").to_owned(),
        })
        .collect()
}
