//! `/platform/authorization/sessions`: the sessions of a user that are alive, and ending one of them. Its tokens are
//! refused from then on, its refresh tokens too.

use super::authorization::{session_ends, visible};
use super::{Outcome, lists, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::entities;
use crate::subjects::sessions::{revoked_row, sweep};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/authorization/sessions", get => list);
    resource!(config, "/authorization/sessions/{id}", delete => delete);
}

/// Whoever it is for themselves; for others with `manage_auth`, and an administrator only for administrators.
fn may(state: &State, caller: &Caller, user: &str) -> Result<(), Problem> {
    if caller.name == user {
        return Ok(());
    }
    caller.needs("manage_auth", "AUTH900")?;
    visible(state, user, caller.is_admin()).map(drop)
}

fn shown(id: &str, row: &Row, caller: &Caller) -> Value {
    json!({"id": id, "username": row.text("username"), "source": row.text("source"),
           "created_unix_ms": row.number("created_unix_ms"),
           "expires_unix_ms": row.number("expires_unix_secs").saturating_mul(1_000), "current": caller.claims.sid == id})
}

/// The caller's, or those of `?username=`.
async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let query = super::query::Query::of(request);
    let user = query.text("username").unwrap_or(&caller.name);
    may(&caller.state, &caller, user)?;
    let rows = entities::alive_of(&caller.state, user, control.clock.unix_ms());
    let page = lists::page(control, request, "sessions", rows, |(id, row)| shown(id, row, &caller))?;
    Ok(Reply::Data(200, page))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let (id, now_ms) = (part(request, "id").to_owned(), control.clock.unix_ms());
    let ends = session_ends(&control.config(), now_ms);
    let make = move |state: &State, caller: &Caller| {
        let missing = || Problem::compat(404, "AUTH901", "Session not found");
        let row = state.get("sessions", &id).ok_or_else(missing)?;
        let user = row.text("username").to_owned();
        // Of others' sessions nobody learns that there are any.
        may(state, caller, &user).map_err(|_| missing())?;
        let draft = sweep(Draft::new("session.end", format!("user/{user}")), state, now_ms);
        let draft = draft.detail(json!({ "session": id })).delete("sessions", id.clone());
        Ok(draft.put("revoked", id, revoked_row(ends)))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "The session has ended"))
}
