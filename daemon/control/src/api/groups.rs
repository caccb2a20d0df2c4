//! `/platform/group` (spec/doorman.md 4.6).

use super::{Outcome, json, lists, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;

pub(crate) const FIELDS: &[Field] = &[
    ("group_name", Kind::Text(1, 50), Absent::Required),
    ("group_description", Kind::Text(0, 255), Absent::Null),
    ("api_access", Kind::Texts, Absent::Empty),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/group/all", get => list);
    resource!(config, "/group/{group}", get => get, put => put, delete => delete);
    resource!(config, "/group", post => post, get => list);
}

fn missing(status: u16) -> Problem {
    Problem::compat(status, "GRP003", "Group does not exist")
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let row = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let name = row.text("group_name").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_groups", "GRP008")?;
        super::addressable(&name, &["all"], "GRP001", "group_name")?;
        if state.get("groups", &name).is_some() {
            return Err(Problem::compat(400, "GRP001", "Group already exists"));
        }
        Ok(Draft::new("group.create", format!("group/{name}")).detail(json!(row)).put("groups", name, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(201, "Group created successfully"))
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let rows = caller.state.rows("groups");
    Ok(Reply::Data(200, lists::page(control, request, "groups", rows, |(_, row)| json!(**row))?))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let row = caller.state.get("groups", part(request, "group")).ok_or_else(|| missing(404))?;
    Ok(Reply::Data(200, json!(**row)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = schema::update(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let name = part(request, "group").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_groups", "GRP009")?;
        let old = state.get("groups", &name).ok_or_else(|| missing(400))?;
        if changes.get("group_name").is_some_and(|new| new != name.as_str()) {
            return Err(Problem::compat(400, "GRP004", "group_name cannot be changed"));
        }
        if changes.is_empty() {
            return Err(Problem::compat(400, "GRP006", "No data to update"));
        }
        let mut row = Row::clone(old);
        row.extend(changes);
        let detail = json!({"before": **old, "after": row});
        Ok(Draft::new("group.update", format!("group/{name}")).detail(detail).put("groups", name, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Group updated successfully"))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "group").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_groups", "GRP010")?;
        let old = state.get("groups", &name).ok_or_else(|| missing(400))?;
        let draft = Draft::new("group.delete", format!("group/{name}")).detail(json!({ "before": **old }));
        Ok(draft.delete("groups", name))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Group deleted successfully"))
}
