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
    // A table knows how many rows it has; what is filtered must be counted.
    let known = Some(rows.size_hint()).filter(|(least, most)| *most == Some(*least)).map(|(least, _)| least);
    let skipped = rows.by_ref().take(skip).count();
    let items: Vec<Value> = rows.by_ref().take(size).map(show).collect();
    let total = known.unwrap_or_else(|| skipped + items.len() + rows.count());
    let has_next = skipped + items.len() < total;
    let mut body = Row::new();
    body.insert(plural.to_owned(), Value::Array(items));
    body.extend([("page".to_owned(), json!(page)), ("page_size".to_owned(), json!(size))]);
    body.extend([("has_next".to_owned(), json!(has_next)), ("total".to_owned(), json!(total))]);
    Ok(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use crate::state::{Row, State};
    use std::sync::Arc;

    #[test]
    fn a_table_knows_how_many_rows_it_has() {
        let mut state = State::default();
        for index in 0..1_000 {
            state.set("groups", &index.to_string(), Some(Arc::new(Row::new())));
        }
        let mut rows = state.rows("groups");
        assert_eq!(rows.size_hint(), (1_000, Some(1_000)), "so that no page counts what is behind it");
        rows.next();
        assert_eq!(state.rows("none").size_hint(), (0, Some(0)));
    }
}
