//! `/api/v1/admin/database` (spec/octoprox.md 5.5): a consistent backup, a look at every row, whether the store answers.

use super::Outcome;
use super::answers::{admins_only, data};
use super::credential::caller;
use crate::change::Draft;
use crate::commands::blocking;
use crate::session::Caller;
use crate::state::State;
use crate::subjects::{backups, stored, times};
use crate::{Inner, versioned};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_store::tables::{REVISION_KEY, TABLES};
use serde_json::json;
use std::time::Instant;

/// Rows that are not as they should be, told at most.
const ISSUES: usize = 100;

pub(crate) fn routes(config: &mut ServiceConfig) {
    versioned!(config, "/admin/database/backup", post => backup);
    versioned!(config, "/admin/database/verify", get => verify);
    versioned!(config, "/admin/database/health", get => health);
}

async fn admin(control: &Data<Inner>, request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = caller(control, request).await?;
    if caller.is_admin() { Ok(caller) } else { Err(admins_only()) }
}

/// Leaves a record of a look or of a file made; asked again in the state that it is recorded in.
async fn record(
    control: &Inner,
    caller: &Caller,
    action: &'static str,
    told: serde_json::Value,
) -> Result<(), Problem> {
    let make = move |_: &State, caller: &Caller| match caller.is_admin() {
        true => Ok(Draft::new(action, "database").detail(told)),
        false => Err(admins_only()),
    };
    caller.submit(control, make).await.map(drop)
}

async fn backup(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = admin(control, request).await?;
    let now_ms = control.clock.unix_ms();
    let stamp: String = times::text(now_ms).chars().filter(char::is_ascii_digit).take(14).collect();
    let name = format!("database-{stamp}-{}.jsonl", now_ms.rem_euclid(1_000));
    let made = blocking(control, move |control| backups::write(control, &name)).await?;
    let path = made.path.display().to_string();
    record(control, &caller, "database.backup", json!({ "path": path, "rows": made.rows })).await?;
    Ok(data(
        200,
        &json!({"message": "Database backup created", "backup_path": path, "rows": made.rows,
                         "bytes": made.bytes, "timestamp": times::text(now_ms)}),
    ))
}

async fn verify(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = admin(control, request).await?;
    let state = caller.state.clone();
    let (issues, found) = blocking(control, move |control| {
        let rows = TABLES.iter().flat_map(|table| state.rows(table.name).map(|row| (table.name, row)));
        let bad = rows.filter_map(|(table, (key, row))| stored::check(table, key, row).err());
        let issues: Vec<String> = bad.take(ISSUES).map(|problem| problem.detail).collect();
        Ok((issues, control.store.tables().map_err(|error| error.problem())?))
    })
    .await?;
    let checked: Vec<&str> = TABLES.iter().filter(|table| table.archived).map(|table| table.name).collect();
    let valid = issues.is_empty();
    record(control, &caller, "database.verify", json!({ "valid": valid, "issues": issues.len() })).await?;
    Ok(data(
        200,
        &json!({"valid": valid, "issues": issues, "tables_checked": checked, "tables_found": found,
                         "timestamp": times::text(control.clock.unix_ms())}),
    ))
}

async fn health(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = admin(control, request).await?;
    let begun = Instant::now();
    let read = control.store.get("meta", REVISION_KEY);
    let took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let connected = read.is_ok();
    let mut told = json!({"connected": connected, "response_time_ms": took_ms,
                          "timestamp": times::text(control.clock.unix_ms())});
    if let (Err(error), Some(told)) = (read, told.as_object_mut()) {
        told.insert("error".to_owned(), json!(error.to_string()));
    }
    record(control, &caller, "database.health", json!({ "connected": connected, "ms": took_ms })).await?;
    Ok(data(200, &told))
}
