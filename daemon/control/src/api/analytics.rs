//! `/platform/analytics`: what the access records tell of a span of time (spec/doorman.md 4.21).

use super::logging::{blocking, places};
use super::query::Query;
use super::{Outcome, part};
use crate::envelope::Reply;
use crate::session::caller;
use crate::subjects::logs::{Wanted, look};
use crate::subjects::traffic::{Metric, Sum, Traffic, step, top};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

const RANGES: [(&str, i64); 4] = [("1h", 3_600), ("24h", 86_400), ("7d", 604_800), ("30d", 2_592_000)];
/// Longest span, seconds.
const SPAN_SECS: i64 = 31_622_400;
/// Names in an overview.
const TOP: usize = 10;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/analytics/overview", get => overview);
    resource!(config, "/analytics/timeseries", get => series);
    resource!(config, "/analytics/top-apis", get => top_apis);
    resource!(config, "/analytics/top-users", get => top_users);
    resource!(config, "/analytics/top-endpoints", get => top_endpoints);
    resource!(config, "/analytics/api/{name}/{version}", get => of_api);
    resource!(config, "/analytics/user/{username}", get => of_user);
}

fn refused(name: &str, expected: &str) -> Problem {
    Problem::compat(422, "VAL001", format!("Validation Error: {name}: expected {expected}")).at(name)
}

/// Unix seconds of the span asked for, from and up to but not with.
fn span(control: &Inner, query: &Query) -> Result<(i64, i64), Problem> {
    let now = control.clock.unix_ms().div_euclid(1_000) + 1;
    let word = query.text("range").unwrap_or("24h");
    let length = RANGES.iter().find(|(name, _)| *name == word).map(|(_, length)| *length);
    let length = length.ok_or_else(|| refused("range", "1h, 24h, 7d or 30d"))?;
    let end = query.number("end_ts", 0, i64::MAX / 2_000)?.unwrap_or(now);
    let start = query.number("start_ts", 0, i64::MAX / 2_000)?.unwrap_or(end - length);
    if start >= end || end - start > SPAN_SECS {
        return Err(refused("start_ts", "a time before end_ts, by a year at most"));
    }
    Ok((start, end))
}

/// What a caller may see of a span, by what they ask for.
struct Seen {
    traffic: Traffic,
    range: Value,
    complete: bool,
    query: Query,
}

async fn seen(
    control: &Inner,
    request: &HttpRequest,
    wanted: Wanted,
    step: impl FnOnce(&Query, i64) -> Result<i64, Problem>,
) -> Result<Seen, Problem> {
    caller(control, request)?.needs("view_analytics", "ANALYTICS001")?;
    let query = Query::of(request);
    let (start, end) = span(control, &query)?;
    let step = step(&query, end - start)?;
    let wanted = Wanted {
        from_ms: Some(start * 1_000),
        until_ms: Some(end * 1_000),
        source: "gateway".to_owned(),
        ..wanted
    };
    let places = places(control);
    let work = move || {
        let mut traffic = Traffic::new(step);
        let look = look(&places, &wanted, |item| traffic.add(&item));
        (traffic, look.complete)
    };
    let (traffic, complete) = blocking(control, work).await?;
    let range = json!({"start_ts": start, "end_ts": end, "duration_seconds": end - start});
    Ok(Seen { traffic, range, complete, query })
}

fn no_series(_: &Query, _: i64) -> Result<i64, Problem> {
    Ok(0)
}

fn limit(query: &Query) -> Result<usize, Problem> {
    Ok(query.number("limit", 1, 100)?.unwrap_or(TOP))
}

async fn overview(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let seen = seen(control, request, Wanted::default(), no_series).await?;
    let traffic = &seen.traffic;
    Ok(Reply::Data(
        200,
        json!({
            "time_range": seen.range, "summary": traffic.all.summary(traffic.users.len()),
            "percentiles": traffic.all.percentiles(), "top_apis": top(&traffic.apis, "api", TOP),
            "top_users": top(&traffic.users, "user", TOP), "status_distribution": traffic.all.statuses(),
            "complete": seen.complete,
        }),
    ))
}

async fn series(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let steps = |query: &Query, span: i64| {
        let word = query.text("granularity").unwrap_or("auto");
        step(word, span).ok_or_else(|| refused("granularity", "auto, minute, 5minute, hour or day"))
    };
    let seen = seen(control, request, Wanted::default(), steps).await?;
    let metric = match seen.query.text("metric_type").unwrap_or("request_count") {
        "request_count" => Metric::Requests,
        "error_rate" => Metric::Errors,
        "latency" => Metric::Latency,
        "bandwidth" => Metric::Bandwidth,
        _ => return Err(refused("metric_type", "request_count, error_rate, latency or bandwidth")),
    };
    let series = seen.traffic.series(metric);
    let granularity = seen.query.text("granularity").unwrap_or("auto");
    Ok(Reply::Data(
        200,
        json!({"time_range": seen.range, "granularity": granularity, "data_points": series.len(), "series": series,
               "complete": seen.complete}),
    ))
}

async fn top_apis(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let seen = seen(control, request, Wanted::default(), no_series).await?;
    let apis = top(&seen.traffic.apis, "api", limit(&seen.query)?);
    let total = seen.traffic.apis.len();
    Ok(Reply::Data(
        200,
        json!({"time_range": seen.range, "top_apis": apis, "total_apis": total, "complete": seen.complete}),
    ))
}

async fn top_users(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let seen = seen(control, request, Wanted::default(), no_series).await?;
    let users = top(&seen.traffic.users, "user", limit(&seen.query)?);
    let total = seen.traffic.users.len();
    Ok(Reply::Data(
        200,
        json!({"time_range": seen.range, "top_users": users, "total_users": total, "complete": seen.complete}),
    ))
}

async fn top_endpoints(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let seen = seen(control, request, Wanted::default(), no_series).await?;
    let most = limit(&seen.query)?;
    let by: fn(&Sum) -> f64 = match seen.query.text("sort_by").unwrap_or("count") {
        "count" => |sum| sum.requests as f64,
        "avg_ms" => Sum::mean_ms,
        "error_rate" => Sum::error_rate,
        _ => return Err(refused("sort_by", "count, avg_ms or error_rate")),
    };
    let mut all: Vec<_> = seen.traffic.endpoints.iter().collect();
    all.sort_by(|a, b| by(b.1).total_cmp(&by(a.1)).then_with(|| a.0.cmp(b.0)));
    let items = all.into_iter().take(most).map(|((method, uri), sum)| {
        json!({"endpoint_uri": uri, "method": method, "count": sum.requests, "error_count": sum.errors,
               "error_rate": sum.error_rate(), "avg_ms": sum.mean_ms(), "percentiles": sum.percentiles(),
               "status_counts": sum.statuses()})
    });
    let items: Vec<_> = items.collect();
    let total = seen.traffic.endpoints.len();
    Ok(Reply::Data(
        200,
        json!({"time_range": seen.range, "top_endpoints": items, "total_endpoints": total, "complete": seen.complete}),
    ))
}

/// One API's or one user's summary; 404 if nothing was seen of it.
fn summary(seen: &Seen, named: Value) -> Outcome {
    let traffic = &seen.traffic;
    if traffic.all.requests == 0 {
        return Err(Problem::compat(404, "ANALYTICS404", "No traffic in this span"));
    }
    let mut body = json!({
        "time_range": seen.range, "summary": traffic.all.summary(traffic.users.len()),
        "percentiles": traffic.all.percentiles(), "status_distribution": traffic.all.statuses(),
        "complete": seen.complete,
    });
    if let (Some(body), Value::Object(named)) = (body.as_object_mut(), named) {
        body.extend(named);
    }
    Ok(Reply::Data(200, body))
}

async fn of_api(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let (name, version) = (part(request, "name"), part(request, "version"));
    let wanted = Wanted { api: format!("{name}/{version}"), ..Wanted::default() };
    let seen = seen(control, request, wanted, no_series).await?;
    let users = top(&seen.traffic.users, "user", TOP);
    summary(&seen, json!({"api_name": name, "api_version": version, "top_users": users}))
}

async fn of_user(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let name = part(request, "username");
    let seen =
        seen(control, request, Wanted { user: name.to_owned(), ..Wanted::default() }, no_series).await?;
    let apis = top(&seen.traffic.apis, "api", TOP);
    summary(&seen, json!({"username": name, "top_apis": apis}))
}
