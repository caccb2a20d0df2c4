//! `/platform/quota`: what a user's tier allows and what of it is used (spec/doorman.md 4.12). Each user sees only
//! their own.

use super::Outcome;
use super::part;
use super::query::Query;
use super::tiers::bare;
use crate::envelope::detail;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row};
use crate::subjects::{tiers, times};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::meter::calendar;
use serde_json::{Value, json};

const KINDS: [&str; 3] = ["monthly_requests", "daily_requests", "monthly_bandwidth"];
/// Percent from which a quota is told to be near its end.
const WARNING: f64 = 80.0;
const CRITICAL: f64 = 95.0;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/quota/status", get => status);
    resource!(config, "/quota/status/{kind}", get => one);
    resource!(config, "/quota/usage/history", get => history);
    resource!(config, "/quota/usage/export", post => export);
    resource!(config, "/quota/tier/info", get => tier_info);
    resource!(config, "/quota/burst/status", get => burst);
}

fn untiered() -> Problem {
    detail(404, "No tier is assigned to you")
}

/// One quota; `None` if the tier has none of this kind.
fn quota(control: &Inner, caller: &Caller, kind: &str) -> Result<Option<Value>, Problem> {
    let now_ms = control.clock.unix_ms();
    let tier = tiers::tier_of(&caller.state, &caller.name, now_ms).ok_or_else(untiered)?;
    let (usage, (day, month)) = (control.usages.of(&caller.name), calendar(now_ms));
    let (limit, used, reset_ms) = match kind {
        "monthly_requests" => {
            (tier.monthly_quota, usage.month_requests.used(month, 1), times::next_month(now_ms))
        }
        "daily_requests" => (tier.daily_quota, usage.day_requests.used(day, 1), times::next_day(now_ms)),
        _ => (tier.monthly_bytes, usage.month_bytes.used(month, 1), times::next_month(now_ms)),
    };
    let Some(limit) = limit else { return Ok(None) };
    let percent = used as f64 * 100.0 / limit.max(1) as f64;
    Ok(Some(json!({
        "quota_type": kind, "current_usage": used, "limit": limit, "remaining": limit.saturating_sub(used),
        "percentage_used": (percent * 100.0).round() / 100.0, "reset_at": times::text(reset_ms),
        "is_warning": percent >= WARNING, "is_critical": percent >= CRITICAL, "is_exhausted": used >= limit,
    })))
}

fn described(tier: &Row, limits: Row) -> Value {
    json!({"tier_id": tier.text("tier_id"), "tier_name": tier.text("name"), "display_name": tier.text("display_name"),
           "limits": limits, "price_monthly": tier.get("price_monthly"), "features": tier.list("features")})
}

fn current(control: &Inner, caller: &Caller) -> Result<Value, Problem> {
    let found = tiers::row_of(&caller.state, &caller.name, control.clock.unix_ms());
    let (tier, assignment) = found.ok_or_else(untiered)?;
    Ok(described(tier, tiers::limits(tier, assignment)))
}

async fn status(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let tier = current(control, &caller)?;
    let mut quotas = Vec::new();
    for kind in KINDS {
        quotas.extend(quota(control, &caller, kind)?);
    }
    let any = |name: &str| quotas.iter().any(|quota| quota[name] == true);
    let requests = quotas.iter().find(|quota| quota["quota_type"] == "monthly_requests");
    let (_, month) = calendar(control.clock.unix_ms());
    let used = control.usages.of(&caller.name).month_requests.used(month, 1);
    let summary = json!({
        "total_requests_used": used, "total_requests_limit": requests.map(|quota| &quota["limit"]),
        "has_warnings": any("is_warning"), "has_critical": any("is_critical"), "has_exhausted": any("is_exhausted"),
    });
    let body = json!({"user_id": caller.name, "tier_info": tier, "quotas": quotas, "usage_summary": summary});
    Ok(bare(200, &body))
}

async fn one(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let kind = part(request, "kind");
    if !KINDS.contains(&kind) {
        return Err(detail(400, &format!("{kind:?}: expected one of {}", KINDS.join(", "))));
    }
    let unset = || detail(404, &format!("Your tier has no quota of {kind}"));
    Ok(bare(200, &quota(control, &caller, kind)?.ok_or_else(unset)?))
}

fn past(control: &Inner, caller: &Caller) -> Vec<(String, u64, u64)> {
    let months = control.usages.months(&caller.name, control.clock.unix_ms());
    months.into_iter().map(|(month, period)| (month, period.requests, period.bytes)).collect()
}

async fn history(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let months = past(control, &caller).into_iter().map(
        |(month, requests, bytes)| json!({"period": month, "monthly_requests": requests, "monthly_bandwidth": bytes}),
    );
    let days = control.usages.days(&caller.name, control.clock.unix_ms());
    let days = days.into_iter().map(|(day, requests)| json!({"period": day, "daily_requests": requests}));
    let history: Vec<_> = months.chain(days).collect();
    let note = "Months and days of UTC, oldest first; counted since this appliance counts.";
    Ok(bare(200, &json!({"user_id": caller.name, "history": history, "note": note})))
}

async fn export(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let query = Query::of(request);
    let format = query.text("format").unwrap_or("json");
    let months = past(control, &caller);
    let data = match format {
        "json" => {
            let row = |(month, requests, bytes): &(String, u64, u64)| json!({"period": month, "monthly_requests": requests, "monthly_bandwidth": bytes});
            Value::Array(months.iter().map(row).collect())
        }
        "csv" => {
            let lines = months.iter().map(|(month, requests, bytes)| format!("{month},{requests},{bytes}\n"));
            json!(format!("period,monthly_requests,monthly_bandwidth\n{}", lines.collect::<String>()))
        }
        _ => return Err(detail(400, "format: expected json or csv")),
    };
    Ok(bare(200, &json!({"format": format, "data": data})))
}

async fn tier_info(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let found = tiers::row_of(&caller.state, &caller.name, control.clock.unix_ms());
    let (tier, assignment) = found.ok_or_else(untiered)?;
    let price = |row: &Row| row.get("price_monthly").and_then(Value::as_f64).unwrap_or(0.0);
    let others = caller.state.rows("tiers").map(|(_, row)| row);
    let others = others.filter(|row| row.flag("enabled") && row.text("tier_id") != tier.text("tier_id"));
    let options: Vec<_> = others
        .filter(|row| price(row) >= price(tier))
        .map(|row| {
            json!({"tier_id": row.text("tier_id"), "display_name": row.text("display_name"),
                   "price_monthly": row.get("price_monthly"), "features": row.list("features")})
        })
        .collect();
    Ok(bare(
        200,
        &json!({"current_tier": described(tier, tiers::limits(tier, assignment)), "upgrade_options": options}),
    ))
}

/// What lies above a window's limit is the burst.
async fn burst(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let now_ms = control.clock.unix_ms();
    let tier = tiers::tier_of(&caller.state, &caller.name, now_ms).ok_or_else(untiered)?;
    let usage = control.usages.of(&caller.name);
    let (mut limits, mut used) = (Row::new(), Row::new());
    let windows = [
        ("per_second", tier.per_second, tier.burst_per_second, 1_000),
        ("per_minute", tier.per_minute, tier.burst_per_minute, 60_000),
        ("per_hour", tier.per_hour, tier.burst_per_hour, 3_600_000),
    ];
    for ((name, limit, burst, window_ms), meter) in windows.into_iter().zip(&usage.tier) {
        let above = limit.map_or(0, |limit| meter.used(now_ms, window_ms).saturating_sub(limit));
        limits.insert(name.to_owned(), json!(burst));
        used.insert(name.to_owned(), json!(above.min(burst)));
    }
    let note = "Calls of the present window above its limit.";
    Ok(bare(200, &json!({"user_id": caller.name, "burst_limits": limits, "burst_usage": used, "note": note})))
}
