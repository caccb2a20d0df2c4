//! `/platform/config/revisions`: the history of the configuration seen, compared and taken back, and
//! `/platform/config/rollback` for imports (spec/doorman.md 4.16).

use super::query::Query;
use super::{Outcome, part};
use crate::change::history::{self, Head};
use crate::declared::MARKS;
use crate::envelope::Reply;
use crate::session::{Caller, caller};
use crate::state::State;
use crate::subjects::masks;
use crate::subjects::revisions::{Later, Past};
use crate::subjects::times;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{self, Bytes, ServiceConfig};
use gatehouse_common::problem::{Code, Problem};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The permission, and the code of a refusal.
const NEEDS: (&str, &str) = ("manage_gateway", "CFG006");
/// Action of an import.
const IMPORT: &str = "config.import";
/// Rows of a revision or a difference that are shown, if not asked for otherwise, and at most.
const SHOWN: usize = 1_000;
const SHOWN_MAX: usize = 10_000;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/config/revisions/diff", get => diff);
    resource!(config, "/config/revisions/{id}/revert", post => revert);
    resource!(config, "/config/revisions/{id}/rollback", post => roll_back);
    resource!(config, "/config/revisions/{id}", get => get);
    resource!(config, "/config/revisions", get => list);
    resource!(config, "/config/rollback", post => imports);
}

fn manager(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = caller(control, request)?;
    caller.needs(NEEDS.0, NEEDS.1)?;
    Ok(caller)
}

/// The past of this control plane.
pub(crate) fn past(control: &Inner) -> Past {
    Past { store: control.store.clone(), history: control.changes.history.clone() }
}

/// A revision as it is listed.
pub(crate) fn listed(head: &Head) -> Value {
    json!({"id": head.revision, "time": times::text(head.at_unix_ms), "actor": head.actor, "source": head.source,
           "action": head.action, "object": head.object, "rows": head.rows, "bytes": head.bytes,
           "kept": head.kept, "undoes": head.undoes})
}

fn number(name: &str, text: &str) -> Result<u64, Problem> {
    let refused = || Problem::compat(422, "VAL001", format!("Validation Error: {name}: expected a revision"));
    text.parse().map_err(|_| refused().at(name))
}

fn asked(request: &HttpRequest) -> Result<u64, Problem> {
    number("id", part(request, "id"))
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    manager(control, request)?;
    let query = Query::of(request);
    let limit = query.number("limit", 1, 1_000)?.unwrap_or(100);
    let offset = query.number("offset", 0, usize::MAX)?.unwrap_or(0);
    let is = |name: &str, value: &str| query.text(name).is_none_or(|wanted| wanted == value);
    let wanted = |head: &Head| {
        let object = query.text("object").is_none_or(|wanted| head.object.contains(wanted));
        is("actor", &head.actor) && is("action", &head.action) && object
    };
    let heads = control.changes.history.heads();
    let found: Vec<&Head> = heads.values().rev().filter(|head| wanted(head)).collect();
    let page: Vec<Value> = found.iter().skip(offset).take(limit).map(|head| listed(head)).collect();
    let has_more = offset.saturating_add(page.len()) < found.len();
    let body = json!({"revisions": page, "total": found.len(), "has_more": has_more,
                      "current": control.changes.state().revision});
    Ok(Reply::Data(200, body))
}

/// Reads the disk where no request waits for it.
async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let read = web::block(work).await;
    read.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))
}

fn shown(caller: &Caller, rows: &[history::Turned], limit: usize) -> Value {
    // Who declares a row is the daemon's own note.
    let told = rows.iter().filter(|row| row.table != MARKS);
    told.take(limit).map(|row| masks::shown_to(caller, row)).collect()
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let limit = Query::of(request).number("limit", 1, SHOWN_MAX)?.unwrap_or(SHOWN);
    let (past, id) = (past(control), asked(request)?);
    let head = past.head(id)?;
    let kept = head.kept;
    let read = move || if kept { history::rows(&past.store, id) } else { Ok(Vec::new()) };
    let rows = reading(read).await?;
    let mut body = listed(&head);
    if let Some(body) = body.as_object_mut() {
        body.insert("changes".to_owned(), shown(&caller, &rows, limit));
    }
    Ok(Reply::Data(200, body))
}

async fn diff(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let query = Query::of(request);
    let limit = query.number("limit", 1, SHOWN_MAX)?.unwrap_or(SHOWN);
    let missing = || Problem::compat(422, "VAL001", "Validation Error: from: expected a revision").at("from");
    let from = number("from", query.text("from").ok_or_else(missing)?)?;
    let to = query.text("to").filter(|to| *to != "current").map(|to| number("to", to)).transpose()?;
    if to.is_some_and(|to| to < from) {
        let text = "Validation Error: to: expected a revision that is not before `from`";
        return Err(Problem::compat(422, "VAL001", text).at("to"));
    }
    let past = past(control);
    let rows = reading(move || past.between(from, to)).await?;
    let body = json!({"from": from, "to": to, "total": rows.len(), "changes": shown(&caller, &rows, limit)});
    Ok(Reply::Data(200, body))
}

/// Takes back what revisions did, in one change; the revision that does so.
async fn undo(
    control: &Inner,
    caller: &Caller,
    (object, later): (String, Later),
    choose: impl FnOnce(&BTreeMap<u64, Head>) -> Result<BTreeSet<u64>, Problem> + Send + 'static,
) -> Result<u64, Problem> {
    let (past, now_ms) = (past(control), control.clock.unix_ms());
    let make = move |state: &State, caller: &Caller| {
        caller.needs(NEEDS.0, NEEDS.1)?;
        let revisions = choose(&past.history.heads())?;
        let mut draft = past.undo((state, Some(caller)), &revisions, later, now_ms)?;
        if draft.rows.is_empty() {
            return Err(Problem::new(Code::Conflict, "it is so already; nothing would change"));
        }
        if later == Later::Refuse {
            draft.action = "config.revert";
        }
        draft.object = object;
        Ok(draft.detail(json!({ "undoes": revisions })).undoing(revisions.into_iter().collect()))
    };
    caller.submit(control, make).await.map(|revision| revision.0)
}

/// Takes back one revision alone.
async fn revert(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let (caller, id) = (manager(control, request)?, asked(request)?);
    past(control).head(id)?;
    let choose = move |_: &BTreeMap<u64, Head>| Ok(BTreeSet::from([id]));
    let revision = undo(control, &caller, (format!("revision/{id}"), Later::Refuse), choose).await?;
    Ok(Reply::Data(200, json!({"message": format!("Revision {id} taken back"), "revision": revision})))
}

/// Takes back all revisions behind one, so that the configuration is as it left it.
async fn roll_back(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let (caller, id) = (manager(control, request)?, asked(request)?);
    past(control).head(id)?;
    let choose = move |heads: &BTreeMap<u64, Head>| Ok(heads.range(id + 1..).map(|(id, _)| *id).collect());
    let revision = undo(control, &caller, (format!("revision/{id}"), Later::Overwrite), choose).await?;
    Ok(Reply::Data(200, json!({"message": format!("Rolled back to revision {id}"), "revision": revision})))
}

/// Imports that were not taken back yet, from one on; of none that is named the newest.
fn imported(heads: &BTreeMap<u64, Head>, from: Option<u64>) -> Result<BTreeSet<u64>, Problem> {
    let undone: BTreeSet<u64> = heads.values().flat_map(|head| head.undoes.iter().copied()).collect();
    let imports = heads.values().filter(|head| head.action == IMPORT && !undone.contains(&head.revision));
    let imports: BTreeSet<u64> = imports.map(|head| head.revision).collect();
    let missing = || Problem::compat(404, "CFG408", "snapshot_id: no such snapshot, or there is none yet");
    let first = from.or_else(|| imports.last().copied()).filter(|first| imports.contains(first));
    let first = first.ok_or_else(missing)?;
    Ok(imports.range(first..).copied().collect())
}

/// Takes back an import and those after it.
async fn imports(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let query = Query::of(request);
    // What is no revision is none that could be taken back.
    let from = query.text("snapshot_id").map(|id| id.parse().unwrap_or(u64::MAX));
    let seen = imported(&control.changes.history.heads(), from)?;
    let first = seen.first().copied().unwrap_or_default();
    let head = past(control).head(first)?;
    let choose = move |heads: &BTreeMap<u64, Head>| match imported(heads, Some(first))? {
        now if now == seen => Ok(now),
        _ => Err(Problem::new(Code::Conflict, "another import came in between; look again")),
    };
    undo(control, &caller, (format!("config/{first}"), Later::Overwrite), choose).await?;
    Ok(Reply::Data(
        200,
        json!({"snapshot_id": first.to_string(), "taken_at": times::text(head.at_unix_ms), "by": head.actor,
               "message": "Configuration rolled back"}),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_taken_back_once_with_those_after_it() {
        let head = |revision: u64, action: &str, undoes: &[u64]| Head {
            revision,
            at_unix_ms: 0,
            actor: String::new(),
            source: String::new(),
            action: action.to_owned(),
            object: String::new(),
            rows: 1,
            bytes: 1,
            kept: true,
            undoes: undoes.to_vec(),
        };
        let mut heads: BTreeMap<u64, Head> = BTreeMap::new();
        assert_eq!(imported(&heads, None).unwrap_err().status, 404);
        for one in
            [head(3, IMPORT, &[]), head(4, "api.create", &[]), head(5, IMPORT, &[]), head(6, IMPORT, &[])]
        {
            heads.insert(one.revision, one);
        }
        assert_eq!(imported(&heads, None).unwrap(), BTreeSet::from([6]));
        assert_eq!(imported(&heads, Some(3)).unwrap(), BTreeSet::from([3, 5, 6]));
        assert_eq!(imported(&heads, Some(4)).unwrap_err().status, 404, "no import");
        heads.insert(7, head(7, "config.rollback", &[5, 6]));
        assert_eq!(imported(&heads, None).unwrap(), BTreeSet::from([3]));
        assert_eq!(imported(&heads, Some(5)).unwrap_err().status, 404, "taken back already");
    }
}
