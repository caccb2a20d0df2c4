//! `/platform/api` (spec/doorman.md 4.1).

use super::{Outcome, json, lists, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::apis::{self, FIELDS};
use crate::subjects::leaving;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;
use std::sync::Arc;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/all", get => list);
    resource!(config, "/api/{name}/{version}", get => get, put => put, delete => delete);
    resource!(config, "/api", post => post, get => list);
}

fn missing() -> Problem {
    Problem::compat(400, "API003", "API does not exist for the requested name and version")
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let key = format!("{}/{}", row.text("api_name"), row.text("api_version"));
    row.insert("api_id".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    row.insert("api_path".to_owned(), json!(format!("/{key}")));
    apis::seal(&control.sealer, &key, &mut row, None)?;
    let made = apis::shown(&row);
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_apis", "API007")?;
        if state.get("apis", &key).is_some() {
            return Err(Problem::compat(200, "", "API already exists"));
        }
        super::addressable(row.text("api_name"), &[], "API002", "api_name")?;
        super::addressable(row.text("api_version"), &[], "API002", "api_version")?;
        apis::check(state, &key, &row)?;
        Ok(Draft::new("api.create", format!("api/{key}")).detail(apis::shown(&row)).put("apis", key, row))
    };
    match caller.submit(control, make).await {
        Ok(_) => Ok(Reply::Data(201, json!({ "api": made }))),
        Err(problem) if problem.status == 200 => Ok(Reply::message(200, problem.detail)),
        Err(problem) => Err(problem),
    }
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller =
        caller(control, request).map_err(|problem| Problem::compat(401, "API_AUTH", problem.detail))?;
    let rows = caller.state.rows("apis").map(|(_, row)| row);
    Ok(Reply::Data(200, lists::page(control, request, "apis", rows, |row| apis::shown(row))?))
}

fn key(request: &HttpRequest) -> String {
    format!("{}/{}", part(request, "name"), part(request, "version"))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let row = caller.state.get("apis", &key(request)).ok_or_else(missing)?;
    Ok(Reply::Data(200, apis::shown(row)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut changes = schema::update(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let (key, sealer) = (key(request), Arc::clone(&control.sealer));
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_apis", "API008")?;
        let old = state.get("apis", &key).ok_or_else(missing)?;
        let renames = |name: &str| changes.get(name).is_some_and(|new| Some(new) != old.get(name));
        if renames("api_name") || renames("api_version") {
            return Err(Problem::compat(400, "API005", "api_name and api_version cannot be changed"));
        }
        if changes.is_empty() {
            return Err(Problem::compat(400, "API006", "No data to update"));
        }
        apis::seal(&sealer, &key, &mut changes, Some(old))?;
        let mut row = Row::clone(old);
        let kept = ["api_id", "api_path"];
        row.extend(changes.into_iter().filter(|(name, _)| !kept.contains(&name.as_str())));
        apis::check(state, &key, &row)?;
        let detail = json!({"before": apis::shown(old), "after": apis::shown(&row)});
        Ok(Draft::new("api.update", format!("api/{key}")).detail(detail).put("apis", key, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "API updated successfully"))
}

/// Takes its endpoints and subscriptions with it, so that a later API of that name begins clean.
async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let key = key(request);
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_apis", "API007")?;
        let old = state.get("apis", &key).ok_or_else(missing)?;
        let draft =
            Draft::new("api.delete", format!("api/{key}")).detail(json!({ "before": apis::shown(old) }));
        Ok(leaving::api(state, &key, draft))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "API deleted successfully"))
}
