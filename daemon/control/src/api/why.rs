//! `GET /platform/authorization/why?user=&permission=|api=&token=`: why somebody may do something, or may not, by the checks
//! that decide it.

use super::Outcome;
use super::authorization::visible;
use super::query::Query;
use crate::envelope::Reply;
use crate::session::caller;
use crate::state::Fields as _;
use crate::subjects::authority::{self, Wish};
use crate::subjects::roles::PERMISSIONS;
use crate::subjects::scopes::Scopes;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;

/// Below `/platform`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/authorization/why", get => why);
}

fn refused(field: &str, expected: &str) -> Problem {
    Problem::compat(422, "VAL001", format!("Validation Error: {field}: expected {expected}")).at(field)
}

/// About oneself, or about others with `manage_auth`.
async fn why(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let query = Query::of(request);
    let name = query.text("user").unwrap_or(&caller.name);
    if name != caller.name {
        caller.needs("manage_auth", "AUTH900")?;
        visible(&caller.state, name, caller.is_admin())?;
    }
    let state = &caller.state;
    let user = state.get("users", name).ok_or_else(|| Problem::compat(404, "", "User not found"))?;
    let scopes = match query.text("token") {
        None => None,
        Some(id) => {
            let row = state.get("tokens", id).filter(|row| row.text("username") == name);
            Some(Scopes::of(row.ok_or_else(|| refused("token", "the id of a token of this user"))?))
        }
    };
    let mut told = match (query.text("permission"), query.text("api")) {
        (Some(permission), None) if PERMISSIONS.contains(&permission) => {
            let wish =
                Wish { state, user, permission, scopes: scopes.as_ref(), writes: !query.yes_or_no("read")? };
            authority::explain(&wish)
        }
        (Some(_), None) => return Err(refused("permission", &format!("one of {}", PERMISSIONS.join(", ")))),
        (None, Some(api)) => {
            let published = control.changes.published();
            let known = published.apis.get(api).ok_or_else(|| refused("api", "NAME/VERSION of an API"))?;
            let consumer = published.consumers.get(name).map(|consumer| &**consumer);
            authority::explain_api(known, consumer, scopes.as_ref())
        }
        _ => return Err(refused("permission", "a permission, or api: NAME/VERSION; one of both")),
    };
    if let Some(told) = told.as_object_mut() {
        told.insert("user".to_owned(), json!(name));
    }
    Ok(Reply::Data(200, told))
}
