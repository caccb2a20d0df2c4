//! `/platform/memory`: encrypted dumps of all rows, and back (spec/doorman.md 4.18).

use super::query::Query;
use super::{Outcome, json};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, State};
use crate::subjects::{dumps, restoring};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{self, Bytes, ServiceConfig};
use gatehouse_common::problem::{Code, Problem};
use serde_json::json;

pub(crate) const FIELDS: &[Field] = &[("path", Kind::Text(0, 1_024), Absent::Null)];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/memory/dump", post => dump);
    resource!(config, "/memory/restore", post => restore);
}

/// The path asked for; a body need not be there.
fn wanted(request: &HttpRequest, body: &Bytes) -> Result<Option<String>, Problem> {
    if body.is_empty() {
        return Ok(Query::of(request).text("path").map(str::to_owned));
    }
    let path = schema::create(FIELDS, &json(body)?)?.text("path").to_owned();
    Ok(Some(path).filter(|path| !path.is_empty()))
}

fn lost(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Code::Internal, format!("the work ended early: {error}"))
}

async fn dump(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let wanted = wanted(request, body)?;
    let caller = caller(control, request)?;
    caller.needs("manage_security", "SEC003")?;
    super::real(request)?;
    let (state, config, now_ms) = (caller.state.clone(), control.config(), control.clock.unix_ms());
    let work = move || dumps::write(&state, &config, wanted.as_deref(), now_ms);
    let path = web::block(work).await.map_err(|error| lost(&error))??;
    let told = path.display().to_string();
    let object = told.clone();
    let make = move |_: &State, _: &Caller| Ok(Draft::new("memory.dump", object));
    caller.submit(control, make).await?;
    // Older clients look for this level in both modes of the envelope.
    Ok(Reply::Data(200, json!({"response": {"path": told}})))
}

/// Puts a dump's rows in place of the present ones. Only an administrator may: rows say who may do what.
async fn restore(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let wanted = wanted(request, body)?;
    let caller = caller(control, request)?;
    caller.needs("manage_security", "SEC004")?;
    if !caller.is_admin() {
        return Err(Problem::compat(403, "SEC004", "Only an administrator may restore a dump"));
    }
    let config = control.config();
    let dump = web::block(move || dumps::read(&config, wanted.as_deref())).await;
    let dump = dump.map_err(|error| lost(&error))??;
    let object = dump.path.display().to_string();
    restoring::restore_rows(control, caller.actor(), dump.rows, ("memory.restore", object)).await?;
    Ok(Reply::Data(200, json!({"response": {"version": dump.version, "created_at": dump.created_at}})))
}
