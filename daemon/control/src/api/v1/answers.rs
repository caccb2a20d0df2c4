//! Answers of this surface (spec/octoprox.md 2): `data` and `meta`, `detail`, the lists of what a body was not; pages.

use super::Outcome;
use crate::Inner;
use crate::api::query::Query;
use crate::envelope::{Reply, detail};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use gatehouse_common::problem::Problem;
use serde_json::{Map, Value, json};

/// Marks a problem whose detail is the JSON text of a list.
const LIST: &str = "detail_list";
/// Largest page and the usual one.
const PER_PAGE: (usize, usize) = (100, 20);

/// A body, path or query that is not what was expected, as the older framework says it.
pub(crate) fn invalid(place: &[&str], kind: &str, text: &str, input: &Value) -> Problem {
    let item = json!([{ "type": kind, "loc": place, "msg": text, "input": input }]);
    Problem::compat(422, LIST, item.to_string()).at(place.last().copied().unwrap_or_default())
}

/// A field of the body that is not what was expected. A secret's value is not repeated.
pub(crate) fn bad(field: &str, expected: &str, input: &Value) -> Problem {
    let secret = ["password", "secret", "token"].iter().any(|word| field.contains(word));
    let input = if secret { &Value::Null } else { input };
    invalid(&["body", field], "value_error", &format!("{field}: expected {expected}"), input)
}

/// Marks a problem that passes by itself; its field is how many seconds that takes.
const WAIT: &str = "retry_after";

/// 429, with the seconds until it is worth another try.
pub(crate) fn wait(text: &str, secs: i64) -> Problem {
    Problem::compat(429, WAIT, text).at(secs.to_string())
}

/// The seconds of [`wait`].
pub(crate) fn waiting(problem: &Problem) -> Option<i64> {
    problem.field.as_ref().filter(|_| problem.code == WAIT)?.parse().ok()
}

/// 403 for what administrators alone may do.
pub(crate) fn admins_only() -> Problem {
    detail(403, "Admin access required")
}

/// The body as JSON; broken JSON is told before anything else, what it holds only to who may know.
pub(crate) fn json(body: &Bytes) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("JSON decode error: {error}");
        invalid(&["body", &error.column().to_string()], "json_invalid", &text, &json!({}))
    })
}

/// The fields of a body.
pub(crate) fn object(body: &Value) -> Result<&Map<String, Value>, Problem> {
    let text = "Input should be a valid dictionary";
    body.as_object().ok_or_else(|| invalid(&["body"], "dict_type", text, body))
}

/// A whole number of the path or of the query.
fn integer(place: &[&str], text: &str) -> Result<i64, Problem> {
    let kind = "int_parsing";
    let said = "Input should be a valid integer, unable to parse string as an integer";
    text.trim().parse().map_err(|_| invalid(place, kind, said, &json!(text)))
}

/// The number in a path.
pub(crate) fn id(request: &HttpRequest, name: &str) -> Result<i64, Problem> {
    integer(&["path", name], crate::api::part(request, name))
}

/// A whole number of the query, if it is given.
pub(crate) fn number(query: &Query, name: &str) -> Result<Option<i64>, Problem> {
    query.text(name).map(|text| integer(&["query", name], text)).transpose()
}

/// The page that a query asks for: its number from 1, and its length.
pub(crate) fn page(query: &Query) -> Result<(usize, usize), Problem> {
    let within = |name: &str, usual: usize, most: usize| {
        let Some(number) = number(query, name)? else { return Ok(usual) };
        let place = ["query", name];
        let refuse = |kind: &str, text: String| Err(invalid(&place, kind, &text, &json!(number.to_string())));
        match usize::try_from(number) {
            Ok(number) if number > most => {
                refuse("less_than_equal", format!("Input should be less than or equal to {most}"))
            }
            Ok(number) if number > 0 => Ok(number),
            _ => refuse("greater_than_equal", "Input should be greater than or equal to 1".to_owned()),
        }
    };
    Ok((within("page", 1, usize::MAX)?, within("per_page", PER_PAGE.1, PER_PAGE.0)?))
}

/// A list: only what is on the page is shown. `meta` says it in both shapes that clients read (spec/octoprox.md 13.2).
pub(crate) fn listed<T>(
    name: &str,
    (page, per_page): (usize, usize),
    mut rows: impl Iterator<Item = T>,
    show: impl FnMut(T) -> Value,
) -> Reply {
    let skipped = rows.by_ref().take(per_page.saturating_mul(page - 1)).count();
    let items: Vec<Value> = rows.by_ref().take(per_page).map(show).collect();
    let total = skipped + items.len() + rows.count();
    let pages =
        json!({"page": page, "per_page": per_page, "total": total, "total_pages": total.div_ceil(per_page)});
    let meta = json!({"pagination": pages, "page": page, "per_page": per_page, "total": total});
    let mut data = Map::new();
    data.insert(name.to_owned(), Value::Array(items));
    Reply::Data(200, json!({ "data": data, "meta": meta }))
}

/// One thing.
pub(crate) fn data(status: u16, value: &Value) -> Reply {
    Reply::Data(status, json!({ "data": value }))
}

/// Turns a handler's outcome into the answer. The other surface's envelope modes do not count here.
pub(crate) fn answer(outcome: Outcome) -> HttpResponse {
    let wait_secs = outcome.as_ref().err().and_then(waiting);
    let (status, text) = match outcome {
        Ok(Reply::Data(status, value)) => (status, value.to_string()),
        Ok(Reply::Bare(status, text) | Reply::Page(status, text)) => (status, text),
        Ok(Reply::Message(status, text)) => (status, json!({"data": {"message": text}}).to_string()),
        Err(problem) if problem.code == LIST => {
            (problem.status, format!("{{\"detail\":{}}}", problem.detail))
        }
        Err(problem) if wait_secs.is_some() => {
            let body = json!({"error": problem.detail, "retry_after": wait_secs, "detail": problem.detail});
            (problem.status, body.to_string())
        }
        Err(problem) => (problem.status, json!({ "detail": problem.detail }).to_string()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponseBuilder::new(status).content_type("application/json").body(text);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(secs) = wait_secs {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// A path that is none.
pub(crate) async fn unknown(control: Data<Inner>) -> HttpResponse {
    let mut response = answer(Err(detail(404, "Not Found")));
    // Below `/app` no gate stands before it.
    secure(&control, response.headers_mut());
    response
}

/// A known path with another method.
pub(crate) fn wrong_method(allowed: &[&str]) -> HttpResponse {
    let mut response = answer(Err(crate::api::not_allowed()));
    crate::api::allow(&mut response, allowed);
    response
}

/// The headers that every answer carries.
pub(crate) fn secure(control: &Inner, headers: &mut actix_web::http::header::HeaderMap) {
    let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    let own = [
        ("x-xss-protection", "1; mode=block"),
        ("content-security-policy", policy),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ];
    crate::envelope::secure(headers, &own);
    let hsts = control.config().versioned.hsts.clone();
    if let Some(value) = hsts.and_then(|value| HeaderValue::from_str(&value).ok()) {
        headers.insert(HeaderName::from_static("strict-transport-security"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn asked(query: &str) -> Result<(usize, usize), String> {
        let request = TestRequest::with_uri(&format!("/x?{query}")).to_http_request();
        page(&Query::of(&request)).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_page_is_within_its_bounds() {
        assert_eq!(asked(""), Ok((1, 20)));
        assert_eq!(asked("page=3&per_page=100"), Ok((3, 100)));
        for (query, kind) in [
            ("page=0", "greater_than_equal"),
            ("page=-4", "greater_than_equal"),
            ("per_page=101", "less_than_equal"),
            ("per_page=x", "int_parsing"),
        ] {
            let text = asked(query).unwrap_err();
            assert!(text.contains(kind) && text.contains("\"query\""), "{query}: {text}");
        }
    }

    #[test]
    fn a_list_counts_all_and_shows_a_page() {
        for (page, shown) in [(1, vec![0, 1]), (3, vec![4]), (9, vec![])] {
            let Reply::Data(_, value) = listed("n", (page, 2), 0..5, |n| json!(n)) else { unreachable!() };
            assert_eq!(value["data"]["n"], json!(shown));
            let pages = json!({"page": page, "per_page": 2, "total": 5, "total_pages": 3});
            assert_eq!(value["meta"]["pagination"], pages);
        }
    }

    #[test]
    fn a_bad_secret_is_not_repeated() {
        let problem = bad("new_password", "text", &json!("hunter2"));
        assert!(!problem.detail.contains("hunter2") && problem.detail.contains("new_password"));
        assert!(bad("role", "a role", &json!("root")).detail.contains("root"));
    }
}
