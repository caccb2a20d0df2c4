//! `/platform/endpoint` (spec/doorman.md 4.2).

use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::index::{self, By};
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::apis;
use crate::subjects::leaving;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

pub(crate) const FIELDS: &[Field] = &[
    ("api_name", Kind::Text(1, 50), Absent::Required),
    ("api_version", Kind::Text(1, 10), Absent::Required),
    ("endpoint_method", Kind::Text(1, 10), Absent::Required),
    ("endpoint_uri", Kind::Text(1, 255), Absent::Required),
    ("endpoint_description", Kind::Text(1, 255), Absent::Required),
    ("endpoint_servers", Kind::Texts, Absent::Null),
    ("api_id", Kind::Text(0, 64), Absent::Null),
    ("endpoint_id", Kind::Text(0, 64), Absent::Null),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/endpoint/{name}/{version}", get => list);
    resource!(config, "/endpoint/{method}/{name}/{version}/{uri:.*}", get => get, put => put, delete => delete);
    resource!(config, "/endpoint", post => post);
}

pub(crate) fn key(method: &str, name: &str, version: &str, uri: &str) -> String {
    format!("{} {name}/{version} /{}", method.to_uppercase(), uri.trim_start_matches('/'))
}

fn asked(request: &HttpRequest) -> String {
    key(part(request, "method"), part(request, "name"), part(request, "version"), part(request, "uri"))
}

/// Methods in upper case, one slash in front of a URI.
pub(crate) fn normalise(row: &mut Row) {
    if let Some(method) = row.get("endpoint_method").and_then(Value::as_str).map(str::to_uppercase) {
        row.insert("endpoint_method".to_owned(), json!(method));
    }
    if let Some(uri) = row.get("endpoint_uri").and_then(Value::as_str) {
        let uri = format!("/{}", uri.trim_start_matches('/'));
        row.insert("endpoint_uri".to_owned(), json!(uri));
    }
}

pub(crate) fn check(row: &Row) -> Result<(), Problem> {
    let refused =
        |text: String, field: &str| Problem::compat(400, "END003", format!("{field}: {text}")).at(field);
    if let Err(text) = row.list("endpoint_servers").iter().try_for_each(|server| apis::server_url(server)) {
        return Err(refused(text, "endpoint_servers"));
    }
    let method = row.text("endpoint_method");
    if !["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].contains(&method) {
        return Err(refused(format!("{method:?}: expected an HTTP method"), "endpoint_method"));
    }
    let uri = row.text("endpoint_uri");
    let path = |c: char| c.is_ascii_graphic() && !"?#\\\"<>^`|".contains(c);
    if !uri.chars().all(path) || uri.split('/').any(|segment| matches!(segment, "." | "..")) {
        let text = format!(
            "{uri:?}: expected a path of printable ASCII, percent-encoded, without ?, # and dot segments"
        );
        return Err(refused(text, "endpoint_uri"));
    }
    // What the router would not take is refused here, not left out silently there.
    let balanced = uri.split('/').all(|segment| {
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        inner.map_or(!segment.contains(['{', '}']), |inner| {
            !inner.is_empty() && !inner.contains(['{', '}', '*'])
        })
    });
    if balanced {
        Ok(())
    } else {
        Err(refused("expected segments like items or {id}".to_owned(), "endpoint_uri"))
    }
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    normalise(&mut row);
    row.insert("endpoint_id".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    let key = key(
        row.text("endpoint_method"),
        row.text("api_name"),
        row.text("api_version"),
        row.text("endpoint_uri"),
    );
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_endpoints", "END010")?;
        check(&row)?;
        let owner = index::owner(&row);
        let unknown = || Problem::compat(400, "END002", "API does not exist for the endpoint");
        let api = state.get("apis", &owner).ok_or_else(unknown)?;
        if state.get("endpoints", &key).is_some() || taken(state, &key, &row) {
            return Err(Problem::compat(400, "END001", "Endpoint already exists for the requested API"));
        }
        row.insert("api_id".to_owned(), json!(api.text("api_id")));
        Ok(Draft::new("endpoint.create", format!("endpoint/{key}")).detail(json!(row)).put(
            "endpoints",
            key,
            row,
        ))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(201, "Endpoint created successfully"))
}

/// Whether another endpoint matches the same paths.
pub(crate) fn taken(state: &State, key: &str, row: &Row) -> bool {
    let (owner, shape_) = (index::owner(row), shape(key));
    state.keys_by(By::EndpointApi, &owner).any(|other| other != key && shape(other) == shape_)
}

/// Two endpoints that differ only in the names of their parameters match the same paths.
pub(crate) fn shape(key: &str) -> String {
    let plain = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
    key.split('/').map(plain).collect::<Vec<_>>().join("/")
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let api = format!("{}/{}", part(request, "name"), part(request, "version"));
    let own =
        caller.state.keys_by(By::EndpointApi, &api).filter_map(|key| caller.state.get("endpoints", key));
    let rows: Vec<_> = own.map(|row| json!(**row)).collect();
    if rows.is_empty() {
        return Err(Problem::compat(400, "END005", "No endpoints exist for the requested API"));
    }
    Ok(Reply::Data(200, json!({ "endpoints": rows })))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let missing = || Problem::compat(400, "END004", "Endpoint does not exist for the requested API");
    let row = caller.state.get("endpoints", &asked(request)).ok_or_else(missing)?;
    Ok(Reply::Data(200, json!(**row)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut changes = schema::update(FIELDS, &json(body)?)?;
    normalise(&mut changes);
    let caller = caller(control, request)?;
    let key = asked(request);
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_endpoints", "END011")?;
        let missing = || Problem::compat(400, "END008", "Endpoint does not exist for the requested API");
        let old = state.get("endpoints", &key).ok_or_else(missing)?;
        let fixed = ["api_name", "api_version", "endpoint_method", "endpoint_uri"];
        if fixed.iter().any(|name| changes.get(*name).is_some_and(|new| Some(new) != old.get(*name))) {
            return Err(Problem::compat(
                400,
                "END006",
                "API name, version, method and URI cannot be changed",
            ));
        }
        if changes.is_empty() {
            return Err(Problem::compat(400, "END007", "No data to update"));
        }
        let mut row = Row::clone(old);
        row.extend(
            changes.into_iter().filter(|(name, _)| !["api_id", "endpoint_id"].contains(&name.as_str())),
        );
        check(&row)?;
        let detail = json!({"before": **old, "after": row});
        Ok(Draft::new("endpoint.update", format!("endpoint/{key}")).detail(detail).put("endpoints", key, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Endpoint updated successfully"))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let key = asked(request);
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_endpoints", "END012")?;
        let missing = || Problem::compat(400, "END004", "Endpoint does not exist for the requested API");
        let old = state.get("endpoints", &key).ok_or_else(missing)?;
        let draft =
            Draft::new("endpoint.delete", format!("endpoint/{key}")).detail(json!({ "before": **old }));
        Ok(leaving::endpoint(old, draft).delete("endpoints", key))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Endpoint deleted successfully"))
}
