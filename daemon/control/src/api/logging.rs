//! `/platform/logging`: the files searched, counted and handed out (spec/doorman.md 4.19).

use super::Outcome;
use super::query::Query;
use crate::envelope::{Reply, answer, decorate};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, State};
use crate::subjects::logs::{self, Item, Places, Source, Wanted, look};
use crate::subjects::times;
use crate::{Inner, resource, whole_resource};
use actix_web::http::header::{CONTENT_DISPOSITION, HeaderValue};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::problem::{Code, Problem};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Items of an export, if not asked for otherwise, and at most.
const EXPORTED: usize = 1_000;
const EXPORTED_MAX: usize = 10_000;
/// Names counted for a list of the most frequent ones; later ones are left out.
const NAMES: usize = 10_000;
/// Length of such a list.
const TOP: usize = 10;
const COLUMNS: [&str; 13] = [
    "timestamp",
    "level",
    "message",
    "source",
    "user",
    "api",
    "endpoint",
    "method",
    "status_code",
    "response_time",
    "ip_address",
    "protocol",
    "request_id",
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/logging/logs/files", get => files);
    resource!(config, "/logging/logs/statistics", get => statistics);
    resource!(config, "/logging/logs/export", get => export);
    whole_resource!(config, "/logging/logs/download", get => download);
    resource!(config, "/logging/logs", get => list);
}

pub(crate) fn places(control: &Inner) -> Places {
    let config = control.config();
    Places { records: config.log_dir.clone(), audit: config.data_dir.join("audit") }
}

/// Looks into the files where no request waits for it; two looks at the same time, since each takes a core.
pub(crate) async fn blocking<T: Send + 'static>(
    control: &Inner,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let lost = |text: String| Problem::new(Code::Internal, format!("the files could not be read: {text}"));
    let permit = control.looks.acquire().await.map_err(|error| lost(error.to_string()))?;
    let done = web::block(work).await.map_err(|error| lost(error.to_string()));
    drop(permit);
    done
}

/// A point of time of a day and a time of day; a day alone is its begin, or its end.
fn point(query: &Query, day: &str, time: &str, end: bool) -> Result<Option<i64>, Problem> {
    let refused = |name: &str, expected: &str| {
        Problem::compat(422, "VAL001", format!("Validation Error: {name}: expected {expected}")).at(name)
    };
    let Some(date) = query.text(day) else {
        return match query.text(time) {
            Some(_) => Err(refused(day, "a day, since a time of day is given")),
            None => Ok(None),
        };
    };
    let begin = Some(date).filter(|date| date.len() == 10).and_then(|date| times::parse(&json!(date)));
    let begin = begin.ok_or_else(|| refused(day, "YYYY-MM-DD"))?;
    let Some(clock) = query.text(time) else { return Ok(Some(if end { begin + 86_400_000 } else { begin })) };
    let at = times::parse(&json!(format!("{date}T{clock}"))).ok_or_else(|| refused(time, "HH:MM"))?;
    Ok(Some(if end { at + 60_000 } else { at }))
}

fn wanted(query: &Query) -> Result<Wanted, Problem> {
    let text = |name: &str| query.text(name).unwrap_or_default().to_owned();
    // Of the audit trail one asks by its own words.
    let either = |name: &str, other: &str| match text(name) {
        given if given.is_empty() => text(other),
        given => given,
    };
    let known = |name: &str| match query.text(name) {
        None => Ok(String::new()),
        Some(word) if ["platform", "auth", "gateway"].contains(&word) => Ok(word.to_owned()),
        Some(_) => {
            let text = format!("Validation Error: {name}: expected platform, auth or gateway");
            Err(Problem::compat(422, "VAL001", text).at(name))
        }
    };
    Ok(Wanted {
        from_ms: point(query, "start_date", "start_time", false)?,
        until_ms: point(query, "end_date", "end_time", true)?,
        user: either("user", "actor"),
        api: text("api"),
        endpoint: either("endpoint", "object"),
        request: text("request_id"),
        method: either("method", "action"),
        address: text("ip_address"),
        level: match text("level").to_uppercase() {
            level if level == "WARN" => "WARNING".to_owned(),
            level => level,
        },
        source: known("type")?,
        but_source: known("exclude_type")?,
        least_ms: query.number("min_response_time", 0.0, f64::MAX)?,
        most_ms: query.number("max_response_time", 0.0, f64::MAX)?,
    })
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("view_logs", "LOG001")?;
    let query = Query::of(request);
    let wanted = wanted(&query)?;
    let limit = query.number("limit", 1, 1_000)?.unwrap_or(100);
    let offset = query.number("offset", 0, usize::MAX)?.unwrap_or(0);
    let places = places(control);
    let work = move || {
        let (mut total, mut page) = (0_usize, Vec::new());
        let look = look(&places, &wanted, |item| {
            if total >= offset && page.len() < limit {
                page.push(item.shown());
            }
            total += 1;
        });
        (total, page, look)
    };
    let (total, page, look) = blocking(control, work).await?;
    let has_more = offset.saturating_add(page.len()) < total || !look.complete;
    let body = json!({"logs": page, "total": total, "has_more": has_more, "complete": look.complete});
    Ok(Reply::Data(200, body))
}

async fn files(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    caller(control, request)?.needs("view_logs", "LOG005")?;
    let places = places(control);
    let files = blocking(control, move || logs::files(&places)).await?;
    let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    Ok(Reply::Data(200, json!({"count": files.len(), "log_files": files})))
}

/// How often each name was seen.
#[derive(Default)]
pub(crate) struct Counted(HashMap<String, u64>);

impl Counted {
    pub(crate) fn add(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
        } else if self.0.len() < NAMES {
            self.0.insert(name.to_owned(), 1);
        }
    }

    /// The most frequent ones, with their names under a word.
    pub(crate) fn top(&self, word: &str, most: usize) -> Vec<Value> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        all.into_iter().take(most).map(|(name, count)| json!({word: name, "count": count})).collect()
    }
}

async fn statistics(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    caller(control, request)?.needs("view_logs", "LOG002")?;
    let wanted = wanted(&Query::of(request))?;
    let places = places(control);
    let work = move || {
        let (mut levels, mut took, mut requests) = (Counted::default(), 0.0, 0_u64);
        let (mut apis, mut users, mut endpoints) =
            (Counted::default(), Counted::default(), Counted::default());
        let mut total = 0_u64;
        let look = look(&places, &wanted, |item| {
            total += 1;
            levels.add(item.level);
            users.add(&item.user);
            if item.source == Source::Gateway {
                apis.add(&item.api);
                endpoints.add(&item.endpoint);
                requests += 1;
                took += item.micros.unwrap_or(0) as f64 / 1e3;
            }
        });
        let level = |name: &str| levels.0.get(name).copied().unwrap_or(0);
        json!({
            "total_logs": total, "error_count": level("ERROR"), "warning_count": level("WARNING"),
            "info_count": level("INFO"), "debug_count": 0,
            "avg_response_time": (took / requests.max(1) as f64 * 1e3).round() / 1e3,
            "top_apis": apis.top("name", TOP), "top_users": users.top("name", TOP),
            "top_endpoints": endpoints.top("name", TOP), "complete": look.complete,
        })
    };
    Ok(Reply::Data(200, blocking(control, work).await?))
}

/// A field of CSV (RFC 4180). One that a spreadsheet would take for a formula is marked as text.
fn field(value: &Value) -> String {
    let mut text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn csv(state: &State, items: &[Item]) -> String {
    let mut text = format!("{},group,role\n", COLUMNS.join(","));
    for item in items {
        let shown = item.shown();
        let user = state.get("users", &item.user);
        let groups = user.map(|user| user.list("groups").join(";")).unwrap_or_default();
        let role = user.map(|user| user.text("role").to_owned()).unwrap_or_default();
        let own = COLUMNS.iter().map(|name| field(shown.get(*name).unwrap_or(&Value::Null)));
        let fields: Vec<_> = own.chain([field(&json!(groups)), field(&json!(role))]).collect();
        // Into memory: this cannot fail.
        writeln!(text, "{}", fields.join(",")).ok();
    }
    text
}

/// What is exported: its format, its text and the name of a file for it.
async fn exported(
    control: &Inner,
    caller: &Caller,
    query: &Query,
) -> Result<(String, String, String), Problem> {
    let format = query.text("format").unwrap_or("json").to_owned();
    if !["json", "csv"].contains(&format.as_str()) {
        let text = "Validation Error: format: expected json or csv";
        return Err(Problem::compat(422, "VAL001", text).at("format"));
    }
    let wanted = wanted(query)?;
    let limit = query.number("limit", 1, EXPORTED_MAX)?.unwrap_or(EXPORTED);
    let (places, state, kind) = (places(control), caller.state.clone(), format.clone());
    let work = move || {
        let mut items = Vec::new();
        look(&places, &wanted, |item| {
            if items.len() < limit {
                items.push(item);
            }
        });
        match kind.as_str() {
            "csv" => csv(&state, &items),
            _ => Value::Array(items.iter().map(Item::shown).collect()).to_string(),
        }
    };
    let text = blocking(control, work).await?;
    let stamp = times::text(control.clock.unix_ms()).replace([':', '+'], "").replace('T', "_");
    let name = format!("gatehouse_logs_{}.{format}", stamp.get(..17).unwrap_or_default());
    Ok((format, text, name))
}

async fn export(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("export_logs", "LOG003")?;
    let (format, data, filename) = exported(control, &caller, &Query::of(request)).await?;
    Ok(Reply::Data(200, json!({"format": format, "data": data, "filename": filename})))
}

async fn download(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let caller = caller(&control, &request)?;
        caller.needs("export_logs", "LOG004")?;
        exported(&control, &caller, &Query::of(&request)).await
    };
    match outcome.await {
        Err(problem) => answer(&control, &request, Err(problem)),
        Ok((format, text, name)) => {
            let kind = if format == "csv" { "text/csv; charset=utf-8" } else { "application/json" };
            let mut response = HttpResponse::Ok().content_type(kind).body(text);
            decorate(&mut response);
            if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
                response.headers_mut().insert(CONTENT_DISPOSITION, value);
            }
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_csv_is_one_field_and_no_formula() {
        for (value, text) in [
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"x\"\n"), "\"say \"\"x\"\"\n\""),
            (json!("=cmd()"), "'=cmd()"),
            (json!(5.5), "5.5"),
            (Value::Null, ""),
        ] {
            assert_eq!(field(&value), text);
        }
    }
}
