//! `/platform/endpoint/endpoint/validation` and its shorter alias (spec/doorman.md 4.3).

use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::index::By;
use crate::schema;
use crate::session::caller;
use crate::state::{Fields as _, Row, State};
use crate::subjects::{permits, validations};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/endpoint/endpoint/validation/{id}", get => get, put => put, delete => delete);
    resource!(config, "/endpoint/endpoint/validation", post => post);
    resource!(config, "/endpoint/validation/{id}", get => get, put => put, delete => delete);
    resource!(config, "/endpoint/validation", post => post);
}

fn refused(code: &str, text: &str) -> Problem {
    Problem::compat(400, code, text)
}

fn is_empty(row: &Row) -> bool {
    let none = |name: &str| row.get(name).and_then(Value::as_object).is_none();
    none("validation_schema") && none("json_schema")
}

fn find<'s>(state: &'s State, id: &str, code: &str) -> Result<&'s Row, Problem> {
    let missing = || refused(code, "Validation does not exist for the endpoint");
    state.get("validations", id).map(|row| &**row).ok_or_else(missing)
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let row = schema::create(validations::FIELDS, &json(body)?)?;
    validations::check(&row)?;
    let caller = caller(control, request)?;
    caller.needs("manage_endpoints", "END013")?;
    let id = row.text("endpoint_id").to_owned();
    if id.is_empty() {
        return Err(refused("END013", "endpoint_id: expected the id of an endpoint"));
    }
    if is_empty(&row) {
        return Err(refused("END014", "validation_schema: expected a map of path to rule, or json_schema"));
    }
    let make = move |state: &State| {
        if state.get("validations", &id).is_some() {
            return Err(refused("END017", "Validation already exists for the endpoint"));
        }
        if state.keys_by(By::EndpointId, &id).next().is_none() {
            return Err(refused("END015", "Endpoint does not exist"));
        }
        let draft = Draft::new("validation.create", format!("validation/{id}")).detail(json!(row));
        Ok(draft.put("validations", id, row))
    };
    permits::submit(control, &caller, ("manage_endpoints", "END013"), make).await?;
    Ok(Reply::message(201, "Endpoint validation created successfully"))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    Ok(Reply::Data(200, json!(find(&caller.state, part(request, "id"), "END018")?)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = schema::update(validations::FIELDS, &json(body)?)?;
    validations::check(&changes)?;
    let caller = caller(control, request)?;
    caller.needs("manage_endpoints", "END014")?;
    let id = part(request, "id").to_owned();
    let make = move |state: &State| {
        let old = find(state, &id, "END022")?;
        if changes.get("endpoint_id").is_some_and(|new| new != id.as_str() && new != "") {
            return Err(refused("END020", "endpoint_id cannot be changed"));
        }
        let mut row = old.clone();
        // One kind of check takes the other's place.
        for (new, other) in [("validation_schema", "json_schema"), ("json_schema", "validation_schema")] {
            if changes.contains_key(new) && !changes.contains_key(other) {
                row.insert(other.to_owned(), Value::Null);
            }
        }
        row.extend(changes.into_iter().filter(|(name, _)| name != "endpoint_id"));
        if is_empty(&row) {
            return Err(refused(
                "END021",
                "validation_schema: expected a map of path to rule, or json_schema",
            ));
        }
        let told = json!({"before": old, "after": row});
        let draft = Draft::new("validation.update", format!("validation/{id}")).detail(told);
        Ok(draft.put("validations", id, row))
    };
    permits::submit(control, &caller, ("manage_endpoints", "END014"), make).await?;
    Ok(Reply::message(200, "Endpoint validation updated successfully"))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_endpoints", "END015")?;
    let id = part(request, "id").to_owned();
    let make = move |state: &State| {
        let told = json!({ "before": find(state, &id, "END019")? });
        let draft = Draft::new("validation.delete", format!("validation/{id}")).detail(told);
        Ok(draft.delete("validations", id))
    };
    permits::submit(control, &caller, ("manage_endpoints", "END015"), make).await?;
    Ok(Reply::message(200, "Endpoint validation deleted successfully"))
}
