//! Answers in both envelope modes (spec/doorman.md 1.1), with the headers every answer carries (1.3, 1.4).

use crate::Inner;
use crate::change::terms;
use crate::state::Row;
use crate::subjects::{plans, refusals};
use actix_web::dev::ResponseHead;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

/// Marks an error that only says why in `detail`; no code of any table.
pub(crate) const DETAIL: &str = "detail";

/// The error that only says why in `detail`, the same in both modes (spec/doorman.md 1.2).
pub(crate) fn detail(status: u16, text: &str) -> Problem {
    Problem::compat(status, DETAIL, text)
}

/// What a handler answers.
pub(crate) enum Reply {
    Data(u16, Value),
    /// Never in an envelope (spec/doorman.md 1.1: health and its like), and in the order of its fields.
    Bare(u16, String),
    /// HTML, for people.
    Page(u16, String),
    Message(u16, String),
}

impl Reply {
    pub(crate) fn message(status: u16, text: impl Into<String>) -> Self {
        Self::Message(status, text.into())
    }
}

/// What becomes of a handler's outcome whatever its shape: a refusal leaves a record, a dry run is answered by its plan.
pub(crate) fn settled(
    control: &Inner,
    request: &HttpRequest,
    outcome: Result<Reply, Problem>,
) -> Result<Reply, Problem> {
    if let Err(problem) = &outcome {
        refusals::refused(control, request, problem);
    }
    match terms::current().filter(|terms| terms.dry) {
        Some(terms) => plans::planned(control, request, &terms.seen(), outcome),
        None => outcome,
    }
}

/// Turns a handler's outcome into the answer.
pub(crate) fn answer(
    control: &Inner,
    request: &HttpRequest,
    outcome: Result<Reply, Problem>,
) -> HttpResponse {
    let strict = control.config().strict_envelope;
    let outcome = settled(control, request, outcome);
    let (bare, kind) = match &outcome {
        Ok(Reply::Bare(_, text)) => (Some(text.clone()), "application/json"),
        Ok(Reply::Page(_, text)) => (Some(text.clone()), "text/html; charset=utf-8"),
        _ => (None, "application/json"),
    };
    let (status, body) = match outcome {
        Ok(Reply::Bare(status, _) | Reply::Page(status, _)) => (status, Value::Null),
        Ok(Reply::Data(status, data)) if strict => (200, strict_data(status, data)),
        Ok(Reply::Data(status, data)) => (status, data),
        Ok(Reply::Message(status, text)) if strict => (200, json!({"status_code": status, "message": text})),
        Ok(Reply::Message(status, text)) => (status, json!({ "message": text })),
        Err(problem) if problem.code == DETAIL => (problem.status, json!({ "detail": problem.detail })),
        Err(problem) => {
            let mut body = Row::new();
            if !problem.code.is_empty() {
                body.insert("error_code".to_owned(), json!(problem.code));
            }
            body.insert("error_message".to_owned(), json!(problem.detail));
            if strict {
                body.insert("status_code".to_owned(), json!(problem.status));
            }
            let body = Value::Object(body);
            (if strict { 200 } else { problem.status }, body)
        }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response =
        HttpResponseBuilder::new(status).content_type(kind).body(bare.unwrap_or_else(|| body.to_string()));
    decorate(&mut response);
    closing(control, response.head_mut());
    response
}

/// While the daemon drains, the client opens its next connection to whoever comes after us.
pub(crate) fn closing(control: &Inner, head: &mut ResponseHead) {
    if control.draining() {
        head.set_connection_type(ConnectionType::Close);
    }
}

/// Where somebody stands with a limit: what it is, what is left, when it begins anew.
pub(crate) fn limits(headers: &mut HeaderMap, [limit, remaining, reset]: [HeaderValue; 3]) {
    for (name, value) in
        [("x-ratelimit-limit", limit), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)]
    {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Security headers, of both surfaces alike.
pub(crate) fn secure(headers: &mut HeaderMap, own: &[(&'static str, &'static str)]) {
    let all =
        [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("cache-control", "no-store")];
    for (name, value) in all.iter().chain(own) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

fn strict_data(status: u16, data: Value) -> Value {
    let mut body = Row::new();
    body.insert("status_code".to_owned(), json!(status));
    for name in ["access_token", "refresh_token"] {
        if let Some(token) = data.get(name) {
            body.insert(name.to_owned(), token.clone());
        }
    }
    body.insert("response".to_owned(), data);
    Value::Object(body)
}

/// The headers that every answer carries (spec/doorman.md 1.4). The request's id (1.3) is not among them: the data plane
/// gives it, keeps it in the access record, and signs every answer with it.
pub(crate) fn decorate(response: &mut HttpResponse) {
    let own = [
        ("referrer-policy", "no-referrer"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), accelerometer=(), gyroscope=()"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("vary", "Origin"),
    ];
    secure(response.headers_mut(), &own);
}
