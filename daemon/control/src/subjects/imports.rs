//! What was there before each of the last imports, so that an import can be taken back. Kept in the store alone: it is
//! large, and asked for seldom.

use super::configuration::{Before, PARTS};
use super::{apis, leaving};
use crate::api::endpoints;
use crate::change::Draft;
use crate::session::Caller;
use crate::state::{Row, State};
use crate::subjects::roles::is_admin;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_store::Store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Table of the store.
pub(crate) const TABLE: &str = "imports";
/// Imports that can be taken back.
const KEPT: usize = 5;

/// A row as it was: table, key, row.
type Was = (String, String, Option<Row>);

/// What was there before one import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) taken_at: String,
    pub(crate) by: String,
    rows: Vec<Was>,
}

/// Snapshots by id; ids sort by time.
pub(crate) type Snapshots = BTreeMap<String, Snapshot>;

/// Reads what is kept. Blocks on the disk.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn read(store: &Store) -> Result<Snapshots, Problem> {
    let rows = store.scan(TABLE).map_err(|error| error.problem())?;
    let bad = |error: serde_json::Error| Problem::new(Code::Internal, format!("table {TABLE}: {error}"));
    rows.into_iter().map(|(id, row)| Ok((id, serde_json::from_slice(&row).map_err(bad)?))).collect()
}

/// A new id, behind all of before.
pub(crate) fn id(now_ms: i64) -> String {
    format!("{now_ms:015}-{}", uuid::Uuid::new_v4().simple())
}

/// Adds what was there to a change, and drops the oldest of those that are kept.
///
/// # Errors
/// A snapshot that cannot be written as JSON.
pub(crate) fn kept(
    mut draft: Draft,
    (id, snapshot): (&str, &Snapshot),
    known: &[String],
) -> Result<Draft, Problem> {
    let bad = |error: serde_json::Error| Problem::new(Code::Internal, error.to_string());
    let row = serde_json::to_value(snapshot).map_err(bad)?;
    let row = row.as_object().cloned().unwrap_or_default();
    for old in known.iter().rev().skip(KEPT - 1) {
        draft = draft.delete(TABLE, old.as_str());
    }
    Ok(draft.put(TABLE, id, row))
}

/// The snapshot of an import.
pub(crate) fn snapshot(taken_at: String, by: &str, before: &Before) -> Snapshot {
    let was =
        before.iter().map(|((table, key), row)| ((*table).to_owned(), key.clone(), row.as_deref().cloned()));
    Snapshot { taken_at, by: by.to_owned(), rows: was.collect() }
}

/// Takes back an import and those after it, in one change.
///
/// # Errors
/// A caller who may not change one of the lists, or rows that no longer fit what is there.
pub(crate) fn taken_back(
    state: &State,
    caller: &Caller,
    snapshots: &Snapshots,
    first: &str,
) -> Result<Draft, Problem> {
    let mut after = state.clone();
    let mut draft = Draft::new("config.rollback", format!("config/{first}"));
    // The newest first: what was there before the oldest is what stays.
    for (id, snapshot) in snapshots.range(first.to_owned()..).rev() {
        draft = draft.delete(TABLE, id.as_str());
        for (table, key, row) in &snapshot.rows {
            let Some(part) = PARTS.iter().find(|part| part.list == table) else { continue };
            caller.needs(part.permission, "CFG006")?;
            if part.list == "roles" && !caller.is_admin() && (is_admin(state, key) || is_admin(&after, key)) {
                return Err(Problem::compat(403, "ROLE014", "Only an administrator may modify this role"));
            }
            draft = back(&mut after, draft, part.list, key, row.as_ref());
        }
    }
    for (table, key, row) in &draft.rows {
        // Of a row that comes back more than once the last one counts.
        if let Some(row) = row.as_ref().filter(|row| after.get(table, key).is_some_and(|now| **now == **row))
        {
            fits(&after, table, key, row)?;
        }
    }
    Ok(draft)
}

/// One row as it was; an API that was not there takes along what hangs on it.
fn back(after: &mut State, mut draft: Draft, table: &'static str, key: &str, row: Option<&Row>) -> Draft {
    match (table, row) {
        (_, Some(row)) => {
            after.set(table, key, Some(Arc::new(row.clone())));
            draft.put(table, key, row.clone())
        }
        ("apis", None) => {
            let begun = draft.rows.len();
            draft = leaving::api(after, key, draft);
            for (table, key, row) in draft.rows.get(begun..).unwrap_or_default() {
                after.set(table, key, row.clone().map(Arc::new));
            }
            draft
        }
        ("endpoints", None) => {
            if let Some(old) = after.set(table, key, None) {
                draft = leaving::endpoint(&old, draft);
            }
            draft.delete(table, key)
        }
        (_, None) => {
            after.set(table, key, None);
            draft.delete(table, key)
        }
    }
}

/// Whether a row that comes back fits what is there now.
fn fits(after: &State, table: &str, key: &str, row: &Row) -> Result<(), Problem> {
    let conflict = |text: &str| Problem::new(Code::Conflict, format!("{table} {key:?}: {text}"));
    match table {
        "apis" => apis::check(after, key, row),
        "endpoints" => {
            let owner = crate::index::owner(row);
            after.get("apis", &owner).ok_or_else(|| conflict("its API was deleted since"))?;
            let other = endpoints::taken(after, key, row);
            if other { Err(conflict("another endpoint matches the same paths")) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}
