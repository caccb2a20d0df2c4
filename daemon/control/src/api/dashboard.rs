//! `/platform/dashboard` (spec/doorman.md 4.22): one look at the whole.

use super::Outcome;
use crate::envelope::Reply;
use crate::index::By;
use crate::session::caller;
use crate::state::{Fields as _, Row};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_corridor::meter::calendar;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Lines of a list.
const TOP: usize = 10;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/dashboard", get => dashboard);
}

/// A count with commas between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Requests of all users by the name of the month, of the last twelve months.
fn months(totals: &BTreeMap<String, u64>) -> Value {
    let mut named = Row::new();
    for (month, requests) in totals.iter().rev().take(MONTHS.len()) {
        let number = month.get(5..7).and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
        if let Some(name) = MONTHS.get(number.wrapping_sub(1)) {
            named.insert((*name).to_owned(), json!(requests));
        }
    }
    Value::Object(named)
}

async fn dashboard(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let (state, now_ms) = (&caller.state, control.clock.unix_ms());
    let telemetry = &control.config().telemetry;
    let (_, month) = calendar(now_ms);
    let mut users: Vec<(u64, &str)> = control
        .usages
        .all(|name, usage| {
            let requests = usage.month_requests.used(month, 1);
            (requests > 0).then_some((requests, name.to_owned()))
        })
        .into_iter()
        .filter_map(|(requests, name)| state.get("users", &name).map(|row| (requests, row.text("username"))))
        .collect();
    // Whoever is no administrator sees of users only themselves.
    users.retain(|(_, name)| caller.may("manage_users") || *name == caller.name);
    users.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let users = users.into_iter().take(TOP).map(|(requests, name)| {
        let apis = state.get("subscriptions", name).map(|row| row.list("apis").len()).unwrap_or_default();
        json!({"username": name, "requests": grouped(requests), "subscribers": apis})
    });
    let routes = telemetry.routes();
    let mut apis: Vec<_> = routes
        .values()
        .map(|entry| (entry.stats.requests.load(Ordering::Relaxed), &*entry.name))
        .filter(|(requests, _)| *requests > 0)
        .collect();
    apis.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let apis = apis.into_iter().take(TOP).map(|(requests, name)| {
        let subscribers = state.keys_by(By::Subscriber, name).count();
        json!({"name": name, "requests": grouped(requests), "subscribers": subscribers})
    });
    let active = state.rows("users").filter(|(_, row)| row.flag("active")).count();
    Ok(Reply::Data(
        200,
        json!({
            "totalRequests": telemetry.total.requests.load(Ordering::Relaxed), "activeUsers": active,
            "newApis": state.table("apis").len(), "monthlyUsage": months(&control.usages.totals(now_ms)),
            "activeUsersList": users.collect::<Vec<_>>(), "popularApis": apis.collect::<Vec<_>>(),
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        for (count, text) in [(0, "0"), (999, "999"), (1_234, "1,234"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn months_have_names() {
        let totals = (1..=14).map(|n| (format!("{}-{:02}", 2025 + n / 13, (n - 1) % 12 + 1), n)).collect();
        let named = months(&totals);
        assert_eq!(
            (&named["Jan"], &named["Dec"], named.as_object().unwrap().len()),
            (&json!(13), &json!(12), 12)
        );
    }
}
