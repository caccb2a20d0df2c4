//! `/platform/tiers`: the tiers themselves (spec/doorman.md 4.10). Answers are bare models, refusals say why in
//! `detail`.

use super::query::Query;
use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::{Reply, detail};
use crate::index::By;
use crate::schema;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::{permits, tiers, times};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

/// The permission, and the code of a refusal.
pub(super) const NEEDS: (&str, &str) = ("manage_tiers", "TIER001");
const NAMES: [&str; 4] = ["free", "pro", "enterprise", "custom"];
/// Ids that are words of a path.
pub(crate) const TAKEN: [&str; 8] =
    ["assignments", "upgrade", "downgrade", "temporary-upgrade", "trial", "payment", "compare", "statistics"];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/tiers/compare", post => compare);
    resource!(config, "/tiers/statistics/all", get => statistics);
    resource!(config, "/tiers/{id}/statistics", get => statistics_of);
    resource!(config, "/tiers/{id}/users", get => users);
    resource!(config, "/tiers/{id}", get => get, put => put, delete => delete);
    resource!(config, "/tiers", post => post, get => list);
}

pub(super) fn bare(status: u16, value: &Value) -> Reply {
    Reply::Bare(status, value.to_string())
}

pub(super) fn manager(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = caller(control, request)?;
    caller.needs(NEEDS.0, NEEDS.1)?;
    Ok(caller)
}

fn unknown(id: &str) -> Problem {
    detail(404, &format!("Tier {id:?} not found"))
}

fn find<'s>(state: &'s State, id: &str) -> Result<&'s Row, Problem> {
    state.get("tiers", id).map(|row| &**row).ok_or_else(|| unknown(id))
}

/// What the table of fields cannot say.
pub(crate) fn checked(mut row: Row) -> Result<Row, Problem> {
    if let Some(name) = row.get("name").and_then(Value::as_str).filter(|name| !NAMES.contains(name)) {
        let text = format!("Validation Error: name: {name:?}: expected one of {}", NAMES.join(", "));
        return Err(Problem::compat(422, "VAL001", text).at("name"));
    }
    if let Some(limits) = row.get("limits") {
        let limits = if limits.is_null() { json!({}) } else { limits.clone() };
        let limits = schema::create(tiers::LIMITS, &limits)?;
        row.insert("limits".to_owned(), Value::Object(limits));
    }
    Ok(row)
}

/// Only one tier is the default.
fn alone(mut draft: Draft, state: &State, id: &str, row: &Row) -> Draft {
    let others = state.rows("tiers").filter(|(other, tier)| *other != id && tier.flag("is_default"));
    for (other, tier) in others.filter(|_| row.flag("is_default")) {
        let mut tier = Row::clone(tier);
        tier.insert("is_default".to_owned(), json!(false));
        draft = draft.put("tiers", other.clone(), tier);
    }
    draft
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = checked(schema::create(tiers::FIELDS, &json(body)?)?)?;
    let caller = manager(control, request)?;
    if row.text("tier_id").is_empty() {
        row.insert("tier_id".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    }
    let id = row.text("tier_id").to_owned();
    super::addressable(&id, &TAKEN, "VAL001", "tier_id")?;
    let now = json!(times::text(control.clock.unix_ms()));
    row.extend([("created_at".to_owned(), now.clone()), ("updated_at".to_owned(), now)]);
    let key = id.clone();
    let make = move |state: &State| {
        if state.get("tiers", &key).is_some() {
            return Err(Problem::compat(201, "", "exists"));
        }
        let draft = Draft::new("tier.create", format!("tier/{key}")).detail(json!(row));
        Ok(alone(draft, state, &key, &row).put("tiers", key, row))
    };
    match permits::submit(control, &caller, NEEDS, make).await {
        // The one that is there is answered (spec/doorman.md 4.10).
        Err(problem) if problem.status != 201 => Err(problem),
        _ => Ok(bare(201, &json!(find(&control.changes.state(), &id)?))),
    }
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let query = Query::of(request);
    let (skip, limit) = query.window()?;
    let wanted = query.text("search").map(str::to_lowercase);
    let enabled_only = query.yes_or_no("enabled_only")?;
    let shown = |row: &Row| {
        let fields = ["tier_id", "name", "display_name", "description"];
        let found = |wanted: &String| fields.iter().any(|f| row.text(f).to_lowercase().contains(wanted));
        (!enabled_only || row.flag("enabled")) && wanted.as_ref().is_none_or(found)
    };
    let rows = || caller.state.rows("tiers").map(|(_, row)| row).filter(|row| shown(row));
    let total = rows().count();
    let tiers: Vec<_> = rows().skip(skip).take(limit).map(|row| json!(**row)).collect();
    let has_next = skip.saturating_add(tiers.len()) < total;
    Ok(bare(
        200,
        &json!({"tiers": tiers, "skip": skip, "limit": limit, "page": skip / limit + 1, "page_size": limit,
                "has_next": has_next, "total": total}),
    ))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    Ok(bare(200, &json!(find(&caller.state, part(request, "id"))?)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = checked(schema::update(tiers::FIELDS, &json(body)?)?)?;
    let caller = manager(control, request)?;
    let id = part(request, "id").to_owned();
    let (key, now) = (id.clone(), json!(times::text(control.clock.unix_ms())));
    let make = move |state: &State| {
        let old = find(state, &key)?;
        if changes.get("tier_id").is_some_and(|new| new != key.as_str()) {
            return Err(detail(400, "tier_id cannot be changed"));
        }
        let mut row = old.clone();
        row.extend(changes.into_iter().filter(|(name, _)| name != "created_at"));
        row.insert("updated_at".to_owned(), now);
        let told = json!({"before": old, "after": row});
        let draft = Draft::new("tier.update", format!("tier/{key}")).detail(told);
        Ok(alone(draft, state, &key, &row).put("tiers", key, row))
    };
    permits::submit(control, &caller, NEEDS, make).await?;
    Ok(bare(200, &json!(find(&control.changes.state(), &id)?)))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let key = part(request, "id").to_owned();
    let make = move |state: &State| {
        let old = find(state, &key)?;
        if let Some(user) = state.keys_by(By::AssignedTier, &key).next() {
            let text = format!("Tier {key:?} is assigned to {user:?}, so it cannot be deleted");
            return Err(detail(400, &text));
        }
        let draft = Draft::new("tier.delete", format!("tier/{key}")).detail(json!({ "before": old }));
        Ok(draft.delete("tiers", key))
    };
    permits::submit(control, &caller, NEEDS, make).await?;
    Ok(bare(200, &json!({ "message": "Tier deleted successfully" })))
}

async fn users(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let (skip, limit) = Query::of(request).window()?;
    let (id, now_ms) = (part(request, "id"), control.clock.unix_ms());
    find(&caller.state, id)?;
    let of = caller.state.keys_by(By::AssignedTier, id);
    let of = of.filter_map(|user| tiers::in_force(caller.state.get("assignments", user)?, now_ms));
    let of = of.filter(|row| row.text("tier_id") == id).skip(skip).take(limit);
    Ok(bare(200, &Value::Array(of.map(tiers::shown).collect())))
}

/// Tiers side by side, by id.
async fn compare(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = json(body)?;
    let ids = body.as_array().or_else(|| body.get("tier_ids").and_then(Value::as_array));
    let ids: Option<Vec<&str>> = ids.map(|ids| ids.iter().filter_map(Value::as_str).collect());
    let refused = || Problem::compat(422, "VAL001", "Validation Error: body: expected a list of tier ids");
    let ids = ids.filter(|ids| !ids.is_empty() && ids.len() <= 100).ok_or_else(refused)?;
    let caller = manager(control, request)?;
    let mut map = Row::new();
    for id in ids {
        let tier = find(&caller.state, id)?;
        let fields = [
            "tier_id",
            "name",
            "display_name",
            "limits",
            "price_monthly",
            "price_yearly",
            "features",
            "enabled",
        ];
        let shown = fields.iter().map(|name| ((*name).to_owned(), json!(tier.get(*name))));
        map.insert(id.to_owned(), Value::Object(shown.collect()));
    }
    Ok(bare(200, &Value::Object(map)))
}

fn counted(state: &State, tier: &Row, now_ms: i64) -> Value {
    let id = tier.text("tier_id");
    let all = || state.keys_by(By::AssignedTier, id).filter_map(|user| state.get("assignments", user));
    let now = all().filter(|row| tiers::in_force(row, now_ms).is_some_and(|row| row.text("tier_id") == id));
    let later = all().flat_map(|row| tiers::scheduled(row, now_ms)).filter(|row| row["tier_id"] == id);
    json!({"tier_id": id, "name": tier.text("name"), "display_name": tier.text("display_name"),
           "enabled": tier.flag("enabled"), "total_users": now.count(), "scheduled_users": later.count()})
}

async fn statistics(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let now_ms = control.clock.unix_ms();
    let tiers: Vec<_> =
        caller.state.rows("tiers").map(|(_, tier)| counted(&caller.state, tier, now_ms)).collect();
    let enabled = tiers.iter().filter(|tier| tier["enabled"] == true).count();
    let assigned = caller.state.rows("assignments").count();
    Ok(bare(
        200,
        &json!({"total_tiers": tiers.len(), "enabled_tiers": enabled, "total_assignments": assigned, "tiers": tiers}),
    ))
}

async fn statistics_of(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let tier = find(&caller.state, part(request, "id"))?;
    Ok(bare(200, &counted(&caller.state, tier, control.clock.unix_ms())))
}
