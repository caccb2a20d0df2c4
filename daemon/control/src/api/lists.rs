//! Pages (spec/doorman.md 1.5).

use crate::Inner;
use crate::state::Row;
use actix_web::HttpRequest;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

/// One page of rows under its plural; only what is on the page is shown.
pub(crate) fn page<T>(
    control: &Inner,
    request: &HttpRequest,
    plural: &str,
    mut rows: impl Iterator<Item = T>,
    show: impl FnMut(T) -> Value,
) -> Result<Value, Problem> {
    let most = control.config().page_size_max;
    // Of credit definitions there are few (spec/doorman.md 1.5).
    let usual = if plural == "items" { 50 } else { 10 };
    let number = |name: &str, default: usize| {
        let text = request
            .query_string()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(n, _)| *n == name);
        let Some((_, text)) = text else { return Ok(default) };
        let refused =
            || Problem::compat(400, "PAG001", format!("{name}: expected a whole number from 1")).at(name);
        text.parse::<usize>().ok().filter(|number| *number > 0).ok_or_else(refused)
    };
    let (page, size) = (number("page", 1)?, number("page_size", usual)?);
    if size > most {
        let text = format!("page_size: expected at most {most}");
        return Err(Problem::compat(400, "PAG001", text).at("page_size"));
    }
    let skip = size.saturating_mul(page - 1);
    let skipped = rows.by_ref().take(skip).count();
    let items: Vec<Value> = rows.by_ref().take(size).map(show).collect();
    let rest = rows.count();
    let (total, has_next) = (skipped + items.len() + rest, rest > 0);
    let mut body = Row::new();
    body.insert(plural.to_owned(), Value::Array(items));
    body.extend([("page".to_owned(), json!(page)), ("page_size".to_owned(), json!(size))]);
    body.extend([("has_next".to_owned(), json!(has_next)), ("total".to_owned(), json!(total))]);
    Ok(Value::Object(body))
}
