//! `/platform/rate-limits`: rules (spec/doorman.md 4.11). Answers are bare models, refusals say why in `detail`.

use super::query::Query;
use super::tiers::bare;
use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::{Reply, detail};
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::{permits, rate_rules, times};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NEEDS: (&str, &str) = ("manage_rate_limits", "RATE001");
/// Ids that are words of a path.
pub(crate) const TAKEN: [&str; 4] = ["search", "bulk", "statistics", "status"];
/// Rules one call may touch.
const BULK: usize = 1_000;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/rate-limits/search", get => search);
    resource!(config, "/rate-limits/status", get => status);
    resource!(config, "/rate-limits/statistics/summary", get => summary);
    resource!(config, "/rate-limits/bulk/delete", post => bulk_delete);
    resource!(config, "/rate-limits/bulk/enable", post => bulk_enable);
    resource!(config, "/rate-limits/bulk/disable", post => bulk_disable);
    resource!(config, "/rate-limits/{id}/enable", post => enable);
    resource!(config, "/rate-limits/{id}/disable", post => disable);
    resource!(config, "/rate-limits/{id}/duplicate", post => duplicate);
    resource!(config, "/rate-limits/{id}", get => get, put => put, delete => delete);
    resource!(config, "/rate-limits", post => post, get => list);
}

fn manager(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = caller(control, request)?;
    caller.needs(NEEDS.0, NEEDS.1)?;
    Ok(caller)
}

fn find<'s>(state: &'s State, id: &str) -> Result<&'s Row, Problem> {
    let missing = || detail(404, &format!("Rate limit rule {id:?} not found"));
    state.get("rate_rules", id).map(|row| &**row).ok_or_else(missing)
}

/// The refusal of a rule, with everything that is wrong with it.
fn wrong(errors: &[String]) -> Reply {
    bare(400, &json!({"detail": {"errors": errors}}))
}

fn newest(control: &Inner, id: &str) -> Result<Value, Problem> {
    Ok(json!(find(&control.changes.state(), id)?))
}

fn stamp(row: &mut Row, now_ms: i64, fields: &[&str]) {
    row.extend(fields.iter().map(|name| ((*name).to_owned(), json!(times::text(now_ms)))));
}

/// Stores a new rule.
async fn create(control: &Inner, caller: &Caller, id: String, mut row: Row) -> Outcome {
    super::addressable(&id, &TAKEN, "VAL001", "rule_id")?;
    row.insert("rule_id".to_owned(), json!(id));
    stamp(&mut row, control.clock.unix_ms(), &["created_at", "updated_at"]);
    let key = id.clone();
    let make = move |state: &State| {
        if state.get("rate_rules", &key).is_some() {
            return Err(detail(400, &format!("Rate limit rule {key:?} already exists")));
        }
        let draft = Draft::new("rate_rule.create", format!("rate_rule/{key}")).detail(json!(row));
        Ok(draft.put("rate_rules", key, row))
    };
    permits::submit(control, caller, NEEDS, make).await?;
    Ok(bare(201, &newest(control, &id)?))
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let row = schema::create(rate_rules::FIELDS, &json(body)?)?;
    let caller = manager(control, request)?;
    let id = row.text("rule_id").to_owned();
    let id = if id.is_empty() { uuid::Uuid::new_v4().to_string() } else { id };
    match rate_rules::checked(row) {
        Ok(row) => create(control, &caller, id, row).await,
        Err(errors) => Ok(wrong(&errors)),
    }
}

fn rows(state: &State, skip: usize, limit: usize, wanted: impl Fn(&Row) -> bool) -> Value {
    let rows = state.rows("rate_rules").map(|(_, row)| row).filter(|row| wanted(row));
    Value::Array(rows.skip(skip).take(limit).map(|row| json!(**row)).collect())
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let query = Query::of(request);
    let (skip, limit) = query.window()?;
    let kind = query.text("rule_type");
    let on = query.yes_or_no("enabled_only")?;
    let wanted =
        |row: &Row| kind.is_none_or(|kind| row.text("rule_type") == kind) && (!on || row.flag("enabled"));
    Ok(bare(200, &rows(&caller.state, skip, limit, wanted)))
}

async fn search(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let query = Query::of(request);
    let (skip, limit) = query.window()?;
    let word = query.text("q").unwrap_or_default().to_lowercase();
    let fields = ["rule_id", "rule_type", "target_identifier", "description"];
    let wanted = |row: &Row| fields.iter().any(|field| row.text(field).to_lowercase().contains(&word));
    Ok(bare(200, &rows(&caller.state, skip, limit, wanted)))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    Ok(bare(200, &json!(find(&caller.state, part(request, "id"))?)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = schema::update(rate_rules::FIELDS, &json(body)?)?;
    let caller = manager(control, request)?;
    let id = part(request, "id").to_owned();
    let merged = |old: &Row, changes: Row| {
        let mut row = old.clone();
        row.extend(changes.into_iter().filter(|(name, _)| name != "created_at"));
        rate_rules::checked(row)
    };
    // Everything that is wrong is told at once, which a draft cannot.
    if let Err(errors) = merged(find(&caller.state, &id)?, changes.clone()) {
        return Ok(wrong(&errors));
    }
    let (key, now_ms) = (id.clone(), control.clock.unix_ms());
    let make = move |state: &State| {
        let old = find(state, &key)?;
        if changes.get("rule_id").is_some_and(|new| new != key.as_str()) {
            return Err(detail(400, "rule_id cannot be changed"));
        }
        let mut row = merged(old, changes).map_err(|errors| detail(400, &errors.join("; ")))?;
        stamp(&mut row, now_ms, &["updated_at"]);
        let told = json!({"before": old, "after": row});
        let draft = Draft::new("rate_rule.update", format!("rate_rule/{key}")).detail(told);
        Ok(draft.put("rate_rules", key, row))
    };
    permits::submit(control, &caller, NEEDS, make).await?;
    Ok(bare(200, &newest(control, &id)?))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let id = part(request, "id").to_owned();
    let key = id.clone();
    let make = move |state: &State| {
        let told = json!({ "before": find(state, &key)? });
        let draft = Draft::new("rate_rule.delete", format!("rate_rule/{key}")).detail(told);
        Ok(draft.delete("rate_rules", key))
    };
    permits::submit(control, &caller, NEEDS, make).await?;
    Ok(bare(200, &json!({"deleted": true, "rule_id": id})))
}

/// The same row, switched.
fn switched(row: &Row, on: bool, now_ms: i64) -> Row {
    let mut row = row.clone();
    row.insert("enabled".to_owned(), json!(on));
    stamp(&mut row, now_ms, &["updated_at"]);
    row
}

async fn switch(control: &Inner, request: &HttpRequest, on: bool) -> Outcome {
    let caller = manager(control, request)?;
    let id = part(request, "id").to_owned();
    let (key, now_ms) = (id.clone(), control.clock.unix_ms());
    let make = move |state: &State| {
        let row = switched(find(state, &key)?, on, now_ms);
        let action = if on { "rate_rule.enable" } else { "rate_rule.disable" };
        Ok(Draft::new(action, format!("rate_rule/{key}")).put("rate_rules", key, row))
    };
    permits::submit(control, &caller, NEEDS, make).await?;
    Ok(bare(200, &newest(control, &id)?))
}

async fn enable(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    switch(control, request, true).await
}

async fn disable(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    switch(control, request, false).await
}

pub(crate) const COPY: &[Field] = &[("new_rule_id", Kind::Text(1, 100), Absent::Required)];

async fn duplicate(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    // Older clients put it into the query, with or without a body.
    let query = Query::of(request);
    let given = if body.is_empty() { Row::new() } else { schema::update(COPY, &json(body)?)? };
    let id = match query.text("new_rule_id") {
        Some(id) => id.to_owned(),
        None => schema::create(COPY, &json!(given))?.text("new_rule_id").to_owned(),
    };
    let caller = manager(control, request)?;
    let row = find(&caller.state, part(request, "id"))?.clone();
    create(control, &caller, id, row).await
}

/// Does one thing to the rules of a list that are there, in one change; how many they were.
async fn bulk(
    control: &Inner,
    request: &HttpRequest,
    body: &Bytes,
    (action, counted, on): (&'static str, &str, Option<bool>),
) -> Outcome {
    let asked = schema::create(&[("rule_ids", Kind::Texts, Absent::Required)], &json(body)?)?;
    let caller = manager(control, request)?;
    let mut ids = asked.list("rule_ids");
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > BULK {
        let text = format!("Validation Error: rule_ids: expected at most {BULK}");
        return Err(Problem::compat(422, "VAL001", text).at("rule_ids"));
    }
    let now_ms = control.clock.unix_ms();
    let (tell, told) = tokio::sync::oneshot::channel();
    let make = move |state: &State| {
        let mut draft = Draft::new(action, "rate_rules");
        let there: Vec<_> = ids.iter().filter_map(|id| Some((id, state.get("rate_rules", id)?))).collect();
        for (id, row) in &there {
            draft = match on {
                Some(on) => draft.put("rate_rules", id.as_str(), switched(row, on, now_ms)),
                None => draft.delete("rate_rules", id.as_str()),
            };
        }
        // The asker may have gone.
        tell.send(there.len()).ok();
        let named: Vec<_> = there.iter().map(|(id, _)| id.as_str()).collect();
        Ok(draft.detail(json!({ "rules": named })))
    };
    permits::submit(control, &caller, NEEDS, make).await?;
    Ok(bare(200, &json!({ counted: told.await.unwrap_or(0) })))
}

async fn bulk_delete(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    bulk(control, request, body, ("rate_rule.bulk_delete", "deleted_count", None)).await
}

async fn bulk_enable(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    bulk(control, request, body, ("rate_rule.bulk_enable", "enabled_count", Some(true))).await
}

async fn bulk_disable(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    bulk(control, request, body, ("rate_rule.bulk_disable", "disabled_count", Some(false))).await
}

async fn summary(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let (mut total, mut on, mut kinds) = (0_usize, 0_usize, BTreeMap::<String, usize>::new());
    for (_, row) in caller.state.rows("rate_rules") {
        total += 1;
        on += usize::from(row.flag("enabled"));
        *kinds.entry(row.text("rule_type").to_owned()).or_default() += 1;
    }
    Ok(bare(
        200,
        &json!({"total_rules": total, "enabled_rules": on, "disabled_rules": total - on, "rules_by_type": kinds}),
    ))
}

/// The rules that may count the caller's own calls.
async fn status(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let mine = rows(&caller.state, 0, 1_000, |row| rate_rules::applies(row, &caller.name));
    let note =
        "Rules of an API, an endpoint or an address count where the call goes and where it comes from.";
    Ok(bare(200, &json!({"user_id": caller.name, "applicable_rules": mine, "note": note})))
}
