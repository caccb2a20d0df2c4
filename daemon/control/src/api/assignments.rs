//! `/platform/tiers/assignments` and the moves between tiers (spec/doorman.md 4.10).

use super::tiers::{NEEDS, bare, manager};
use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::detail;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::Caller;
use crate::state::{Fields as _, Row, State};
use crate::subjects::{permits, tiers, times};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

const DAY_MS: i64 = 86_400_000;
/// Longest span a body may ask for, days.
const DAYS_MAX: i64 = 3_660;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/tiers/assignments", post => post);
    resource!(config, "/tiers/assignments/{user}/tier", get => tier_of);
    resource!(config, "/tiers/assignments/{user}", get => get, delete => delete);
    resource!(config, "/tiers/upgrade", post => upgrade);
    resource!(config, "/tiers/downgrade", post => downgrade);
    resource!(config, "/tiers/temporary-upgrade", post => temporary);
    resource!(config, "/tiers/trial/start", post => trial);
    resource!(config, "/tiers/payment/failure", post => payment_failure);
}

fn unassigned(user: &str) -> Problem {
    detail(404, &format!("No tier assignment found for user {user:?}"))
}

/// An addressable user; whether there is such a one yet is not asked, as for roles.
fn user(row: &Row) -> Result<String, Problem> {
    let name = row.text("user_id").to_owned();
    super::addressable(&name, &[], "VAL001", "user_id").map(|()| name)
}

/// Lays a new assignment upon the user's and answers it. The tier must exist and be enabled, else `status`.
async fn assign(
    control: &Inner,
    caller: &Caller,
    (action, status): (&'static str, u16),
    mut row: Row,
) -> Result<Value, Problem> {
    let now_ms = control.clock.unix_ms();
    row.insert("assigned_at".to_owned(), json!(times::text(now_ms)));
    row.insert("assigned_by".to_owned(), json!(caller.name));
    let (user, answer) = (row.text("user_id").to_owned(), tiers::shown(&row));
    let make = move |state: &State| {
        let tier = row.text("tier_id");
        match state.get("tiers", tier) {
            None => return Err(detail(status, &format!("Tier {tier:?} not found"))),
            Some(tier) if !tier.flag("enabled") => return Err(detail(status, "The tier is not enabled")),
            Some(_) => {}
        }
        let old = state.get("assignments", &user);
        let told = json!({"before": old.map(|old| tiers::shown(old)), "after": tiers::shown(&row)});
        let row = tiers::laid_upon(old.map(|old| &**old), row, now_ms);
        Ok(Draft::new(action, format!("user/{user}")).detail(told).put("assignments", user, row))
    };
    permits::submit(control, caller, NEEDS, make).await?;
    Ok(answer)
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(tiers::ASSIGNMENT, &json(body)?)?;
    if let Some(own) = row.get("override_limits").filter(|own| !own.is_null()) {
        let own = schema::update(tiers::LIMITS, own)?;
        row.insert("override_limits".to_owned(), Value::Object(own));
    }
    let caller = manager(control, request)?;
    user(&row)?;
    let now_ms = control.clock.unix_ms();
    let from_ms = row.get("effective_from").and_then(times::parse).unwrap_or(now_ms);
    row.insert("effective_from".to_owned(), json!(times::text(from_ms)));
    let until_ms = row.get("effective_until").and_then(times::parse);
    if until_ms.is_some_and(|until_ms| until_ms <= from_ms.max(now_ms)) {
        return Err(detail(400, "effective_until: expected a time to come, later than effective_from"));
    }
    Ok(bare(201, &assign(control, &caller, ("tier.assign", 400), row).await?))
}

/// The assignment in force, else the one to come.
async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let (user, now_ms) = (part(request, "user"), control.clock.unix_ms());
    let top = caller.state.get("assignments", user).ok_or_else(|| unassigned(user))?;
    let scheduled = tiers::scheduled(top, now_ms);
    let first = tiers::in_force(top, now_ms).map(tiers::shown).or_else(|| scheduled.first().cloned());
    let mut answer = first.ok_or_else(|| unassigned(user))?;
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("scheduled".to_owned(), Value::Array(scheduled));
    }
    Ok(bare(200, &answer))
}

async fn tier_of(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let user = part(request, "user");
    let found = tiers::row_of(&caller.state, user, control.clock.unix_ms());
    let (tier, assignment) = found.ok_or_else(|| unassigned(user))?;
    let mut tier = tier.clone();
    tier.insert("limits".to_owned(), Value::Object(tiers::limits(&tier, assignment)));
    Ok(bare(200, &Value::Object(tier)))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = manager(control, request)?;
    let user = part(request, "user").to_owned();
    let make = move |state: &State| {
        let old = state.get("assignments", &user).ok_or_else(|| unassigned(&user))?;
        let told = json!({ "before": tiers::shown(old) });
        let draft = Draft::new("tier.unassign", format!("user/{user}")).detail(told);
        Ok(draft.delete("assignments", user))
    };
    permits::submit(control, &caller, NEEDS, make).await?;
    Ok(bare(200, &json!({ "message": "Tier assignment removed" })))
}

pub(crate) const UPGRADE: &[Field] = &[
    ("user_id", Kind::Text(1, 50), Absent::Required),
    ("new_tier_id", Kind::Text(1, 100), Absent::Required),
    ("immediate", Kind::Flag, Absent::Is(true)),
    ("scheduled_date", Kind::Time, Absent::Null),
];

async fn upgrade(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(UPGRADE, &json(body)?)?;
    let caller = manager(control, request)?;
    let now_ms = control.clock.unix_ms();
    let from_ms = match asked.get("scheduled_date").and_then(times::parse) {
        _ if asked.flag("immediate") && asked.get("scheduled_date").is_none_or(Value::is_null) => now_ms,
        Some(at) if at > now_ms => at,
        _ => return Err(detail(400, "scheduled_date: expected a time to come, or immediate true")),
    };
    let row = tiers::assignment(&user(&asked)?, asked.text("new_tier_id"), (from_ms, None));
    Ok(bare(200, &assign(control, &caller, ("tier.upgrade", 400), row).await?))
}

pub(crate) const DOWNGRADE: &[Field] = &[
    ("user_id", Kind::Text(1, 50), Absent::Required),
    ("new_tier_id", Kind::Text(1, 100), Absent::Required),
    ("grace_period_days", Kind::Int(0), Absent::Number(0)),
];

/// Comes into force when the days of grace are over.
async fn downgrade(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(DOWNGRADE, &json(body)?)?;
    let caller = manager(control, request)?;
    let from_ms = control.clock.unix_ms() + days(&asked, "grace_period_days")?;
    let row = tiers::assignment(&user(&asked)?, asked.text("new_tier_id"), (from_ms, None));
    Ok(bare(200, &assign(control, &caller, ("tier.downgrade", 400), row).await?))
}

/// A span of days as milliseconds.
fn days(asked: &Row, name: &str) -> Result<i64, Problem> {
    let days = asked.number(name);
    if days > DAYS_MAX {
        let text = format!("Validation Error: {name}: expected at most {DAYS_MAX}");
        return Err(Problem::compat(422, "VAL001", text).at(name));
    }
    Ok(days * DAY_MS)
}

pub(crate) const TEMPORARY: &[Field] = &[
    ("user_id", Kind::Text(1, 50), Absent::Required),
    ("temp_tier_id", Kind::Text(1, 100), Absent::Required),
    ("duration_days", Kind::Int(1), Absent::Required),
];

async fn temporary(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(TEMPORARY, &json(body)?)?;
    let caller = manager(control, request)?;
    let now_ms = control.clock.unix_ms();
    let span = (now_ms, Some(now_ms + days(&asked, "duration_days")?));
    let row = tiers::assignment(&user(&asked)?, asked.text("temp_tier_id"), span);
    Ok(bare(200, &assign(control, &caller, ("tier.temporary_upgrade", 400), row).await?))
}

pub(crate) const TRIAL: &[Field] = &[
    ("user_id", Kind::Text(1, 50), Absent::Required),
    ("tier_id", Kind::Text(1, 100), Absent::Required),
    ("days", Kind::Int(1), Absent::Number(14)),
];

async fn trial(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(TRIAL, &json(body)?)?;
    let caller = manager(control, request)?;
    let now_ms = control.clock.unix_ms();
    let span = (now_ms, Some(now_ms + days(&asked, "days")?));
    let mut row = tiers::assignment(&user(&asked)?, asked.text("tier_id"), span);
    row.insert("notes".to_owned(), json!("trial"));
    Ok(bare(200, &assign(control, &caller, ("tier.trial", 404), row).await?))
}

pub(crate) const FAILURE: &[Field] =
    &[("user_id", Kind::Text(1, 50), Absent::Required), ("reason", Kind::Text(0, 400), Absent::Null)];

/// Whoever does not pay falls to the default tier, else to a free one, at once.
async fn payment_failure(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(FAILURE, &json(body)?)?;
    let caller = manager(control, request)?;
    let name = user(&asked)?;
    caller.state.get("assignments", &name).ok_or_else(|| unassigned(&name))?;
    let enabled = || caller.state.rows("tiers").map(|(_, row)| row).filter(|row| row.flag("enabled"));
    let least = enabled().find(|row| row.flag("is_default"));
    let least = least.or_else(|| enabled().find(|row| row.text("name") == "free"));
    let least = least.ok_or_else(|| detail(400, "There is no default tier and no free one to fall to"))?;
    let mut row = tiers::assignment(&name, least.text("tier_id"), (control.clock.unix_ms(), None));
    let reason = asked.text("reason");
    let notes =
        if reason.is_empty() { "payment failed".to_owned() } else { format!("payment failed: {reason}") };
    row.insert("notes".to_owned(), json!(notes));
    Ok(bare(200, &assign(control, &caller, ("tier.payment_failure", 400), row).await?))
}
