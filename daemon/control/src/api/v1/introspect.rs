//! Introspection in both shapes (spec/octoprox.md 5.4, 13.4): an outer platform asks with a secret it shares with us,
//! workspaces ask from their network. Both get one answer that has every name either looks for.

use super::credential;
use super::{Outcome, answers, gate, users};
use crate::envelope::{Reply, detail};
use crate::session::{origin, source};
use crate::state::Fields as _;
use crate::{Inner, versioned};
use actix_web::HttpRequest;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use gatehouse_common::problem::{Code, Problem};
use serde_json::{Value, json};
use std::collections::HashMap;
use subtle::ConstantTimeEq as _;

/// Header of the secret.
const SECRET: &str = "x-introspect-secret";

pub(crate) fn routes(config: &mut ServiceConfig) {
    versioned!(config, "/auth/introspect", post => public);
}

/// Below `/internal`.
pub(crate) fn internal(config: &mut ServiceConfig) {
    versioned!(config, "/auth/introspect", post => inside);
}

/// The token of a body, JSON or a form (RFC 7662); empty where there is none.
fn token(body: &Bytes, form: bool) -> Result<String, Problem> {
    // Scripts send JSON under the form's type.
    if form && body.first().is_some_and(|first| *first != b'{') {
        let text = String::from_utf8_lossy(body);
        let pairs = web::Query::<HashMap<String, String>>::from_query(&text);
        return Ok(pairs.map(web::Query::into_inner).unwrap_or_default().remove("token").unwrap_or_default());
    }
    let body = answers::json(body)?;
    match answers::object(&body)?.get("token") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(token)) => Ok(token.clone()),
        Some(_) => Err(answers::bad("token", "text", &Value::Null)),
    }
}

fn asked(request: &HttpRequest, body: &Bytes) -> Result<String, Problem> {
    let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    token(body, kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")))
}

async fn public(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let token = asked(request, body)?;
    if let Some(secret) = &control.config().versioned.introspect_secret {
        let given = request.headers().get(SECRET).map_or(&b""[..], |value| value.as_bytes());
        if !bool::from(given.ct_eq(secret.expose().as_bytes())) {
            return Err(detail(401, "Invalid or missing introspect secret"));
        }
    }
    asked_by(control, request, &token).await
}

/// For peers of the configured networks alone: no field of a request makes anybody one. For others it is not there.
async fn inside(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let (peer, told) = origin(request);
    let networks = &control.config().versioned.workspace_networks;
    if told.any || !peer.is_some_and(|peer| networks.contain(peer.to_canonical())) {
        return Err(detail(404, "Not Found"));
    }
    let token = asked(request, body)?;
    asked_by(control, request, &token).await
}

/// For the ops socket.
pub(crate) async fn told(control: &Inner, token: &str) -> Result<Value, Problem> {
    let text = spoken(about(control, token, ("operate.sock", "operate.sock".to_owned())).await?);
    serde_json::from_str(&text).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

async fn asked_by(control: &Inner, request: &HttpRequest, token: &str) -> Outcome {
    let from = (gate::network(control, request), source(control, request));
    Ok(Reply::Bare(200, spoken(about(control, token, (&from.0, from.1)).await?)))
}

/// What there is to say of a token; `None` if it counts for nothing.
async fn about(
    control: &Inner,
    token: &str,
    (network, source): (&str, String),
) -> Result<Option<Value>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let mut known = credential::by_text(control, token, source.clone());
    if known.is_err() && token.starts_with(credential::KEY) {
        known = credential::prove(control, token, (network, source)).await;
    }
    let known = match known {
        Ok(known) => known,
        Err(problem) if problem.status == 401 => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let caller = &known.caller;
    let id = caller.user.number("id").to_string();
    let kind = if known.is_key() { "api_key" } else { "jwt" };
    let mut value = json!({
        "active": true, "sub": id, "user_id": id, "username": caller.name,
        "role": users::role(&caller.state, &caller.user), "token_type": kind,
    });
    if let Some(fields) = value.as_object_mut() {
        fields.extend(known.expires_secs.map(|secs| ("exp".to_owned(), json!(secs))));
        let key = caller.state.get("keys", &caller.claims.sid).filter(|_| known.is_key());
        let scopes = key.map(|key| key.list("scopes").join(" ")).filter(|scopes| !scopes.is_empty());
        fields.extend(scopes.map(|scopes| ("scope".to_owned(), json!(scopes))));
    }
    Ok(Some(value))
}

/// `active` comes first, and all of it again below `data`, since clients look in both places.
fn spoken(value: Option<Value>) -> String {
    let inner = match value {
        None => "{\"active\":false}".to_owned(),
        Some(mut value) => {
            let rest = value.as_object_mut().map(|fields| {
                fields.remove("active");
                Value::Object(std::mem::take(fields)).to_string()
            });
            rest.unwrap_or_default().replacen('{', "{\"active\":true,", 1)
        }
    };
    let open = inner.strip_suffix('}').unwrap_or_default();
    format!("{open},\"data\":{inner}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_or_a_form() {
        for (body, form, expected) in [
            (r#"{"token":"x"}"#, false, Ok("x")),
            (r#"{"token":"x"}"#, true, Ok("x")),
            ("a=1&token=mcp_a%5Fb", true, Ok("mcp_a_b")),
            ("a=1", true, Ok("")),
            ("{}", false, Ok("")),
            (r#"{"token":null}"#, false, Ok("")),
            (r#"{"token":5}"#, false, Err(422)),
            ("token=x", false, Err(422)),
            ("[]", false, Err(422)),
            ("", true, Err(422)),
        ] {
            let found = token(&Bytes::from(body), form).map_err(|problem| problem.status);
            assert_eq!(found, expected.map(str::to_owned), "{body}");
        }
    }

    #[test]
    fn the_answer_is_said_twice() {
        assert_eq!(spoken(None), r#"{"active":false,"data":{"active":false}}"#);
        let text = spoken(Some(json!({"active": true, "sub": "5", "username": "{a}"})));
        assert!(text.starts_with("{\"active\":true,"), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["sub"], &value["data"]["username"]), (&json!("5"), &json!("{a}")));
        assert_eq!(value["data"]["active"], true);
    }
}
