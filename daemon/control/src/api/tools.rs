//! `/platform/tools` (spec/doorman.md 4.22): what the cross-origin rules of the management surface would answer.

use super::{Outcome, json};
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::caller;
use crate::state::Fields as _;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use serde_json::{Map, Value, json};

pub(crate) const FIELDS: &[Field] = &[
    ("origin", Kind::Text(0, 512), Absent::Text("")),
    ("method", Kind::Text(1, 32), Absent::Text("GET")),
    ("request_headers", Kind::Texts, Absent::Empty),
    ("with_credentials", Kind::Flag, Absent::Is(true)),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/tools/cors/check", post => check);
}

async fn check(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    caller.needs("manage_security", "TLS001")?;
    let config = control.config();
    let cors = &config.cors;
    let (origin, method) = (asked.text("origin"), asked.text("method").to_uppercase());
    let headers = asked.list("request_headers");
    let refused = cors.refused_headers(&headers);
    let allowed = cors.allowed(origin);
    let method_allowed = cors.methods.contains(&method);
    let credentials = allowed.as_deref().is_some_and(|origin| origin != "*") && cors.credentials;
    let object = |lines: crate::subjects::cors::Lines| {
        lines.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect::<Map<_, _>>()
    };
    let mut notes = Vec::new();
    if allowed.is_none() {
        notes.push("the origin is not among allowed_origins");
    }
    if asked.flag("with_credentials") && !credentials {
        notes.push(
            "credentials are not allowed for this origin; an origin named in allowed_origins may have them",
        );
    }
    let mut effective: Vec<&str> = cors.origins.iter().map(String::as_str).collect();
    if cors.strict && effective.contains(&"*") {
        effective.retain(|origin| *origin != "*");
        effective.extend(["http://localhost", "http://127.0.0.1", "http://[::1]"]);
    }
    let whole = allowed.is_some() && (credentials || !asked.flag("with_credentials"));
    Ok(Reply::Data(
        200,
        json!({
            "config": {
                "allowed_origins": cors.origins, "effective_allowed_origins": effective,
                "allow_credentials": cors.credentials, "allow_methods": cors.methods,
                "allow_headers": cors.headers, "cors_strict": cors.strict,
            },
            "input": Value::Object(asked.clone()),
            "preflight": {
                "allowed": whole && method_allowed && refused.is_empty(), "allow_origin": allowed,
                "method_allowed": method_allowed, "headers_allowed": refused.is_empty(),
                "not_allowed_headers": refused, "response_headers": object(cors.preflight(origin)),
            },
            "actual": { "allowed": whole, "response_headers": object(cors.actual(origin)) },
            "notes": notes,
        }),
    ))
}
