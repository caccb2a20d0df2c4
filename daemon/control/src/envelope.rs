//! Answers in both envelope modes (spec/doorman.md 1.1), with the headers every answer carries (1.3, 1.4).

use crate::Inner;
use crate::change::terms;
use crate::state::Row;
use crate::subjects::{plans, refusals};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

/// Longest request id taken from a client, bytes.
const ID_BYTES: usize = 128;

/// Marks an error that only says why in `detail`; no code of any table.
const DETAIL: &str = "detail";

/// The error that only says why in `detail`, the same in both modes (spec/doorman.md 1.2).
pub(crate) fn detail(status: u16, text: &str) -> Problem {
    Problem::compat(status, DETAIL, text)
}

/// What a handler answers.
pub(crate) enum Reply {
    Data(u16, Value),
    /// Never in an envelope (spec/doorman.md 1.1: health and its like), and in the order of its fields.
    Bare(u16, String),
    Message(u16, String),
}

impl Reply {
    pub(crate) fn message(status: u16, text: impl Into<String>) -> Self {
        Self::Message(status, text.into())
    }
}

/// Turns a handler's outcome into the answer.
pub(crate) fn answer(
    control: &Inner,
    request: &HttpRequest,
    outcome: Result<Reply, Problem>,
) -> HttpResponse {
    let strict = control.config().strict_envelope;
    if let Err(problem) = &outcome {
        refusals::refused(control, request, problem);
    }
    let outcome = match terms::current().filter(|terms| terms.dry) {
        Some(terms) => plans::planned(control, request, &terms.seen(), outcome),
        None => outcome,
    };
    let bare = match &outcome {
        Ok(Reply::Bare(_, text)) => Some(text.clone()),
        _ => None,
    };
    let (status, body) = match outcome {
        Ok(Reply::Bare(status, _)) => (status, Value::Null),
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
    let mut response = HttpResponseBuilder::new(status)
        .content_type("application/json")
        .body(bare.unwrap_or_else(|| body.to_string()));
    decorate(&mut response, request);
    if control.draining() {
        // The client opens its next connection to whoever comes after us.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
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

/// The headers that every answer carries (spec/doorman.md 1.3, 1.4).
pub(crate) fn decorate(response: &mut HttpResponse, request: &HttpRequest) {
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let given =
        given.filter(|id| !id.is_empty() && id.len() <= ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic()));
    let id = given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("request_id"), id.clone());
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), accelerometer=(), gyroscope=()"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("cache-control", "no-store"),
        ("vary", "Origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
