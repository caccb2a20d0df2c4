//! What an API is (spec/doorman.md 4.1, 5.7 to 5.9, 8.5): its fields, and what must hold for the data plane to serve it.

mod rules;

pub(crate) use rules::{Issuer, check, issuer, server_url};

use crate::schema::{self, Absent, Field, Kind};
use crate::state::Row;
use crate::subjects::sealing::Sealer;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

pub(crate) const FIELDS: &[Field] = &[
    ("api_name", Kind::Text(1, 64), Absent::Required),
    ("api_version", Kind::Text(1, 8), Absent::Required),
    ("api_description", Kind::Text(0, 127), Absent::Null),
    ("api_allowed_roles", Kind::Texts, Absent::Empty),
    ("api_allowed_groups", Kind::Texts, Absent::Empty),
    ("api_servers", Kind::Texts, Absent::Empty),
    ("api_type", Kind::Text(0, 16), Absent::Null),
    ("api_allowed_retry_count", Kind::Between(0, 100), Absent::Number(0)),
    ("api_authorization_field_swap", Kind::Text(0, 128), Absent::Null),
    ("api_allowed_headers", Kind::Texts, Absent::Null),
    ("api_credits_enabled", Kind::Flag, Absent::Is(false)),
    ("api_credit_group", Kind::Text(0, 50), Absent::Null),
    ("active", Kind::Flag, Absent::Is(true)),
    ("api_cors_allow_origins", Kind::Texts, Absent::Null),
    ("api_cors_allow_methods", Kind::Texts, Absent::Null),
    ("api_cors_allow_headers", Kind::Texts, Absent::Null),
    ("api_cors_expose_headers", Kind::Texts, Absent::Null),
    ("api_cors_allow_credentials", Kind::Flag, Absent::Is(false)),
    ("api_public", Kind::Flag, Absent::Is(false)),
    ("api_auth_required", Kind::Flag, Absent::Is(true)),
    ("api_ip_mode", Kind::Text(1, 16), Absent::Text("allow_all")),
    ("api_ip_whitelist", Kind::Texts, Absent::Null),
    ("api_ip_blacklist", Kind::Texts, Absent::Null),
    ("api_trust_x_forwarded_for", Kind::Flag, Absent::Null),
    ("api_request_transform", Kind::Object, Absent::Null),
    ("api_response_transform", Kind::Object, Absent::Null),
    ("api_connect_timeout", Kind::Seconds, Absent::Null),
    ("api_read_timeout", Kind::Seconds, Absent::Null),
    ("api_write_timeout", Kind::Seconds, Absent::Null),
    // Kept for whoever asks; the gateway's pool never makes a call wait.
    ("api_pool_timeout", Kind::Seconds, Absent::Null),
    ("api_total_timeout", Kind::Seconds, Absent::Null),
    // Of a later release of the older gateway.
    ("api_hostname", Kind::Text(0, 253), Absent::Null),
    ("api_anonymous_allowed", Kind::Flag, Absent::Is(false)),
    ("api_anonymous_credit_group", Kind::Text(0, 50), Absent::Null),
    // Our own.
    ("api_retry_non_idempotent", Kind::Flag, Absent::Is(false)),
    ("api_balance", Kind::Text(1, 140), Absent::Text("round_robin")),
    ("api_health_check", Kind::Object, Absent::Null),
    ("api_cache", Kind::Flag, Absent::Is(false)),
    ("api_compress", Kind::Flag, Absent::Null),
    ("api_websocket", Kind::Flag, Absent::Is(false)),
    ("api_body_bytes", Kind::Int(1), Absent::Null),
    ("api_in_flight", Kind::Int(1), Absent::Null),
    ("api_priority", Kind::Between(0, 9), Absent::Number(5)),
    ("api_issuer", Kind::Object, Absent::Null),
    ("api_upstream_roots", Kind::Text(0, 262_144), Absent::Null),
    // Of protocols that the data plane does not speak yet: managed, and not looked at.
    ("api_grpc_package", Kind::Text(0, 255), Absent::Null),
    ("api_grpc_allowed_packages", Kind::Texts, Absent::Null),
    ("api_grpc_allowed_services", Kind::Texts, Absent::Null),
    ("api_grpc_allowed_methods", Kind::Texts, Absent::Null),
    ("api_grpc_web_enabled", Kind::Flag, Absent::Is(false)),
    ("api_grpc_reflection_url", Kind::Text(0, 2_048), Absent::Null),
    ("api_graphql_max_depth", Kind::Int(0), Absent::Null),
    ("api_graphql_schema_url", Kind::Text(0, 2_048), Absent::Null),
    ("api_graphql_subscriptions", Kind::Flag, Absent::Is(false)),
    ("api_wsdl_url", Kind::Text(0, 2_048), Absent::Null),
    ("api_soap_version", Kind::Text(0, 8), Absent::Null),
    ("api_ws_security", Kind::Object, Absent::Null),
    ("api_openapi_url", Kind::Text(0, 2_048), Absent::Null),
    ("api_openapi_auto_discover", Kind::Flag, Absent::Is(false)),
    ("api_is_crud", Kind::Flag, Absent::Is(false)),
    ("api_crud_collection", Kind::Text(0, 128), Absent::Null),
    ("api_crud_schema", Kind::Object, Absent::Null),
    ("api_id", Kind::Text(0, 64), Absent::Null),
    ("api_path", Kind::Text(0, 80), Absent::Null),
];

const WS_SECURITY: &str = "api_ws_security";

/// An API as it is answered: every field, no password.
pub(crate) fn shown(row: &Row) -> Value {
    let mut row = schema::complete(FIELDS, row);
    if let Some(Value::Object(security)) = row.get_mut(WS_SECURITY) {
        let known = security.remove("password").is_some();
        security.insert("password_present".to_owned(), json!(known));
    }
    Value::Object(row)
}

/// Encrypts the password of a body's `api_ws_security`; one that is not given again is the old one.
///
/// # Errors
/// As [`Sealer::seal`].
pub(crate) fn seal(sealer: &Sealer, key: &str, changes: &mut Row, old: Option<&Row>) -> Result<(), Problem> {
    let Some(Value::Object(security)) = changes.get_mut(WS_SECURITY) else { return Ok(()) };
    security.remove("password_present");
    let kept = old.and_then(|old| old.get(WS_SECURITY)?.get("password"));
    let password = match security.get("password").and_then(Value::as_str) {
        Some(password) => json!(sealer.seal(&format!("apis/{key}/{WS_SECURITY}"), password)?),
        None => kept.cloned().unwrap_or(Value::Null),
    };
    security.remove("password");
    if !password.is_null() {
        security.insert("password".to_owned(), password);
    }
    Ok(())
}
