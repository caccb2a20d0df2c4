//! Reports of traffic (spec/doorman.md 4.20): `/platform/monitor/metrics` and `/platform/monitor/report`.

use super::Outcome;
use crate::envelope::{Reply, answer, decorate};
use crate::observe::report::{self, Asked, RANGES};
use crate::session::caller;
use crate::{Inner, resource, whole_resource};
use actix_web::cookie::time::Date;
use actix_web::cookie::time::format_description::well_known::Iso8601;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::problem::{Code, Problem};

const DAY: i64 = 86_400;

/// Below `/platform`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/monitor/metrics", get => metrics);
    whole_resource!(config, "/monitor/report", get => report);
}

fn query<'r>(request: &'r HttpRequest, name: &str) -> &'r str {
    let pairs = request.query_string().split('&').filter_map(|pair| pair.split_once('='));
    pairs.rev().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// One of the words that a parameter may have; the first if there is none.
fn word<'w>(request: &HttpRequest, name: &'static str, words: &'w [&'w str]) -> Result<usize, Problem> {
    let given = query(request, name);
    let known = words.iter().position(|word| *word == given);
    let refused = || Problem::compat(400, "MON003", format!("{name}: expected one of {}", words.join(", ")));
    known.or_else(|| given.is_empty().then_some(0)).ok_or_else(|| refused().at(name))
}

fn busy<E>(_: E) -> Problem {
    Problem::new(Code::Internal, "the report could not be made")
}

async fn metrics(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    caller(control, request)?.needs("manage_gateway", "MON001")?;
    let words: Vec<&str> = RANGES.iter().map(|range| range.word).collect();
    let given = if query(request, "range").is_empty() { 1 } else { word(request, "range", &words)? };
    let Some(range) = RANGES.get(given).copied() else { return Err(busy(())) };
    let by_day = word(request, "group", &["minute", "day"])? == 1;
    let descending = word(request, "sort", &["asc", "desc"])? == 1;
    let (history, now_ms) = (control.config().history.clone(), control.clock.unix_ms());
    let made = web::block(move || report::metrics(&history, Asked { range, by_day, descending }, now_ms));
    Ok(Reply::Data(200, made.await.map_err(busy)?))
}

/// Begin of a day that a parameter names, Unix seconds.
fn day(request: &HttpRequest, name: &'static str) -> Result<i64, Problem> {
    let given = query(request, name);
    // Weeks and ordinal days have other lengths, or a letter.
    let plain = given.len() == 10 && given.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let parsed = Date::parse(given, &Iso8601::DATE).ok().filter(|_| plain);
    let text = format!("{name}: expected a day as YYYY-MM-DD");
    let day = parsed.ok_or_else(|| Problem::compat(400, "MON003", text).at(name))?;
    Ok(day.midnight().assume_utc().unix_timestamp())
}

async fn report(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    match table(&control, &request).await {
        Ok((name, text)) => {
            let mut response = HttpResponse::Ok()
                .content_type("text/csv; charset=utf-8")
                .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
                .body(text);
            decorate(&mut response);
            response
        }
        Err(problem) => answer(&control, &request, Err(problem)),
    }
}

async fn table(control: &Inner, request: &HttpRequest) -> Result<(String, String), Problem> {
    caller(control, request)?.needs("manage_gateway", "MON002")?;
    let (from, last) = (day(request, "start")?, day(request, "end")?);
    if last < from {
        return Err(Problem::compat(400, "MON003", "end: expected no day before start").at("end"));
    }
    let history = control.config().history.clone();
    let made = web::block(move || report::table(&history, from, last + DAY)).await.map_err(busy)?;
    // The words are days by now.
    let name = format!("report_{}_{}.csv", query(request, "start"), query(request, "end"));
    Ok((name, made))
}
