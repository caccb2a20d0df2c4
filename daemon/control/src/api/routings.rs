//! `/platform/routing` (spec/doorman.md 4.8): servers by the request header `client-key`.

use super::{Outcome, json, lists, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::apis::server_url;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;

pub(crate) const FIELDS: &[Field] = &[
    ("routing_name", Kind::Text(1, 50), Absent::Required),
    ("routing_servers", Kind::Texts, Absent::Required),
    ("routing_description", Kind::Text(0, 255), Absent::Null),
    ("client_key", Kind::Text(1, 50), Absent::Null),
    ("server_index", Kind::Int(0), Absent::Number(0)),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/routing/all", get => list);
    resource!(config, "/routing/{client_key}", get => get, put => put, delete => delete);
    resource!(config, "/routing", post => post, get => list);
}

fn missing() -> Problem {
    Problem::compat(400, "RTG004", "Routing does not exist")
}

pub(crate) fn check(row: &Row) -> Result<(), Problem> {
    let servers = row.list("routing_servers");
    let refused =
        |field: &str, text: &str| Err(Problem::compat(400, "RTG002", format!("{field}: {text}")).at(field));
    if servers.is_empty() {
        return refused("routing_servers", "expected at least one server");
    }
    if let Err(text) = servers.iter().try_for_each(|server| server_url(server)) {
        return refused("routing_servers", &text);
    }
    if HeaderValue::from_str(row.text("client_key")).is_err() {
        return refused("client_key", "expected text that a header field can hold");
    }
    Ok(())
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    if row.text("client_key").is_empty() {
        row.insert("client_key".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    }
    let key = row.text("client_key").to_owned();
    let made = key.clone();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_routings", "RTG009")?;
        super::addressable(&key, &["all"], "RTG002", "client_key")?;
        check(&row)?;
        if state.get("routings", &key).is_some() {
            return Err(Problem::compat(400, "RTG001", "Routing already exists"));
        }
        Ok(Draft::new("routing.create", format!("routing/{key}"))
            .detail(json!(row))
            .put("routings", key, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(201, format!("Routing created successfully with key: {made}")))
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_routings", "RTG012")?;
    let rows = caller.state.rows("routings");
    Ok(Reply::Data(200, lists::page(control, request, "routings", rows, |(_, row)| json!(**row))?))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_routings", "RTG013")?;
    let row = caller.state.get("routings", part(request, "client_key")).ok_or_else(missing)?;
    Ok(Reply::Data(200, json!(**row)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = json(body)?;
    let mut changes = schema::update(FIELDS, &body)?;
    let caller = caller(control, request)?;
    let key = part(request, "client_key").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_routings", "RTG010")?;
        let old = state.get("routings", &key).ok_or_else(missing)?;
        // A key that is null is one that nothing is said about.
        changes.retain(|name, value| name != "client_key" || !value.is_null());
        if changes.get("client_key").is_some_and(|new| new != key.as_str()) {
            return Err(Problem::compat(400, "RTG005", "client_key cannot be changed"));
        }
        if changes.is_empty() {
            return Err(Problem::compat(400, "RTG007", "No data to update"));
        }
        let mut row = Row::clone(old);
        row.extend(changes);
        check(&row)?;
        let detail = json!({"before": **old, "after": row});
        Ok(Draft::new("routing.update", format!("routing/{key}")).detail(detail).put("routings", key, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Routing updated successfully"))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let key = part(request, "client_key").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_routings", "RTG011")?;
        let old = state.get("routings", &key).ok_or_else(missing)?;
        let draft = Draft::new("routing.delete", format!("routing/{key}")).detail(json!({ "before": **old }));
        Ok(draft.delete("routings", key))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Routing deleted successfully"))
}
