//! `/api/v1/auth`: login and refresh by JSON (spec/octoprox.md 3.5), and the one way in which a password is proved here:
//! failures alone are counted, by address and by name.

use super::answers::{self, data, object};
use super::credential::KEY;
use super::{Outcome, gate};
use crate::api::authorization;
use crate::envelope::detail;
use crate::session::source;
use crate::state::{Fields as _, Row};
use crate::subjects::tokens::{self, Claims, Wanted};
use crate::{Inner, versioned};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Failures of one name, whatever address they come from, and the window in seconds (spec/octoprox.md 3.3).
const OF_A_NAME: (u64, i64) = (10, 900);

pub(crate) fn routes(config: &mut ServiceConfig) {
    versioned!(config, "/auth/login", post => login);
    versioned!(config, "/auth/refresh", post => refresh);
}

/// The user whose password it is.
///
/// # Errors
/// 401, 403 for one who is deactivated (told only after a right password), 429 with the time to wait.
pub(crate) async fn prove(
    control: &Inner,
    request: &HttpRequest,
    (name, password): (&str, Secret<String>),
) -> Result<Arc<Row>, Problem> {
    let limit = control.config().login_limit;
    let now_ms = control.clock.unix_ms();
    let window_secs = i64::try_from(limit.window_secs).unwrap_or(i64::MAX);
    let counted = [
        (format!("address {}", gate::network(control, request)), limit.per_window, window_secs),
        // Names that nobody has are counted too, or the answer would tell who exists.
        (format!("name {}", name.to_lowercase()), OF_A_NAME.0, OF_A_NAME.1),
    ];
    let failures = &control.versioned.failures;
    for (who, most, window) in counted.iter().filter(|_| !limit.disabled) {
        if let Some(secs) = failures.place(who, *most, *window, now_ms).wait_secs {
            return Err(answers::wait("Too many login attempts", secs));
        }
    }
    let proven = authorization::proven(control, name, password).await?;
    let Some(user) = proven else {
        for (who, most, window) in &counted {
            failures.attempt(who, *most, *window, now_ms);
        }
        return Err(detail(401, "Invalid credentials"));
    };
    match user.flag("active") && !user.flag("tokens_revoked") {
        true => Ok(user),
        false => Err(detail(403, "Account is deactivated")),
    }
}

/// Text of the first field that is there and not empty.
fn first<'b>(fields: &'b Map<String, Value>, names: &[&str]) -> Result<&'b str, Problem> {
    let name = names.first().copied().unwrap_or_default();
    let found = names.iter().find_map(|name| fields.get(*name)).filter(|value| !value.is_null());
    match found {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(answers::bad(name, "text that is not empty", &Value::Null)),
        None => Err(answers::invalid(&["body", name], "missing", "Field required", &json!({}))),
    }
}

fn pair(control: &Inner, access: &str, refresh: &str) -> super::super::Outcome {
    Ok(data(
        200,
        &json!({"access_token": access, "refresh_token": refresh, "token_type": "bearer",
                "expires_in": control.config().access_ttl_secs}),
    ))
}

/// A token that renews a session.
fn renewal(control: &Inner, user: &Row, sid: &str) -> Result<(String, Claims), Problem> {
    let (config, now_ms) = (control.config(), control.clock.unix_ms());
    let wanted = Wanted { sid, typ: "refresh", ttl_secs: config.refresh_ttl_secs, now_ms };
    tokens::issue(&config, &control.changes.state(), user, &wanted)
}

async fn login(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = answers::json(body)?;
    let fields = object(&body)?;
    let name = first(fields, &["username", "email"])?;
    let password = Secret::new(first(fields, &["password"])?.to_owned());
    let user = prove(control, request, (name, password)).await?;
    let now_ms = control.clock.unix_ms();
    let (access, claims) = authorization::opened(control, &user, &source(control, request), now_ms).await?;
    let (refresh, fresh) = renewal(control, &user, &claims.sid)?;
    authorization::extended(control, request, fresh).await?;
    pair(control, &access, &refresh)
}

/// A refresh token serves once; a second use ends the session.
async fn refresh(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = answers::json(body)?;
    let token = first(object(&body)?, &["refresh_token"])?;
    let dead = || detail(401, "Invalid token");
    if token.starts_with(KEY) {
        return Err(dead());
    }
    let now_ms = control.clock.unix_ms();
    let config = control.config();
    let old = tokens::decode(&config, token, now_ms).filter(|old| old.typ == "refresh").ok_or_else(dead)?;
    let live = tokens::alive(&control.changes.state(), &old, now_ms);
    authorization::spend(control, request, &old, now_ms).await?;
    let state = control.changes.state();
    if !live || state.get("revoked", &old.sid).is_some() {
        return Err(dead());
    }
    let user = state.get("users", &old.sub).cloned().ok_or_else(dead)?;
    let wanted = Wanted { sid: &old.sid, typ: "access", ttl_secs: config.access_ttl_secs, now_ms };
    let (access, _) = tokens::issue(&config, &state, &user, &wanted)?;
    let (refresh, fresh) = renewal(control, &user, &old.sid)?;
    authorization::extended(control, request, fresh).await?;
    pair(control, &access, &refresh)
}
