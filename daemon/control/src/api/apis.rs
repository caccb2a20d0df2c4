//! `/platform/api` (spec/doorman.md 4.1).

use super::{Outcome, json, lists, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::caller;
use crate::state::{Fields as _, Row, State};
use crate::subjects::leaving;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use actix_web::web::{Bytes, ServiceConfig};
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
    ("api_allowed_retry_count", Kind::Int(0), Absent::Zero),
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
    ("api_id", Kind::Text(0, 64), Absent::Null),
    ("api_path", Kind::Text(0, 80), Absent::Null),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/all", get => list);
    resource!(config, "/api/{name}/{version}", get => get, put => put, delete => delete);
    resource!(config, "/api", post => post, get => list);
}

/// All that must hold for the data plane to serve it.
fn check(row: &Row) -> Result<(), Problem> {
    let servers = row.list("api_servers");
    if let Some(detail) = servers.iter().find_map(|server| super::endpoints::server_problem(server)) {
        return Err(Problem::compat(400, "API002", format!("api_servers: {detail}")).at("api_servers"));
    }
    let swap = row.text("api_authorization_field_swap").to_owned();
    for (field, names) in [
        ("api_allowed_headers", row.list("api_allowed_headers")),
        ("api_authorization_field_swap", if swap.is_empty() { Vec::new() } else { vec![swap] }),
    ] {
        if let Some(bad) = names.iter().find(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            let text = format!("{field}: {bad:?}: expected a header name (RFC 9110 5.1)");
            return Err(Problem::compat(400, "API002", text).at(field));
        }
    }
    unenforced(row)?;
    if row.flag("api_public") && row.flag("api_credits_enabled") {
        return Err(Problem::compat(400, "API013", "A public API cannot have credits enabled"));
    }
    Ok(())
}

/// A protection that would be stored and not enforced is refused: it would be relied on.
fn unenforced(row: &Row) -> Result<(), Problem> {
    let refused = |field: &str, expected: &str| {
        let text = format!("{field}: not enforced by this version; expected {expected}");
        Err(Problem::compat(400, "API002", text).at(field))
    };
    if row.text("api_ip_mode") != "allow_all" {
        return refused("api_ip_mode", "allow_all");
    }
    for field in ["api_ip_whitelist", "api_ip_blacklist"] {
        if !row.list(field).is_empty() {
            return refused(field, "an empty list");
        }
    }
    if row.flag("api_credits_enabled") && !row.flag("api_public") {
        return refused("api_credits_enabled", "false");
    }
    Ok(())
}

fn missing() -> Problem {
    Problem::compat(400, "API003", "API does not exist for the requested name and version")
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    caller.needs("manage_apis", "API007")?;
    let key = format!("{}/{}", row.text("api_name"), row.text("api_version"));
    if caller.state.get("apis", &key).is_some() {
        return Ok(Reply::message(200, "API already exists"));
    }
    super::addressable(row.text("api_name"), &[], "API002", "api_name")?;
    super::addressable(row.text("api_version"), &[], "API002", "api_version")?;
    check(&row)?;
    row.insert("api_id".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    row.insert("api_path".to_owned(), json!(format!("/{key}")));
    let made = row.clone();
    let make = move |state: &State| match state.get("apis", &key) {
        Some(_) => Err(Problem::compat(200, "", "API already exists")),
        None => Ok(Draft::new("api.create", format!("api/{key}")).detail(json!(row)).put("apis", key, row)),
    };
    match control.changes.submit(caller.actor(), make).await {
        Ok(_) => Ok(Reply::Data(201, json!({ "api": made }))),
        Err(problem) if problem.status == 200 => Ok(Reply::message(200, problem.detail)),
        Err(problem) => Err(problem),
    }
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller =
        caller(control, request).map_err(|problem| Problem::compat(401, "API_AUTH", problem.detail))?;
    let rows = caller.state.rows("apis").map(|(_, row)| json!(**row)).collect();
    Ok(Reply::Data(200, lists::page(control, request, "apis", rows)?))
}

fn key(request: &HttpRequest) -> String {
    format!("{}/{}", part(request, "name"), part(request, "version"))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let row = caller.state.get("apis", &key(request)).ok_or_else(missing)?;
    Ok(Reply::Data(200, json!(**row)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = schema::update(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    caller.needs("manage_apis", "API008")?;
    let key = key(request);
    let make = move |state: &State| {
        let old = state.get("apis", &key).ok_or_else(missing)?;
        let renames = |name: &str| changes.get(name).is_some_and(|new| Some(new) != old.get(name));
        if renames("api_name") || renames("api_version") {
            return Err(Problem::compat(400, "API005", "api_name and api_version cannot be changed"));
        }
        if changes.is_empty() {
            return Err(Problem::compat(400, "API006", "No data to update"));
        }
        let mut row = Row::clone(old);
        let kept = ["api_id", "api_path"];
        row.extend(changes.into_iter().filter(|(name, _)| !kept.contains(&name.as_str())));
        check(&row)?;
        let detail = json!({"before": **old, "after": row});
        Ok(Draft::new("api.update", format!("api/{key}")).detail(detail).put("apis", key, row))
    };
    control.changes.submit(caller.actor(), make).await?;
    Ok(Reply::message(200, "API updated successfully"))
}

/// Takes its endpoints and subscriptions with it, so that a later API of that name begins clean.
async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_apis", "API007")?;
    let key = key(request);
    let make = move |state: &State| {
        let old = state.get("apis", &key).ok_or_else(missing)?;
        let mut draft = Draft::new("api.delete", format!("api/{key}")).detail(json!({ "before": **old }));
        for (id, endpoint) in state.rows("endpoints") {
            if format!("{}/{}", endpoint.text("api_name"), endpoint.text("api_version")) == key {
                draft = leaving::endpoint(endpoint, draft).delete("endpoints", id.clone());
            }
        }
        for (user, row) in state.rows("subscriptions") {
            let left: Vec<Value> =
                row.list("apis").into_iter().filter(|api| *api != key).map(Value::from).collect();
            if left.len() < row.list("apis").len() {
                let mut row = Row::clone(row);
                row.insert("apis".to_owned(), Value::Array(left));
                draft = draft.put("subscriptions", user.clone(), row);
            }
        }
        Ok(draft.delete("apis", key))
    };
    control.changes.submit(caller.actor(), make).await?;
    Ok(Reply::message(200, "API deleted successfully"))
}
